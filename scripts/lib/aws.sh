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
    case ${OUT[Url]:-} in https:*:443 | http:*:80) OUT[Url]=${OUT[Url]%:*} ;; esac # as people write it
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

# explain_failure : the next step, where what has failed of the stack is known to have one
explain_failure() {
    case $failures in
    Certificate*) say "the certificate was not validated; have DnsName's domain lead to the name servers of DnsZoneId, then again" ;;
    *[Qq]uota* | *'imit exceeded'* | *LimitExceeded*) say "a quota of the account is used up; have it raised (aws service-quotas), then again" ;;
    *) say "the reason is above; ./scripts/ecs status says what there is" ;;
    esac
}

# show_stack_events : what is done or has failed since the last look
show_stack_events() {
    ask cloudformation describe-stack-events --stack-name "$stack_id" --max-items 100 || return 0
    jq -r --arg last "$last_stack_event" '.StackEvents
        | .[:(map(.EventId) | index($last)) // length] | reverse[]
        | select(.ResourceStatus | endswith("_IN_PROGRESS") | not)
        | "  \(.ResourceStatus) \(.LogicalResourceId) \(.ResourceStatusReason // "")"' <<<"$answer" >"$tmp/events"
    cat "$tmp/events"
    failures+=$(sed -nE '/ was cancelled| [Cc]ancelled$/d; s/^  (CREATE|UPDATE)_FAILED //p' "$tmp/events")
    last_stack_event=$(jq -r '.StackEvents[0].EventId // ""' <<<"$answer")
}

# slow_certificate : that the stack waits for it, if the events looked at last say so
slow_certificate() {
    [[ $(jq -r '[.StackEvents[]? | select(.LogicalResourceId == "Certificate").ResourceStatus][0]' <<<"$answer") != *_IN_PROGRESS ]] ||
        say ", and its certificate is not validated; do the name servers of DnsName's domain lead to DnsZoneId?"
}

# await_stack : until nothing changes it any more; what happens is shown
await_stack() {
    local deadline=$((SECONDS + WAIT_SECONDS))
    stack_id=$(jq -r '.StackId // ""' <<<"$stack")
    while [[ $STATUS == *_IN_PROGRESS ]]; do
        show_stack_events
        ((SECONDS < deadline)) ||
            die "stack $STACK is in $STATUS after $WAIT_SECONDS s$(slow_certificate); AWS goes on, and the same command waits" \
                "for it again"
        sleep "$POLL_SECONDS"
        load_stack
    done
    show_stack_events
}

# skip_old_events : what has been said about the stack before is not said again
skip_old_events() {
    last_stack_event='' failures=''
    ! ask cloudformation describe-stack-events --stack-name "$STACK" --max-items 1 ||
        last_stack_event=$(jq -r '.StackEvents[0].EventId // ""' <<<"$answer")
}

# await_change : the change that was begun is made whole; or the end
await_change() {
    load_stack
    await_stack
    [[ $STATUS == CREATE_COMPLETE || $STATUS == UPDATE_COMPLETE ]] || die "stack $STACK is in $STATUS: $(explain_failure)"
}

# update_stack_by OPTION... : with what $tmp/parameters has. Nothing to change is no failure.
update_stack_by() {
    skip_old_events
    ask cloudformation update-stack --stack-name "$STACK" "$@" --capabilities CAPABILITY_IAM \
        --parameters "file://$tmp/parameters" || grep -q 'No updates are to be performed' "$said" || die "$(explain)"
    await_change
}

# ---- one change at a time: a parameter of SSM, which only one can make, says whose it is ----

locked= # this script has the lock

# load_lock : who has it, in $owner; nothing, if nobody has
load_lock() {
    owner=
    if ask ssm get-parameter --name "/ecs-lock/$STACK"; then
        owner=$(jq -r .Parameter.Value <<<"$answer")
    elif ! is_missing; then
        die "$(explain)"
    fi
}

# take_lock COMMAND : for this script, until its end
take_lock() {
    local owner own
    own="./scripts/ecs $1 of ${USER:-$(id -un)} on $HOSTNAME (process $$), $(date -u '+%F %T UTC')"
    if ! ask ssm put-parameter --name "/ecs-lock/$STACK" --type String --value "$own"; then
        grep -q ParameterAlreadyExists "$said" || die "$(explain)"
        load_lock
        # An answer that got lost makes the CLI ask once more.
        [[ $owner == "$own" ]] || die "stack $STACK is being changed by ${owner:-another}; wait, or if that was killed," \
            "./scripts/ecs unlock"
    fi
    locked=1
}

# give_lock : back, if this script has it
give_lock() {
    [[ -n $locked ]] || return 0
    ask ssm delete-parameter --name "/ecs-lock/$STACK" || complain "the lock of $STACK stays; ./scripts/ecs unlock ($(explain))"
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

# require_replicas : what REPLICATE_TO says can be
require_replicas() {
    local word words
    [[ ${REPLICATE_TO:-none} != none ]] || return 0
    read -ra words <<<"$REPLICATE_TO"
    for word in "${words[@]}"; do
        [[ $word =~ ^[a-z]{2}(-[a-z]+)+-[0-9](@[0-9]{12})?$ ]] ||
            die "REPLICATE_TO has \"$word\"; set it to regions, like eu-west-1 or eu-west-1@123456789012, or to none"
        [[ $word != "$AWS_REGION" ]] || die "REPLICATE_TO has $word, which is AWS_REGION itself; name the others"
    done
}

# set_replication WORDS : the registry copies this stack's images there; nowhere, if that is none; as before, if it is nothing. The
# registry's other rules stay.
set_replication() {
    local rules
    [[ -n $1 ]] || return 0
    must ecr describe-registry
    rules=$(jq -c --arg prefix "$STACK/" --arg to "${1/#none/}" '.registryId as $own
        | [{filter: $prefix, filterType: "PREFIX_MATCH"}] as $ours
        | [$to | splits(" +") | select(. != "") | split("@") | {region: .[0], registryId: (.[1] // $own)}] as $destinations
        | [.replicationConfiguration.rules[]? | select(.repositoryFilters != $ours)]
            + if $destinations == [] then [] else [{destinations: $destinations, repositoryFilters: $ours}] end' <<<"$answer")
    [[ $rules != $(jq -c '.replicationConfiguration.rules // []' <<<"$answer") ]] || return 0
    must ecr put-replication-configuration --replication-configuration "{\"rules\": $rules}"
}

# findings IMAGE TAG : what the scanner has found in it, in words
findings() {
    if ask ecr describe-image-scan-findings --repository-name "$STACK/cgi-$1" --image-id "imageTag=$2" --no-paginate; then
        jq -r '.imageScanStatus.status as $status | .imageScanFindings.findingSeverityCounts // {} | . as $counts
            | if $status != "COMPLETE" and $status != "ACTIVE" then "scan: \($status)" elif . == {} then "nothing found" else
                (["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED"]
                    | map(select($counts[.]) | "\($counts[.]) \(ascii_downcase)") | join(", ")) end' <<<"$answer"
    elif is_missing; then
        say "not scanned"
    else
        die "$(explain)"
    fi
}

# show_findings TAG : of all images
show_findings() {
    local name
    for name in "${IMAGES[@]}"; do printf 'scanner  %-24s %s\n' "cgi-$name:$1" "$(findings "$name" "$1")"; done
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

# load_digests : of the images of IMAGE_TAG, by name, as JSON, in $digests
load_digests() {
    local name
    digests='{}'
    for name in "${IMAGES[@]}"; do
        must ecr describe-images --repository-name "$STACK/cgi-$name" --image-ids "imageTag=$IMAGE_TAG"
        digests=$(jq --arg name "$name" --argjson all "$digests" '$all + {($name): .imageDetails[0].imageDigest}' <<<"$answer")
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
