# shellcheck shell=bash
# AWS, as moto plays it on loopback, and Debian's AWS CLI to talk to it, for tests. A file says `load ../lib/ecs`, after
# helpers.

AWS_PYTHON=$BUILD_DIR/aws/bin/python # with what tests/ecs/requirements.txt names

# why_no_aws : the reason why nothing can be tested here; fails when there is none
why_no_aws() {
    if [[ -n ${SANITIZE:-} ]]; then
        echo "nothing of the build is in it"
    elif [[ ! -x $AWS_PYTHON || ! -e $BUILD_DIR/aws/requirements.txt ]]; then
        echo "what tests/ecs/requirements.txt names is not there"
    elif [[ ! -x /usr/bin/aws ]]; then
        echo "there is no awscli"
    else
        return 1
    fi
}

# need_aws : for setup(): skip the test, with the reason, where it cannot run
need_aws() {
    local reason
    ! reason=$(why_no_aws) || skip "$reason"
}

# start_moto : an AWS of its own, with nothing in it; credentials that are none
start_moto() {
    local port
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-west-1 AWS_PAGER='' \
        AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
    export MOTO_URL=http://127.0.0.1:$port
    "$BUILD_DIR/aws/bin/moto_server" -H 127.0.0.1 -p "$port" >"$BATS_FILE_TMPDIR/moto.log" 2>&1 3>&- &
    MOTO_PID=$!
    wait_until 30 curl -sf -o /dev/null "$MOTO_URL/moto-api/data.json"
}

stop_moto() {
    [[ -z ${MOTO_PID:-} ]] || kill "$MOTO_PID"
}

aws_cli() {
    /usr/bin/aws --endpoint-url "$MOTO_URL" --output json "$@"
}

# expect_json EXPECTED FILTER < JSON : what jq's FILTER gives, as one line
expect_json() {
    expect_equal "$1" "$(jq -c "$2")" "$2"
}
