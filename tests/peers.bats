#!/usr/bin/env bats
# shellcheck shell=bats
# Peers that speak FastCGI by the byte, valid and not, to the request socket and to the status socket. What each does
# stands in lib/raw_peers.py under the name that the test calls, and lib/crowd.py has them all at once; teardown makes
# sure that the service lived on, drains with 0 in time and wrote nothing unexpected.

load lib/helpers

setup() {
    SOCKET="$BATS_TEST_TMPDIR/socket"
    STATUS="$SOCKET.status"
    LOG="$BATS_TEST_TMPDIR/transform.log"
}

teardown() {
    drains_soon
    end_services
}

# drains_soon : nothing is under way any more, so a drain (20 s at most, DESIGN.md) needs no waiting
drains_soon() {
    local name
    for name in "${!SERVICE_PID[@]}"; do
        kill -TERM "${SERVICE_PID[$name]}" && await_service "$name" 10
    done
}

pid() {
    echo "${SERVICE_PID[transform]}"
}

# start [VARIABLE=VALUE...] [WRAPPER...] : with both sockets
start() {
    start_service transform "$SOCKET" STATUS_SOCKET="$STATUS" "$@"
}

# start_tcp [VARIABLE=VALUE...] : requests on a TCP port, TCP
start_tcp() {
    local port
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    TCP=127.0.0.1:$port
    launch tcp "$TCP" env STATUS_SOCKET="$STATUS.tcp" "$@" \
        spawn-fcgi -a 127.0.0.1 -p "$port" -b 4096 -n -- "$BUILD_DIR/cgi-transform"
}

# on_both NAME [ARGUMENT...] : what peers do, to the request socket and to the status socket
on_both() {
    on requests "$@"
    on status "$@"
}

# on requests|status|tcp NAME [ARGUMENT...]
on() {
    local address
    case $1 in
    requests) address=$SOCKET ;;
    status) address=$STATUS ;;
    tcp) address=$TCP ;;
    esac
    python3 "$ROOT/tests/lib/raw_peers.py" "$2" "$address" "$1" "${@:3}"
}

# crowd NAME [ARGUMENT...] : on both sockets at the same time
crowd() {
    python3 "$ROOT/tests/lib/crowd.py" "$1" "$SOCKET" "$STATUS" "$(pid)" "${@:2}"
}

# crowd_on_tcp NAME [ARGUMENT...]
crowd_on_tcp() {
    python3 "$ROOT/tests/lib/crowd.py" "$1" "$TCP" "$STATUS.tcp" "${SERVICE_PID[tcp]}" "${@:2}"
}

# ---- valid FastCGI ----

@test "a request is answered whatever the padding of its records, 0 to 255 bytes, and whatever hides in it" {
    start
    on_both padding
}

@test "a request is answered whatever the size of its records" {
    start
    on_both sizes
}

@test "FCGI_GET_VALUES before and between requests is answered, every byte of the answer accounted for" {
    start
    on_both values
}

@test "FCGI_GET_VALUES within a request is answered, and then the request is" {
    start
    on_both values_within
}

@test "20,000 times FCGI_GET_VALUES are answered one by one" {
    start
    on_both values_flood
}

@test "a management record of an unknown type is answered with FCGI_UNKNOWN_TYPE, and the connection goes on" {
    start
    on_both unknown_types
}

# ---- what is refused ----

@test "FCGI_GET_VALUES with lengths that lie, near 2^31 too, closes its connection only" {
    start
    on_both lengths
}

@test "inputs that once ended the process are answered where they are valid, and refused where not" {
    start
    on_both seeds
    start_tcp
    on tcp seeds
}

@test "a record in a place where it does not belong ends its request or its connection, and hurts no other" {
    start
    on_both misplaced
}

# ---- bytes after which a read stops short ----

@test "a descriptor passed with any byte of a request is closed, and the request and the next one are answered" {
    start
    on_both descriptors "$(pid)"
}

@test "urgent data at any place of a request on a Unix socket: answered or closed in time" {
    start
    on_both urgent "$(pid)"
}

@test "urgent data at any place of a request on TCP: the request and the next one are answered" {
    start_tcp
    on tcp urgent "${SERVICE_PID[tcp]}"
}

@test "peers that send urgent data and half a request are closed in time, and cost no processor time" {
    start_tcp
    on tcp urgent_alone "${SERVICE_PID[tcp]}"
}

# ---- silence, and too many ----

@test "silent peers of the status socket are closed in time, also while it is asked every half second" {
    start
    on status silent_while_polled
}

@test "peers that begin a request and then only ask FCGI_GET_VALUES are closed in time" {
    start
    on requests begun_and_asking
    on status begun_and_asking
}

@test "idle peers of the status socket, more than it takes, shut out nobody" {
    start
    on status idle_and_full
}

@test "out of descriptors by peers of the status socket: one line says so, no spinning, served when some leave" {
    start prlimit --nofile=40:40
    on status no_descriptors "$(pid)" "$LOG"
}

@test "out of descriptors by peers of the request socket: the same" {
    start prlimit --nofile=40:40
    on requests no_descriptors "$(pid)" "$LOG"
}

# ---- all at once ----

@test "bad peers of every kind at once, Unix, TCP and status: good calls are answered, no thread is held, each one ends in time" {
    local crowd
    start THREADS=8
    start_tcp THREADS=8
    crowd_on_tcp all 3>&- &
    crowd=$!
    crowd all
    wait "$crowd"
}

# ---- bytes ----

# There is no room for some of them, and the log says so.
expect_no_room() {
    # shellcheck disable=SC2034 # read by end_services
    SERVICE_NOISE='"level":"error".*"message":"(answered 503|closed a connection: no room for .* does not take)'
}

@test "1,000 peers with half of 1 MiB each: memory under 128 MiB, good calls answered, 503 with Retry-After for some" {
    local count=1000
    [[ -z ${SANITIZE:-} ]] || count=300 # they are slow
    expect_no_room
    start THREADS=2
    crowd halves "$count"
}

@test "300 peers that take nothing of an answer of 1 MiB: memory under 128 MiB, good calls answered, each one ends in time" {
    local count=300
    [[ -z ${SANITIZE:-} ]] || count=100
    expect_no_room
    start THREADS=2
    crowd answers "$count"
}

@test "peers that leave with half of a request sent leave no memory behind: 50 large ones, then 1,000 small ones" {
    [[ -z ${SANITIZE:-} ]] || skip "a sanitizer keeps memory by itself"
    start THREADS=2
    crowd left 50 524288
    crowd left 1000 30000
}
