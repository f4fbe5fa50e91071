# shellcheck shell=bash
# AWS for tests: a server of its own for each file, the AWS CLI, and what scripts/ecs makes of both.
# A file says `load ../lib/ecs`, after helpers; start_aws in setup_file, end_aws in teardown_file, need_aws in setup.

# shellcheck source=tests/lib/services.bash
source "$ROOT/tests/lib/services.bash"

# why_no_aws : the reason why nothing can be tested here; fails when there is none
why_no_aws() {
    if [[ -n ${SANITIZE:-} ]]; then
        echo "nothing of this is built"
    elif [[ ! -x $BUILD_DIR/aws/bin/python ]]; then
        echo "moto is not in $BUILD_DIR/aws: what tests/ecs/requirements.txt names could not be installed"
    elif [[ ! -x /usr/bin/aws ]]; then
        echo "there is no awscli"
    else
        return 1
    fi
}

need_aws() {
    local reason
    ! reason=$(why_no_aws) || skip "$reason"
}

# start_aws : tests/ecs/aws_server.py on a port of its own; nothing here ever asks another
start_aws() {
    ! why_no_aws >/dev/null || return 0
    local port
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION REGISTRY IMAGE_TAG PULL_BY REPLICATE_TO
    export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=eu-central-1 AWS_EC2_METADATA_DISABLED=true
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test HOME=$BATS_FILE_TMPDIR
    export STACK=cgi POLL_SECONDS=0 WAIT_SECONDS=60 PATH=/usr/bin:$PATH
    (cd "$BATS_FILE_TMPDIR" && exec "$BUILD_DIR/aws/bin/python" "$ROOT/tests/ecs/aws_server.py" --port "$port") \
        >"$BATS_FILE_TMPDIR/server.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/server.pid"
    wait_until 30 curl -s -o /dev/null "$AWS_ENDPOINT_URL/moto-api/"
}

# end_aws : a call that the server did not understand is no answer, and the CLI's second try would hide it
end_aws() {
    ! why_no_aws >/dev/null || return 0
    kill "$(<"$BATS_FILE_TMPDIR/server.pid")"
    ! grep -A 100 Traceback "$BATS_FILE_TMPDIR/server.log" | grep -E '^[A-Za-z.]+(Error|Exception)' >&2
}

# ecs COMMAND... : scripts/ecs, by `run`, its standard error apart
ecs() {
    run --separate-stderr "$ROOT/scripts/ecs" "$@"
}

# expect_done : the last `ecs` was a success, and silent on standard error
expect_done() {
    # shellcheck disable=SC2154 # bats' `run` sets them
    [[ $status == 0 && -z $stderr ]] && return
    # shellcheck disable=SC2154
    printf 'exit status %s\n%s\n%s\n' "$status" "$output" "$stderr" >&2
    return 1
}

# expect_refused REGEX [STATUS] : the last `ecs` failed, with one line that says this
expect_refused() {
    # shellcheck disable=SC2154 # bats' `run` sets it
    expect_equal "${2:-1}" "$status" "exit status; it printed: $output $stderr" &&
        expect_equal 1 "$(wc -l <<<"$stderr")" "lines: $stderr" &&
        expect_match "^ecs: $1" "$stderr"
}

# ask QUERY SERVICE COMMAND... : what AWS says, by the CLI itself; QUERY is of JMESPath, the answer in words on one line
ask() {
    /usr/bin/aws --endpoint-url "$AWS_ENDPOINT_URL" --region "$AWS_REGION" --output text --query "$1" "${@:2}" |
        tr '\t\n' '  ' | sed 's/ *$//'
}

# api TARGET JSON FILTER : the same without the CLI's half a second, for the services that speak JSON; FILTER is jq's
api() {
    local service=ecs
    [[ $1 != *Registry* ]] || service=ecr
    curl -sS --max-time 20 -H "X-Amz-Target: $1" -H 'Content-Type: application/x-amz-json-1.1' \
        -H "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/$AWS_REGION/$service/aws4_request" \
        -d "$2" "$AWS_ENDPOINT_URL/" | jq -r "$3"
}

ecs_api() {
    api "AmazonEC2ContainerServiceV20141113.$1" "$2" "$3"
}

ecr_api() {
    api "AmazonEC2ContainerRegistry_V20150921.$1" "$2" "$3"
}

# stack_says QUERY : of the stack
stack_says() {
    ask "Stacks[0].$1" cloudformation describe-stacks --stack-name "$STACK"
}

# parameter NAME : of the stack
parameter() {
    stack_says "Parameters[?ParameterKey=='$1'].ParameterValue"
}

# note_outputs : the names that the tests need of the stack, for load_outputs
note_outputs() {
    local names='Cluster Service CanaryService Listener TargetGroup CanaryTargetGroup TaskFamily' name
    stack_says 'Outputs[].[OutputKey, OutputValue][]' | xargs -n 2 >"$BATS_FILE_TMPDIR/outputs"
    for name in $names; do grep -q "^$name " "$BATS_FILE_TMPDIR/outputs"; done
}

load_outputs() {
    local name value
    # shellcheck disable=SC2034 # what the tests use
    while read -r name value; do
        case $name in
        Cluster) CLUSTER=$value ;;
        Service) SERVICE=$value ;;
        CanaryService) CANARY=$value ;;
        Listener) LISTENER=$value ;;
        TargetGroup) GROUP=$value ;;
        CanaryTargetGroup) CANARY_GROUP=$value ;;
        esac
    done <"$BATS_FILE_TMPDIR/outputs"
}

# serves SERVICE : its revision and how many tasks are wanted, like "cgi:2 3"
serves() {
    ecs_api DescribeServices "{\"cluster\": \"$CLUSTER\", \"services\": [\"$1\"]}" \
        '.services[0] | "\(.taskDefinition | split("/") | last) \(.desiredCount)"'
}

# definition REVISION : what describe-task-definition gives
definition() {
    ecs_api DescribeTaskDefinition "{\"taskDefinition\": \"$1\"}" .
}

# images_in_use : the image of each container in the revision that the service is on
images_in_use() {
    local revision
    revision=$(serves "$SERVICE")
    definition "${revision% *}" | jq -r '[.taskDefinition.containerDefinitions[].image] | join(" ")'
}

# registered : the numbers of the revisions that there are, those that cannot be gone back to in brackets
registered() {
    local arn
    for arn in $(ecs_api ListTaskDefinitions "{\"familyPrefix\": \"$STACK\", \"status\": \"ACTIVE\"}" \
        '.taskDefinitionArns[]'); do
        ecs_api DescribeTaskDefinition "{\"taskDefinition\": \"$arn\", \"include\": [\"TAGS\"]}" \
            'if any(.tags[]?; .key == "discarded") then "(\(.taskDefinition.revision))" else .taskDefinition.revision end'
    done | paste -sd ' '
}

# weights : of the service's target group and of the canary's
weights() {
    local groups='Listeners[0].DefaultActions[0].ForwardConfig.TargetGroups'
    ask "[${groups}[?TargetGroupArn=='$GROUP'].Weight, ${groups}[?TargetGroupArn=='$CANARY_GROUP'].Weight][]" \
        elbv2 describe-listeners --listener-arns "$LISTENER"
}

# full_images REGISTRY TAG : of all containers, as images_in_use prints them
full_images() {
    local name all="$1/cgi-nginx:$2"
    for name in "${SERVICES[@]}"; do all+=" $1/cgi-$name:$2"; done
    echo "$all"
}

# has_images TAG [IMAGE...] : ECR has them, as after a push; moto's ECR is no registry that could be pushed to
has_images() {
    local name names=("${@:2}")
    (($# > 1)) || names=("${IMAGES[@]}")
    for name in "${names[@]}"; do
        ecr_api PutImage "$(jq -nc --arg name "$STACK/cgi-$name" --arg tag "$1" '{repositoryName: $name, imageTag: $tag,
            imageManifest: ({schemaVersion: 2, mediaType: "application/vnd.docker.distribution.manifest.v2+json",
                config: {digest: "\($name) \($tag)"}} | tojson)}')" 'if .image then empty else error(tojson) end'
    done
}
