# What scripts/ecs knows of AWS: one call and what went wrong, the stack, its repositories.
# Sourced, never run, after services.sh. STACK, AWS_REGION and $said, a file, are set.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153,SC2154 # set there, or for there

IMAGES=("${SERVICES[@]}" nginx) # each has a repository

# ---- a call ----

# ask SERVICE COMMAND [OPTION...] : one call by the AWS CLI; its answer is in $answer. When it fails, what AWS said is in
# the file $said, and nothing is printed.
ask() {
    answer=$(AWS_PAGER='' aws --region "$AWS_REGION" ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} \
        --output json "$@" 2>"$said" </dev/null)
}

# must SERVICE COMMAND [OPTION...] : the same, or the end, with what AWS said
must() {
    ask "$@" || die "$(explain)"
}

# explain : what AWS said, in one line, with the next step where there is one
explain() {
    local words
    words=$(grep -v '^$' "$said" | tail -n 1)
    case $words in
    *'locate credentials'* | *'Partial credentials'* | *'config profile'* | *ExpiredToken* | *InvalidClientTokenId* | \
        *UnrecognizedClient* | *SignatureDoesNotMatch* | *AuthFailure*)
        say "AWS takes no credentials from here ($words); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ;;
    *'connect to the endpoint'*) say "nothing answers in AWS_REGION $AWS_REGION; is it one of AWS's? ($words)" ;;
    *) say "AWS refuses: ${words#An error occurred }" ;;
    esac
}

# AWS's words for what is not there
is_missing() {
    grep -qE 'does not exist|NotFound' "$said"
}

# ---- the stack ----

# parameter NAME : of the stack
parameter() {
    jq -r --arg name "$1" '.Parameters[]? | select(.ParameterKey == $name) | .ParameterValue' <<<"$stack"
}

# load_stack : STATUS of the stack ("none" where there is none), the stack itself in $stack, its outputs in OUT
load_stack() {
    local name value
    declare -gA OUT=()
    STATUS=none stack='{}'
    if ask cloudformation describe-stacks --stack-name "$STACK"; then
        stack=$(jq '.Stacks[0]' <<<"$answer")
        STATUS=$(jq -r .StackStatus <<<"$stack")
    elif ! is_missing; then
        die "$(explain)"
    fi
    while IFS=$'\t' read -r name value; do OUT[$name]=$value; done \
        < <(jq -r '.Outputs[]? | [.OutputKey, .OutputValue] | @tsv' <<<"$stack")
}

# refuse_broken_stack : where no command but down can help
refuse_broken_stack() {
    case $STATUS in
    ROLLBACK_COMPLETE | ROLLBACK_FAILED | CREATE_FAILED | DELETE_FAILED | REVIEW_IN_PROGRESS)
        die "stack $STACK is in $STATUS, it never was whole; ./scripts/ecs down, then up"
        ;;
    UPDATE_ROLLBACK_FAILED)
        die "stack $STACK is in $STATUS; aws cloudformation continue-update-rollback --stack-name $STACK, then again"
        ;;
    esac
}

# require_stack : whole, and nothing changes it
require_stack() {
    load_stack
    refuse_broken_stack
    case $STATUS in
    none) die "there is no stack $STACK in $AWS_REGION; ./scripts/ecs up makes it, or set STACK or AWS_REGION" ;;
    *_IN_PROGRESS) die "stack $STACK is in $STATUS; wait until that is over" ;;
    esac
}

# show_stack_events : what is done or has failed since the last look
show_stack_events() {
    ask cloudformation describe-stack-events --stack-name "$stack_id" --max-items 100 || return 0
    jq -r --arg last "$last_stack_event" '.StackEvents
        | .[:(map(.EventId) | index($last)) // length] | reverse[]
        | select(.ResourceStatus | endswith("_IN_PROGRESS") | not)
        | "  \(.ResourceStatus) \(.LogicalResourceId) \(.ResourceStatusReason // "")"' <<<"$answer"
    last_stack_event=$(jq -r '.StackEvents[0].EventId // ""' <<<"$answer")
}

# await_stack : until nothing changes it any more; what happens is shown
await_stack() {
    local deadline=$((SECONDS + WAIT_SECONDS))
    stack_id=$(jq -r '.StackId // ""' <<<"$stack")
    while [[ $STATUS == *_IN_PROGRESS ]]; do
        show_stack_events
        ((SECONDS < deadline)) ||
            die "stack $STACK is in $STATUS after $WAIT_SECONDS s; AWS goes on, and the same command waits for it again"
        sleep "$POLL_SECONDS"
        load_stack
    done
    show_stack_events
}

# skip_old_events : what has been said about the stack before is not said again
skip_old_events() {
    last_stack_event=
    ! ask cloudformation describe-stack-events --stack-name "$STACK" --max-items 1 ||
        last_stack_event=$(jq -r '.StackEvents[0].EventId // ""' <<<"$answer")
}

# ---- the repositories: one for each image, told from others' by a tag ----

# is_our_repository ARN : it was made for this stack. A repository without that is somebody else's.
is_our_repository() {
    must ecr list-tags-for-resource --resource-arn "$1"
    jq -e --arg stack "$STACK" '.tags | any(.Key == "stack" and .Value == $stack)' <<<"$answer" >/dev/null
}

# load_repositories : the ARN of each that there is, by name, in repositories
load_repositories() {
    local name arn
    declare -gA repositories=()
    must ecr describe-repositories
    while read -r name arn; do repositories[$name]=$arn; done \
        < <(jq -r '.repositories[] | "\(.repositoryName) \(.repositoryArn)"' <<<"$answer")
}

# A tag, once pushed, stays what it is: a revision that is gone back to is the same as before.
make_repository() {
    local name=$STACK/cgi-$1
    if [[ -n ${repositories[$name]:-} ]]; then
        is_our_repository "${repositories[$name]}" ||
            die "repository $name exists and has no tag stack=$STACK; tag it so if it is yours, or set STACK"
    else
        must ecr create-repository --repository-name "$name" --tags "Key=stack,Value=$STACK" \
            --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true
        say "made repository $name"
    fi
    must ecr put-lifecycle-policy --repository-name "$name" --lifecycle-policy-text \
        '{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan",
          "countNumber": 100}, "action": {"type": "expire"}}]}'
}

delete_repository() {
    local name=$STACK/cgi-$1
    [[ -n ${repositories[$name]:-} ]] && is_our_repository "${repositories[$name]}" || return 0
    must ecr delete-repository --repository-name "$name" --force
    say "deleted repository $name"
}

# load_registry : where the images are, in $registry
load_registry() {
    registry=${REGISTRY:-}
    [[ -z $registry ]] || return 0
    must ecr describe-repositories --repository-names "$STACK/cgi-nginx"
    registry=$(jq -r '.repositories[0].repositoryUri' <<<"$answer")
    registry=${registry%/cgi-nginx}
}

# find_missing_images TAG IMAGE... : those of which ECR does not have that tag, in missing
find_missing_images() {
    local name
    missing=()
    for name in "${@:2}"; do
        ask ecr describe-images --repository-name "$STACK/cgi-$name" --image-ids "imageTag=$1" && continue
        ! grep -q RepositoryNotFound "$said" ||
            die "there is no repository $STACK/cgi-$name in $AWS_REGION; ./scripts/ecs up makes it"
        is_missing || die "$(explain)"
        missing+=("$name")
    done
}

# push_missing_images : of IMAGE_TAG. What scripts/images has built without a REGISTRY gets the registry's name.
push_missing_images() {
    local name
    find_missing_images "$IMAGE_TAG" "${IMAGES[@]}"
    ((${#missing[@]})) || return 0
    registry=$(parameter ImageRegistry)
    for name in "${missing[@]}"; do
        docker tag "local/cgi-$name:$IMAGE_TAG" "$registry/cgi-$name:$IMAGE_TAG" >/dev/null 2>&1 || true
    done
    must ecr get-login-password
    REGISTRY=$registry REGISTRY_USER=AWS REGISTRY_PASSWORD=$answer "$ROOT/scripts/images" push "${missing[@]}" || exit 1
}
