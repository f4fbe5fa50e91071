#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What an operator asks while every worker of a service is busy: it is answered at once, not in its turn.

load lib/helpers
load lib/stack

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" APP_INSTANCES=1 TRANSFORM_INSTANCES=1 THREADS=1 MAX_BODY_BYTES=50000000 UPSTREAM_TIMEOUT=60
}

teardown() {
    end_stack
}

# ask_status SERVICE : what its instance tells
ask_status() {
    REQUEST_METHOD=GET SCRIPT_NAME=/_status cgi-fcgi -bind -connect "$RUN_DIR/$1-blue-1.status" | sed '1,/^\r*$/d'
}

is_busy() {
    [[ $(ask_status transform | jq .busy) == 1 ]]
}

# milliseconds COMMAND... : how long it takes
milliseconds() {
    local begun=${EPOCHREALTIME/./}
    "$@" >/dev/null
    echo $(((${EPOCHREALTIME/./} - begun) / 1000))
}

ask_health() {
    curl -sS --fail --max-time 30 "$URL/_health"
}

# median_of COMMAND... : of 9 times
median_of() {
    local i
    for ((i = 0; i < 9; i++)); do milliseconds "$@"; done | sort -n | sed -n 5p
}

@test "health, through nginx, and status answer within 100 ms while the only worker has large messages to reverse" {
    local i load=() health status_time
    python3 -c 'print("{\"message\": \"" + "e\u0301\U0001F469\u200d\U0001F4BBx" * 2500000 + "\"}")' >"$BATS_TEST_TMPDIR/large"
    for ((i = 0; i < 12; i++)); do
        curl -sS -o /dev/null -w '%{http_code}\n' --max-time 120 --data-binary @"$BATS_TEST_TMPDIR/large" "$URL/api" \
            >>"$BATS_TEST_TMPDIR/codes" 3>&- &
        load+=($!)
    done
    wait_until 30 is_busy
    health=$(median_of ask_health)
    status_time=$(median_of ask_status transform)
    # All of that was while there was a queue.
    is_busy
    wait "${load[@]}"
    expect_equal 200 "$(sort -u "$BATS_TEST_TMPDIR/codes")"
    echo "health $health ms, status $status_time ms"
    ((health < 100 && status_time < 100))
}
