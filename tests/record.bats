#!/usr/bin/env bats
# shellcheck shell=bats
# The walk over FastCGI records: cgi-common/responder/record.c linked with unit/record.c and nothing else.

load lib/helpers

@test "a request's end is found at the same byte however its bytes arrive; what no peer may send is refused" {
    run "$BUILD_DIR/tests/record"
    expect_status 0
}
