#!/usr/bin/env bats
# shellcheck shell=bats
# A service on a Unix socket and the peers it may meet. What each does stands in lib/scenarios.py under the name that
# the test calls; teardown makes sure that the service lived on, drains with 0 and wrote nothing unexpected.

load lib/helpers

setup() {
    SOCKET="$BATS_TEST_TMPDIR/socket"
    LOG="$BATS_TEST_TMPDIR/transform.log"
}

teardown() {
    end_services
}

# scenario NAME [ARGUMENT...]
scenario() {
    python3 "$ROOT/tests/lib/scenarios.py" "$1" "$SOCKET" "${@:2}"
}

pid() {
    echo "${SERVICE_PID[transform]}"
}

# ---- peers that do not go on ----

@test "peers that stop within a request, or send it by drops, hold no thread and are closed in bounded time" {
    start_service transform "$SOCKET" THREADS=2
    scenario silent_peers 2
}

@test "peers that connect and send nothing hold no thread, and are served when they do" {
    start_service transform "$SOCKET" THREADS=2
    scenario mute_peers 2
}

@test "200 idle kept connections starve nobody and cost no thread: a new one is served, then each of them again" {
    start_service transform "$SOCKET" THREADS=2
    scenario idle_connections "$(pid)" 2
}

@test "out of descriptors: said in the log, no spinning, and served again once some are free" {
    start_service transform "$SOCKET" prlimit --nofile=40:40
    scenario no_descriptors "$(pid)" "$LOG"
}

# ---- log ----

@test "a log that nobody reads stops nothing: calls are answered, lines are lost whole, and it is told how many" {
    local pipe=$BATS_TEST_TMPDIR/pipe hold
    mkfifo "$pipe"
    exec {hold}<>"$pipe" # somebody has it open, as a container's engine does
    # shellcheck disable=SC2016 # the inner shell's
    start_service transform "$SOCKET" LOG_LEVEL=debug PIPE="$pipe" sh -c 'exec "$@" 2>"$PIPE"' sh
    dd if="$pipe" iflag=nonblock of=/dev/null status=none 2>/dev/null || true # the lines of the start
    scenario unread_log "$pipe"
    stop_service transform
    exec {hold}>&-
}

# ---- status ----

@test "the status is told on a socket of its own while the only worker is busy; only its user and group may ask" {
    start_service transform "$SOCKET" THREADS=1 MAX_BODY_BYTES=50000000 STATUS_SOCKET="$SOCKET.status"
    scenario told_while_busy "$SOCKET.status"
    expect_equal 660 "$(stat -c %a "$SOCKET.status")" "mode of the status socket"
}

@test "requests are counted by status, those for the status are not" {
    start_service transform "$SOCKET" THREADS=2 STATUS_SOCKET="$SOCKET.status"
    scenario counted "$SOCKET.status"
}

@test "a status socket that cannot be is refused at start, with one line" {
    run env STATUS_SOCKET=status "$BUILD_DIR/cgi-transform" -t
    expect_status 2
    expect_equal 'cgi-transform: STATUS_SOCKET is "status"; set it to a path from / of at most 107 bytes' "$output"
    run env STATUS_SOCKET=/nowhere/status spawn-fcgi -s "$SOCKET" -n -- "$BUILD_DIR/cgi-transform"
    expect_status 1
    expect_match 'cannot tell its status at STATUS_SOCKET, /nowhere/status: No such file or directory' "$output"
}

# ---- drain ----

@test "SIGTERM, SIGINT and SIGUSR1 each end a service that never had a request, with 0" {
    for name in TERM INT USR1; do
        start_service transform "$SOCKET"
        kill "-$name" "$(pid)"
        await_service transform 5
    done
}

@test "SIGTERM, SIGINT and SIGUSR1 each close 50 idle connections and end the service with 0" {
    for name in TERM INT USR1; do
        start_service transform "$SOCKET"
        scenario drain_idle "$(pid)" "SIG$name"
        await_service transform 5
    done
}

@test "a request half sent when SIGTERM comes still gets its 200, then the service ends with 0" {
    start_service transform "$SOCKET"
    scenario drain_half_sent "$(pid)"
    await_service transform 5
}

@test "an answer half taken when SIGTERM comes is given to its end, then the service ends with 0" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=2097152
    scenario drain_large_answer "$(pid)"
    await_service transform 5
}

@test "a request half sent that never ends holds up the drain for at most 20 s, then the service ends with 0" {
    start_service transform "$SOCKET"
    scenario drain_never_ended "$(pid)"
    await_service transform 5
}

# ---- the protocol ----

@test "an answer ends with status 0, complete, and nothing on its error stream" {
    start_service transform "$SOCKET"
    scenario answer_ends_well
}

@test "requests sent at once on a kept connection are answered one after the other" {
    start_service transform "$SOCKET"
    scenario pipelined
}

@test "a request whose first part came with the one before is answered, wherever it was split" {
    start_service transform "$SOCKET"
    scenario pipelined_in_pieces
}

@test "a request that comes byte by byte is answered" {
    start_service transform "$SOCKET"
    scenario byte_by_byte
}

@test "a request in records of one byte is answered" {
    start_service transform "$SOCKET"
    scenario small_records
}

@test "without FCGI_KEEP_CONN the connection is closed after the answer" {
    start_service transform "$SOCKET"
    scenario not_kept
}

@test "a peer that ends its side after the request still gets the whole answer" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=2097152
    scenario half_closed
}

@test "FCGI_GET_VALUES is answered with the three names, and the connection goes on" {
    start_service transform "$SOCKET"
    scenario get_values
}

@test "an FCGI_GET_VALUES that repeats a name 1,000 times closes its connection only" {
    start_service transform "$SOCKET"
    scenario get_values_repeated
}

@test "a management record of an unknown type is answered with FCGI_UNKNOWN_TYPE, and the connection goes on" {
    start_service transform "$SOCKET"
    scenario unknown_management
}

@test "a second request multiplexed on a connection closes its connection only" {
    start_service transform "$SOCKET"
    scenario multiplexed
}

@test "FCGI_ABORT_REQUEST closes its connection only" {
    start_service transform "$SOCKET"
    scenario aborted
}

@test "garbage closes its connection only" {
    start_service transform "$SOCKET"
    scenario garbage
}

@test "params without end, by size or by number, close their connection only" {
    start_service transform "$SOCKET"
    scenario long_params
}

@test "64 KiB of params are taken" {
    start_service transform "$SOCKET"
    scenario large_params
}

# ---- bodies ----

@test "a body over MAX_BODY_BYTES gets 413, whole, though the peer had more to send" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=300000
    scenario body_over_limit 300000
}

@test "a body shorter than CONTENT_LENGTH gets 400, and the connection goes on" {
    start_service transform "$SOCKET"
    scenario body_too_short
}

@test "1 MiB of ASCII and of mixed scripts come back right" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=8388608
    scenario large_messages
}

# ---- peers that do not take their answers ----

@test "peers that take nothing of a large answer hold no thread, and are closed in bounded time" {
    start_service transform "$SOCKET" THREADS=2 MAX_BODY_BYTES=2097152
    scenario deaf_peers 2
}

@test "a peer that reads slowly gets the whole answer, and the next one" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=2097152
    scenario slow_reader
}

@test "peers that leave after the request, amid the answer or amid the request hurt nobody" {
    start_service transform "$SOCKET" MAX_BODY_BYTES=2097152
    scenario leaving_peers
}

# ---- under multiwatch ----

@test "a worker killed 12 times is replaced each time" {
    # shellcheck disable=SC2034 # read by end_services
    SERVICE_NOISE='^Child\[0\] died, respawn$' # multiwatch's own line
    start_supervised transform "$SOCKET"
    scenario killed_workers "$(pid)"
}

@test "SIGTERM to multiwatch drains its worker: a request half sent gets its 200, then both end" {
    start_supervised transform "$SOCKET"
    scenario supervised_drain "$(pid)"
    await_service transform 5
}

# ---- the log ----

@test "at LOG_LEVEL=debug each request is one line of JSON with its id, if that is 1 to 64 of [A-Za-z0-9._-]" {
    start_service transform "$SOCKET" LOG_LEVEL=debug
    scenario logged_requests "$LOG"
}

@test "at LOG_LEVEL=info requests leave nothing in the log" {
    start_service app "$SOCKET"
    run call "$SOCKET" POST /api --body '{"message":"hello"}'
    expect_match 'Status: 200 OK' "$output"
    expect_no_match 'answered' "$(cat "$BATS_TEST_TMPDIR/app.log")"
}

@test "a service that cannot start says why and ends with 1" {
    run prlimit --nofile=5:5 spawn-fcgi -s "$SOCKET" -n -- "$BUILD_DIR/cgi-transform" 3>&- 4>&-
    expect_status 1
    expect_match '"level":"error".*"message":"cannot start: ' "$output"
}
