#!/usr/bin/env bats
# shellcheck shell=bats
# cgi-common/message/ without a server.

load lib/helpers

@test "a message is read as jansson reads it, over 300,000 bodies; what is encoded decodes to itself; memory that is short is a 503" {
    run "$BUILD_DIR/tests/message"
    expect_status 0
    expect_match '300000 bodies and texts compared with jansson' "$output"
    expect_match '[1-9][0-9]* allocations failed, 0 faults' "$output"
}

@test "a message is read as Python's json reads it, over 49,000 bodies; a fault's place is the first byte that is wrong" {
    run python3 "$ROOT/tests/lib/json_reader.py" "$BUILD_DIR/tests/message"
    expect_status 0
    expect_match '^4[0-9]{4} bodies compared with Python.s json, [1-9][0-9]{2} of them written by hand, 0 faults' "$output"
}
