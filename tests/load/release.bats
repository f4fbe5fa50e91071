#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# Releases under load: 64 clients, routes changed, builds replaced; no request fails, and each is answered by whom it should.

load ../lib/helpers
load ../lib/stack
load ../lib/load

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" UPSTREAM_TIMEOUT=60
}

teardown() {
    end_stack
}

@test "10 changes of route, 64 clients: none fails; 2 s after each, all answers are by the colours asked for" {
    local change
    "$ROOT/scripts/start" app green 3>&-
    "$ROOT/scripts/start" transform green 3>&-
    begin_load
    for change in 'app green' 'transform green' 'app blue=50 green=50' 'transform blue' 'app blue' \
        'transform blue=90 green=10' 'app green' 'transform green' 'app blue' 'transform blue'; do
        local begun=$EPOCHREALTIME
        # shellcheck disable=SC2086 # words
        "$ROOT/scripts/route" $change 3>&-
        echo "$begun $EPOCHREALTIME $change" >>"$BATS_TEST_TMPDIR/changes"
        # the pace of the changes: what is asked for has to hold from 2 s after it
        sleep 1.3
    done
    sleep 1.3
    end_load
    run python3 "$ROOT/tests/lib/colours.py" "$BATS_TEST_TMPDIR/changes" "$RUN_DIR/log/access.log"
    expect_status 0
}

@test "both services upgraded 3 times, 64 clients: none fails, and the processes are others each time" {
    local before after
    begin_load
    for _ in 1 2 3; do
        before=$("$ROOT/scripts/status" --json | jq -c 'map(select(.service).pid)')
        "$ROOT/scripts/upgrade" --step 0 3>&-
        after=$("$ROOT/scripts/status" --json | jq -c 'map(select(.service).pid)')
        jq -en "($before | length) == 4 and $before - $after == $before"
    done
    end_load
}
