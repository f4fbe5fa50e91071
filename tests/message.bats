#!/usr/bin/env bats
# shellcheck shell=bats
# cgi-common/message/ without a server.

load lib/helpers

@test "a message is taken or refused, and read, as jansson does it, over 300,000 bodies; what is encoded decodes to itself" {
    run "$BUILD_DIR/tests/message"
    expect_status 0
    expect_match '^300000 bodies and texts compared with jansson, 0 faults$' "$output"
}
