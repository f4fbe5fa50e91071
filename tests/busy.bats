#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What an operator asks while every worker of a service is busy: it is answered at once, not in its turn.

load lib/helpers
load lib/stack

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" APP_INSTANCES=1 TRANSFORM_INSTANCES=1 THREADS=1 MAX_BODY_BYTES=50000000 MAX_BUFFERED_BYTES=1000000000 \
        MAX_HELD_BYTES=2000000000 UPSTREAM_TIMEOUT=60
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

# take_time FILE COMMAND... : note how long it takes, if the worker is busy before and after
take_time() {
    local time
    is_busy || return 0
    time=$(milliseconds "${@:2}")
    ! is_busy || echo "$time" >>"$BATS_TEST_TMPDIR/$1"
}

# times FILE : how many are noted
times() {
    touch "$BATS_TEST_TMPDIR/$1"
    wc -l <"$BATS_TEST_TMPDIR/$1"
}

# expect_soon FILE : half of the times are less than 100 ms
expect_soon() {
    local count median
    count=$(times "$1")
    median=$(sort -n "$BATS_TEST_TMPDIR/$1" | sed -n "$(((count + 1) / 2))p")
    echo "$1: $count times, median $median ms"
    ((count >= 5 && median < 100))
}

# send_twelve : large messages at once; times are noted until the last is answered
send_twelve() {
    local i load=()
    for ((i = 0; i < 12; i++)); do
        curl -sS -o /dev/null -w '%{http_code}\n' --max-time 120 --data-binary @"$BATS_TEST_TMPDIR/large" "$URL/api" \
            >>"$BATS_TEST_TMPDIR/codes" 3>&- &
        load+=($!)
    done
    while ! is_gone "${load[-1]}"; do
        take_time health ask_health
        take_time status ask_status transform
    done
    wait "${load[@]}"
}

@test "health, through nginx, and status answer within 100 ms while the only worker has large messages" {
    local round clusters=2500000
    [[ -z ${SANITIZE:-} ]] || clusters=250000 # they are slow
    python3 -c 'import sys
print("{\"message\": \"" + "e\u0301\U0001F469\u200d\U0001F4BBx" * int(sys.argv[1]) + "\"}")' "$clusters" >"$BATS_TEST_TMPDIR/large"
    for ((round = 0; round < 10; round++)); do
        send_twelve
        (($(times health) < 5 || $(times status) < 5)) || break
    done
    expect_equal 200 "$(sort -u "$BATS_TEST_TMPDIR/codes")"
    expect_soon health
    expect_soon status
}
