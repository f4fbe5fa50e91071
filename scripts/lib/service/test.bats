#!/usr/bin/env bats
# shellcheck shell=bats
# NAME, called as nginx calls it.

bats_require_minimum_version 1.5.0
load lib/helpers

setup() {
    SOCKET=$BATS_TEST_TMPDIR/socket
    start_service NAME "$SOCKET"
}

teardown() {
    end_services
}

# ask_NAME BODY : the body of its answer
ask_NAME() {
    call "$SOCKET" POST /NAME --body "$1" | sed '1,/^\r*$/d'
}

@test "NAME answers a message with one JSON value" {
    expect_equal '"hello"' "$(ask_NAME '{"message": "hello"}')"
    expect_equal '""' "$(ask_NAME '{"message": ""}')"
}

@test "NAME refuses what is no message" {
    run ask_NAME '{"text": "hello"}'
    expect_match '"status":400' "$output"
}

@test "NAME takes POST only, and says that it is well" {
    run call "$SOCKET" GET /NAME
    expect_match 'Status: 405' "$output"
    run call "$SOCKET" GET /_health
    expect_match '"pass"' "$output"
}
