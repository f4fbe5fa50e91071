#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What a client sees when services die, hang, come back or are others. tests/wrong-answers.bats has those that answer wrongly.

load lib/helpers
load lib/stack

# What nginx must say of services that fail; anything else in its error log fails the test.
STACK_NOISE='no live upstreams|upstream (sent|prematurely closed|timed out)|connect\(\) to unix:|auth request unexpected|recv\(\) failed|compose: '

FAKES=() # pids of fake transforms

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" UPSTREAM_TIMEOUT=2
}

teardown() {
    ((${#FAKES[@]} == 0)) || kill "${FAKES[@]}"
    local failed=0
    end_services || failed=1
    end_stack || failed=1
    return "$failed"
}

# replace_transform PROGRAM [VARIABLE=VALUE...] : another program in the place of both transforms
replace_transform() {
    local i
    end_instance transform-blue-1 transform-blue-2
    for i in 1 2; do
        launch "$1-$i" "$RUN_DIR/transform-blue-$i.sock" env "${@:2}" \
            spawn-fcgi -s "$RUN_DIR/transform-blue-$i.sock" -n -- "$BUILD_DIR/cgi-$1"
    done
}

# expect_rest_works : what does not need transform is answered as ever, and soon
expect_rest_works() {
    request GET / --max-time 1
    expect_reply 200
    post '{"message": 5}' --max-time 1
    expect_problem 400 'not a string'
    request GET /x --max-time 1
    expect_problem 404
}

# expect_unhealthy : said as it always is, when UPSTREAM_TIMEOUT is over at the latest; the log has a line for each instance that
# was asked, and one for the answer
expect_unhealthy() {
    local before took=$SECONDS
    before=$(wc -l <"$RUN_DIR/log/error.log")
    request GET /_health
    took=$((SECONDS - took))
    expect_problem 503 'a service is not ready' || return
    expect_equal 'Service Unavailable' "$(jq -r .title <<<"$body")" title || return
    expect_equal 1 "$(header retry-after)" Retry-After || return
    expect_match '^[0-4]$' "$took" 'seconds' || return
    expect_match '^[1-3]$' "$(($(wc -l <"$RUN_DIR/log/error.log") - before))" 'new lines in the error log'
}

@test "transform gone: 502, health 503, the rest works; back again: 200" {
    end_instance transform-blue-1 transform-blue-2
    post_sample
    expect_problem 502
    expect_unhealthy
    expect_rest_works
    local i
    for i in 1 2; do
        launch "transform-blue-$i" "$RUN_DIR/transform-blue-$i.sock" \
            env STATUS_SOCKET="$RUN_DIR/transform-blue-$i.status" \
            spawn-fcgi -s "$RUN_DIR/transform-blue-$i.sock" -n -- "$BUILD_DIR/cgi-transform"
    done
    post_sample
    expect_sample
    is_healthy
}

@test "app gone: 502 for all, health 503" {
    end_instance app-blue-1 app-blue-2
    post_sample
    expect_problem 502
    request GET /
    expect_problem 502
    expect_unhealthy
}

@test "transform stopped: 504 when UPSTREAM_TIMEOUT is over, the rest works meanwhile; going on: 200" {
    signal_workers STOP transform-blue-1 transform-blue-2
    local begun=$SECONDS
    curl -sS -o "$BATS_TEST_TMPDIR/other" -w '%{http_code}' --max-time 30 -d "$SAMPLE_REQUEST" "$URL/api" \
        >"$BATS_TEST_TMPDIR/code" 3>&- &
    expect_rest_works
    wait $!
    expect_equal 504 "$(<"$BATS_TEST_TMPDIR/code")"
    ((SECONDS - begun <= 4))
    post_sample
    expect_problem 504 'too long'
    expect_unhealthy
    signal_workers CONT transform-blue-1 transform-blue-2
    post_sample
    expect_sample
}

@test "app stopped: 504, health 503; going on: 200" {
    signal_workers STOP app-blue-1 app-blue-2
    post_sample
    expect_problem 504
    expect_unhealthy
    signal_workers CONT app-blue-1 app-blue-2
    post_sample
    expect_sample
}

@test "all stopped, and all gone: health is 503 as for one of them; going on: 200" {
    local all=(app-blue-1 app-blue-2 transform-blue-1 transform-blue-2)
    signal_workers STOP "${all[@]}"
    expect_unhealthy
    signal_workers CONT "${all[@]}"
    is_healthy
    end_instance "${all[@]}"
    expect_unhealthy
}

@test "one of two instances stopped: the other answers" {
    signal_workers STOP transform-blue-1 app-blue-2
    local i
    for i in 1 2 3; do
        post_sample
        expect_sample
    done
    signal_workers CONT transform-blue-1 app-blue-2
}

# in_time RATE SECONDS INSTANCE... : fair.py's: with these frozen, what part of the calls is right within 1 s, from 3 s on
in_time() {
    local name pids=()
    for name in "${@:3}"; do pids+=("$(worker_of "$name")"); done
    python3 "$ROOT/tests/lib/fair.py" frozen "$HTTP_PORT" "$1" "$2" "${pids[@]}"
}

# is_least LEAST NUMBER : the number is not less
is_least() {
    awk "BEGIN { exit !($2 >= $1) }" && return
    echo "expected at least $1, but it is: $2" >&2
    return 1
}

@test "one of two instances frozen, of each service in turn and of both at once: from 3 s on 0.95 of the calls are right in time" {
    is_least 0.95 "$(in_time 60 6 transform-blue-1)"
    is_least 0.95 "$(in_time 60 6 app-blue-2)"
    is_least 0.95 "$(in_time 60 6 app-blue-1 transform-blue-2)"
    post_sample
    expect_sample
}

@test "two instances of two frozen, one of them of a canary's set: from 3 s on 0.95 of the calls are right in time" {
    "$ROOT/scripts/start" transform green
    "$ROOT/scripts/route" transform blue=90 green=10
    is_least 0.95 "$(in_time 60 6 transform-blue-1 transform-green-2)"
}

# calls_of INSTANCE LINES : how many of the last lines of the access log name it
calls_of() {
    tail -n "$2" "$RUN_DIR/log/access.log" | grep -c "/$1\.sock"
}

@test "an instance that was too slow for one call has its part of the next ones" {
    python3 "$ROOT/tests/lib/fair.py" slow "$HTTP_PORT" "$(worker_of transform-blue-1)" 10
    flush_log
    is_least 3 "$(calls_of transform-blue-1 10)"
}

@test "all workers killed, again and again: they are replaced, and no call fails" {
    local i
    for i in 1 2 3 4 5 6 7 8; do
        signal_workers KILL transform-blue-1 transform-blue-2 app-blue-1 app-blue-2
        post_sample
        expect_sample
        is_healthy
    done
}

@test "transform that answers 404 (another service in its place): 502, never a 200 with an error in it" {
    replace_transform app
    post_sample
    expect_problem 502
    expect_rest_works
}

@test "transform that refuses what app took (a smaller MAX_BODY_BYTES): 502" {
    replace_transform transform MAX_BODY_BYTES=5
    post_sample
    expect_problem 502
    expect_rest_works
}

# tell_params : what answers with what it was told, in the place of both transforms
tell_params() {
    local i
    end_instance transform-blue-1 transform-blue-2
    for i in 1 2; do
        rm -f "$RUN_DIR/transform-blue-$i.sock"
        python3 "$ROOT/tests/lib/parts.py" serve "$RUN_DIR/transform-blue-$i.sock" params 3>&- &
        FAKES+=($!)
    done
    for i in 1 2; do wait_until 10 is_listening "$RUN_DIR/transform-blue-$i.sock"; done
}

@test "transform is passed a traceparent as W3C has it, and no other; the log shows the way through both services" {
    local trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 bad
    tell_params
    post_sample -H "traceparent: $trace" -H 'X-Request-ID: traced'
    expect_reply 200 "\"HTTP_TRACEPARENT\": \"$trace\""
    wait_until 5 is_in_log '"request_id":"traced"' access.log
    expect_match "\"upstream_status\":\"200, 200\",\"upstream_addr\":\"unix:$RUN_DIR/app-blue-[12].sock, unix:$RUN_DIR/transform-blue-[12].sock\",\"upstream_response_time\":\"[0-9.]+, [0-9.]+\",\"traceparent\":\"$trace\"" \
        "$(grep '"request_id":"traced"' "$RUN_DIR/log/access.log")"
    for bad in "${trace}0" "$trace-0" "${trace%1}" "${trace^^}" 'x"y' '' "ff${trace#00}" "cc${trace#00}.x" "cc${trace#00}0" \
        "${trace/0af7651916cd43dd8448eb211c80319c/00000000000000000000000000000000}" "${trace/b7ad6b7169203331/0000000000000000}" \
        "cc-00000000000000000000000000000000-b7ad6b7169203331-01" "fe-0af7651916cd43dd8448eb211c80319c-0000000000000000-01-x"; do
        post_sample -H "traceparent: $bad" -H 'tracestate: a=1'
        expect_reply 200
        expect_no_match TRACE "$body" "traceparent $bad"
    done
}

@test "two headers traceparent are none; several tracestate are one list; tabs about one are not its own" {
    local trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 other
    tell_params
    for other in "$trace" "${trace%1}0" x "01${trace#00}-x"; do
        post_sample -H "traceparent: $other" -H "traceparent: $trace"
        expect_reply 200
        expect_no_match TRACE "$body" "$other, and one more"
    done
    post_sample -H $'traceparent: \t'"$trace"$'\t ' -H 'tracestate: a=1' -H 'tracestate: b=2,c=3' -H $'tracestate: \td=4'
    expect_reply 200 "\"HTTP_TRACEPARENT\": \"$trace\", \"HTTP_TRACESTATE\": \"a=1, b=2,c=3, d=4\""
}

@test "a traceparent of a later version is passed on by its first fields, as version 00; tracestate as it came" {
    local ids=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331 later
    tell_params
    for later in "01-$ids-01" "cc-$ids-01-what-comes" "fe-$ids-ff"; do
        post_sample -H "traceparent: $later" -H 'tracestate: a=1,b@c=2'
        expect_reply 200 "\"HTTP_TRACEPARENT\": \"00-$ids-01\", \"HTTP_TRACESTATE\": \"a=1,b@c=2\""
    done
    post_sample -H "traceparent: 02-$ids-fe-"
    expect_reply 200 "\"HTTP_TRACEPARENT\": \"00-$ids-00\""
    post_sample -H "traceparent: 00-$ids-f3"
    expect_reply 200 "\"HTTP_TRACEPARENT\": \"00-$ids-f3\""
    expect_no_match TRACESTATE "$body"
    post_sample -H 'tracestate: a=1'
    expect_no_match TRACE "$body"
}

@test "a lone instance that hangs is a 504 when UPSTREAM_TIMEOUT is over, not later" {
    local outer=$RUN_DIR begun
    start_stack "$BATS_TEST_TMPDIR/lone" UPSTREAM_TIMEOUT=2 TRANSFORM_INSTANCES=1
    signal_workers STOP transform-blue-1
    begun=$SECONDS
    post_sample
    expect_problem 504
    ((SECONDS - begun <= 4))
    signal_workers CONT transform-blue-1
    end_stack
    RUN_DIR=$outer
}

@test "a restart of every instance, one after the other, fails no call" {
    local name
    for name in app-blue-1 app-blue-2 transform-blue-1 transform-blue-2; do
        signal_workers TERM "$name"
        post_sample
        expect_sample
    done
}
