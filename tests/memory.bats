#!/usr/bin/env bats
# shellcheck shell=bats
# Memory short at each allocation of a request, and accept and epoll that fail, in running services: unit/failing_malloc.c
# is preloaded, lib/memory.py drives it.

load lib/helpers

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "a sanitizer has a malloc of its own"
    SOCKET="$BATS_TEST_TMPDIR/socket"
    STATUS="$SOCKET.status"
    CONTROL="$BATS_TEST_TMPDIR/control"
    LIBRARY="$BUILD_DIR/tests/failing_malloc.so"
    # shellcheck disable=SC2034 # read by end_services
    SERVICE_NOISE='"level":"error".*"message":"(answered 503|cannot take in|closed a connection: (no|out of) memory)'
    memory control "$CONTROL"
}

teardown() {
    end_services
}

memory() {
    python3 "$ROOT/tests/lib/memory.py" "$@"
}

# start NAME : the service with its allocations in our hands
start() {
    start_service "$1" "$SOCKET" LD_PRELOAD="$LIBRARY" FAILING_MALLOC="$CONTROL" STATUS_SOCKET="$STATUS" THREADS=1
}

# fail_each app|transform|status one|all : prints how many allocations there were
fail_each() {
    local name=$1 address=$SOCKET
    [[ $name != status ]] || name=transform address=$STATUS
    start "$name"
    memory each "$1" "$address" "$CONTROL" "$BATS_TEST_TMPDIR/$name.log" "${SERVICE_PID[$name]}" "$2" | sed 's/^/# /' >&3
    return "${PIPESTATUS[0]}"
}

@test "app: each allocation of a request fails once: the right answer, a 503 or a close, and a line in the log" {
    fail_each app one
}

@test "app: each allocation of a request fails and all behind it: the same" {
    fail_each app all
}

@test "transform: each allocation of a request fails once: the right answer, a 503 or a close, and a line in the log" {
    fail_each transform one
}

@test "transform: each allocation of a request fails and all behind it: the same" {
    fail_each transform all
}

@test "the status: each allocation of a request fails, once and with all behind it: the same" {
    fail_each status one
    stop_service transform
    fail_each status all
}

@test "each allocation of the first request of a process fails: the same" {
    local name
    for name in app transform; do
        memory first "$name" "$BUILD_DIR/cgi-$name" "$LIBRARY" "$BATS_TEST_TMPDIR" | sed 's/^/# /' >&3
        ((PIPESTATUS[0] == 0))
    done
}

@test "accept without descriptors or memory is tried again a few times a second, said seldom, and then serves" {
    start transform
    memory accept transform "$SOCKET" "$CONTROL" "$BATS_TEST_TMPDIR/transform.log" "${SERVICE_PID[transform]}"
    memory accept status "$STATUS" "$CONTROL" "$BATS_TEST_TMPDIR/transform.log" "${SERVICE_PID[transform]}"
}
