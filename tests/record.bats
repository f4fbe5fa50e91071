#!/usr/bin/env bats
# shellcheck shell=bats
# The reader of FastCGI, cgi-common/responder/record.c, without a server.

load lib/helpers

@test "a request is read alike however its bytes arrive and are padded; what no peer may send is refused" {
    run "$BUILD_DIR/tests/record"
    expect_status 0
}
