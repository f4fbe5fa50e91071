#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# How one answer is made of two, where compose matters (nginx/assembly.conf): long frames, clients that end their side,
# conditions. The module alone is tested by compose.bats and compose-foreign.bats.
# sanitizers: address

load lib/helpers
load lib/stack

PARTS="$ROOT/tests/lib/parts.py"
FAKES=()

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" MAX_BODY_BYTES=1000
}

teardown() {
    ((${#FAKES[@]} == 0)) || kill "${FAKES[@]}"
    local failed=0
    end_services || failed=1
    end_stack || failed=1
    return "$failed"
}

# replace_app NAME : what answers so, in the place of both
replace_app() {
    local i
    ((${#FAKES[@]} > 0)) || end_instance app-blue-1 app-blue-2
    ((${#FAKES[@]} == 0)) || kill "${FAKES[@]}"
    FAKES=()
    for i in 1 2; do
        rm -f "$RUN_DIR/app-blue-$i.sock"
        python3 "$PARTS" serve "$RUN_DIR/app-blue-$i.sock" "$1" 3>&- &
        FAKES+=($!)
        wait_until 10 is_listening "$RUN_DIR/app-blue-$i.sock"
    done
}

@test "a frame of 60 KB is taken; one of 70 KB, over MAX_BODY_BYTES and 64 KiB, is a 502, and the log says why" {
    STACK_NOISE='too big subrequest response|"/app/api" is not taken; subrequest_output_buffer_size is 66536 there'
    replace_app frame-60000
    post_sample
    expect_reply 200 '^\{"message":".*"\} +$'
    ((${#body} > 59000))
    replace_app frame-70000
    post_sample
    expect_problem 502
    expect_match "$STACK_NOISE" "$(<"$RUN_DIR/log/error.log")"
}


@test "a client that ends its side after its request gets its answer, 30 of 30 times" {
    local i
    for i in {1..30}; do
        run python3 "$PARTS" ended "127.0.0.1:$HTTP_PORT" /api "$SAMPLE_REQUEST"
        is_sample_answer "${lines[-1]}" || { echo "answer $i: $output"; return 1; }
    done
    for i in / /_health /nowhere; do
        run python3 "$PARTS" ended "127.0.0.1:$HTTP_PORT" "$i"
        expect_match '^HTTP/1.1 [24]0[04] .*\{.*\}' "$(tr -d '\r\n' <<<"$output")" "$i"
    done
    "$ROOT/scripts/stop" 3>&-
    expect_equal 0 "$(grep -cE '"status":"?499' "$RUN_DIR/log/access.log")" "499 in the log"
}

@test "a POST of whatever condition, and with a range, is answered whole" {
    local header
    for header in 'If-None-Match: *' 'If-Match: "x"' 'If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT' \
        'If-Unmodified-Since: Thu, 01 Jan 2015 00:00:00 GMT' 'Range: bytes=0-0'; do
        post_sample -H "$header"
        expect_sample
    done
}
