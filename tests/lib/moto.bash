# shellcheck shell=bash
# moto as it comes, with nothing added, and what the template's tests ask it. A file says `load ../lib/moto`, after ecs.

# shellcheck disable=SC2034 # what the tests use
AWS_PYTHON=$BUILD_DIR/aws/bin/python # with what tests/ecs/requirements.txt names

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
