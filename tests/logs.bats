#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# scripts/logs: the way of one request, and following.

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/stack

LOGS=$ROOT/scripts/logs

setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r" LOG_LEVEL=debug
}

teardown_file() {
    end_stack
}

@test "logs ID: what nginx logged of the request, each call in its order, and what each service said" {
    post_sample -H 'X-Request-ID: mine.1'
    expect_sample
    run --separate-stderr "$LOGS" mine.1
    expect_status 0
    expect_match '^[0-9T:+-]+  nginx  POST /api HTTP/1.1 from 127.0.0.1: 200, [0-9]+ bytes, [0-9]+ ms$' "${lines[0]}"
    expect_match '^    app-blue-[12]  200  [0-9]+ ms$' "${lines[1]}"
    expect_match '^    transform-blue-[12]  200  [0-9]+ ms$' "${lines[2]}"
    expect_match '  app-blue-[12]  debug: answered 200, ' "${lines[3]}"
    expect_match '  transform-blue-[12]  debug: answered 200, ' "${lines[4]}"
    expect_equal 5 "${#lines[@]}" "lines: $output"
}

@test "logs ID of a request that called no service is one line; of one that begins alike there is none" {
    request TRACE / -H 'X-Request-ID: alone'
    run --separate-stderr "$LOGS" alone
    expect_status 0
    expect_match '  nginx  TRACE / HTTP/1.1 from 127.0.0.1: 405, ' "$output"
    expect_equal 1 "${#lines[@]}" "lines: $output"
    run --separate-stderr "$LOGS" alon
    expect_status 1
    expect_match '^logs: no request has the id "alon" in ' "$stderr"
    run --separate-stderr "$LOGS" alo.e # not a pattern
    expect_status 1
}

@test "what is neither a service nor an id is refused, and so are two words and an unknown option" {
    refuse_words() {
        run --separate-stderr "$LOGS" "${@:2}"
        expect_status 2
        expect_match "$1" "$stderr"
    }
    refuse_words 'is neither a service \(app transform nginx\) nor the id' 'a b'
    refuse_words '"b" is one word too many' a b
    refuse_words '"-x" is no option' -x
    RUN_DIR=$BATS_TEST_TMPDIR run --separate-stderr "$LOGS" app
    expect_status 1
    expect_match 'there is no log of app in .*; ./scripts/run starts' "$stderr"
}

@test "logs SERVICE follows its logs alone, logs all of them" {
    local pids=()
    "$LOGS" nginx >"$BATS_TEST_TMPDIR/nginx" 3>&- & pids+=($!)
    "$LOGS" transform >"$BATS_TEST_TMPDIR/transform" 3>&- & pids+=($!)
    "$LOGS" >"$BATS_TEST_TMPDIR/all" 3>&- & pids+=($!)
    wait_until 10 grep -q access.log "$BATS_TEST_TMPDIR/all"
    post_sample -H 'X-Request-ID: followed'
    wait_until 10 grep -q '"followed".*"method"' "$BATS_TEST_TMPDIR/nginx"
    wait_until 10 grep -q '"service":"cgi-transform".*"followed"' "$BATS_TEST_TMPDIR/transform"
    wait_until 10 grep -q '"service":"cgi-app".*"followed"' "$BATS_TEST_TMPDIR/all"
    wait_until 10 grep -q '"followed".*"method"' "$BATS_TEST_TMPDIR/all"
    kill "${pids[@]}"
    expect_no_match 'cgi-app|"method"' "$(<"$BATS_TEST_TMPDIR/transform")"
}
