#!/usr/bin/env bats
# shellcheck shell=bats
# The handler's contract (service.h, request.h, reply.h), by a service of the tests' own: tests/handlers/service.c does
# what a request says, the tables tests/cases/handlers*.tsv say what must come back.

bats_require_minimum_version 1.5.0
load lib/helpers

setup() {
    SOCKET="$BATS_TEST_TMPDIR/socket"
    PROGRAM="$BUILD_DIR/tests/handlers"
    LOG="$BATS_TEST_TMPDIR/handlers.log"
    export LIFE="$BATS_TEST_TMPDIR/life"
    # shellcheck disable=SC2034 # read by end_services: faults are logged, as they should be
    SERVICE_NOISE='"level":"error".*"message":"(answered 5|the handler of )'
}

teardown() {
    end_services
}

# start_handlers [VARIABLE=VALUE...]
start_handlers() {
    launch handlers "$SOCKET" env "$@" spawn-fcgi -s "$SOCKET" -n -- "$PROGRAM"
}

# check ANSWERS...
check() {
    run python3 "$ROOT/tests/lib/handlers.py" "$@"
    expect_status 0
}

# ---- what is answered ----

@test "by FastCGI: statuses, types, headers, redirects, problems, memory, routes, the query and variables are as the table has them" {
    start_handlers
    check answers fastcgi "$SOCKET" "$ROOT/tests/cases/handlers.tsv"
}

@test "by CGI: the same, and each fault is one line in the log that names the route and what is wrong" {
    check answers cgi "$PROGRAM" "$ROOT/tests/cases/handlers.tsv"
}

@test "by FastCGI a body ends by itself, or where CONTENT_LENGTH says; over the limit it gets 413, declared or not" {
    start_handlers MAX_BODY_BYTES=100
    check bodies fastcgi "$SOCKET" "$ROOT/tests/cases/handlers-bodies.tsv"
}

@test "by CGI a body ends where CONTENT_LENGTH says; without one nothing is read" {
    export MAX_BODY_BYTES=100
    check bodies cgi "$PROGRAM" "$ROOT/tests/cases/handlers-bodies.tsv"
}

@test "by CGI nothing is read of a body that is declared over the limit" {
    mkfifo "$BATS_TEST_TMPDIR/body"
    exec 8<>"$BATS_TEST_TMPDIR/body" # open for writing, too: a read would wait
    run timeout 10 env REQUEST_METHOD=POST SCRIPT_NAME=/body CONTENT_LENGTH=1048577 "$PROGRAM" <&8
    exec 8>&-
    expect_status 0
    expect_match '^Status: 413 Content Too Large' "$output"
}

@test "a line of the log is JSON and UTF-8, whatever bytes a client has sent" {
    run --separate-stderr env REQUEST_METHOD=GET SCRIPT_NAME=/status/500 HTTP_TRACEPARENT=$'a\xff\x01"\\\xe2\x82' "$PROGRAM"
    # shellcheck disable=SC2154 # set by run --separate-stderr
    expect_equal $'a\xef\xbf\xbd\x01"\\\xef\xbf\xbd\xef\xbf\xbd' "$(jq -r '.message | split("traceparent ")[1]' <<<"$stderr")"
}

# ---- start and stop ----

@test "start() is called before the first request and stop() after the drain, once each; a thread of start()'s takes no signal" {
    for name in TERM INT USR1; do
        rm -f "$LIFE"
        start_handlers
        expect_equal start "$(cat "$LIFE")"
        kill "-$name" "${SERVICE_PID[handlers]}"
        await_service handlers 5
        expect_equal $'start\nstop' "$(cat "$LIFE")" "after SIG$name"
    done
}

@test "stop() waits for the last handler, whose answer is given" {
    mkfifo "$BATS_TEST_TMPDIR/gate"
    start_handlers GATE="$BATS_TEST_TMPDIR/gate"
    check gate "$SOCKET" "${SERVICE_PID[handlers]}" "$BATS_TEST_TMPDIR/gate" "$LOG"
    await_service handlers 5
    expect_equal $'start\nhandled\nstop' "$(cat "$LIFE")"
}

@test "a start() that fails ends the process with 1, after its own line; nothing is served, and stop() not called" {
    run timeout 10 env START=fail spawn-fcgi -s "$SOCKET" -n -- "$PROGRAM" 3>&-
    expect_status 1
    expect_match '"level":"error".*"message":"the test wants no start"' "${lines[0]}"
    expect_match '"level":"error".*"message":"cannot start: the service.s start\(\) failed"' "${lines[1]}"
    expect_equal 2 "${#lines[@]}" "lines"
    expect_equal start "$(cat "$LIFE")"
}

@test "a CGI call has its start() and stop(), too, and ends with 1 and no response when start() fails" {
    run env REQUEST_METHOD=GET SCRIPT_NAME=/context "$PROGRAM"
    expect_match 'context: made by start\(\)$' "$output"
    expect_equal $'start\nstop' "$(cat "$LIFE")"
    run --separate-stderr env START=fail REQUEST_METHOD=GET SCRIPT_NAME=/context "$PROGRAM"
    expect_status 1
    expect_equal "" "$output" "standard output"
}

@test "-t, -h and --version start nothing" {
    for argument in -t -h --version; do
        run "$PROGRAM" "$argument"
        expect_status 0
        expect_equal "no" "$([[ -e $LIFE ]] && echo yes || echo no)" "a start by $argument"
    done
}
