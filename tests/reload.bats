#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What clients see of a reload of nginx, or its stop (nginx/drain). tests/load/reload.bats has many of them.
# sanitizers: address

load lib/helpers
load lib/stack

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" APP_INSTANCES=1 TRANSFORM_INSTANCES=1 MAX_BODY_BYTES=50000000 \
        UPSTREAM_TIMEOUT=60
}

teardown() {
    end_stack
}

# see NAME [PID...] : a function of tests/lib/reload.py, with this nginx
see() {
    local port=$HTTP_PORT
    [[ $1 != tls* && $1 != http2* ]] || port=$HTTPS_PORT
    python3 "$ROOT/tests/lib/reload.py" "$1" "$port" "$RUN_DIR/nginx.pid" "${@:2}"
}

@test "a connection that is idle at a reload: its next request is answered with Connection: close; then the worker ends" {
    see next_request
    see tls_next_request
}

@test "a connection on which nothing was sent before a reload: its first request is answered with Connection: close" {
    see first_request
}

@test "requests that are in the sockets already when nginx's workers are to end: each is answered" {
    see already_sent
}

@test "a connection that stays idle after a reload is closed, not at once, and holds no old worker" {
    see closed_after
}

@test "2 s after a change, each answer is of the new configuration, on kept connections, too" {
    sed -i 's/server_tokens off;/& add_header X-New yes always;/' "$RUN_DIR/nginx/server.conf"
    see new_configuration
}

@test "a request under way at a reload is answered with Connection: close" {
    see under_way "$(worker_of "$(basename "$RUN_DIR"/app-*.pid .pid)")"
}

@test "an answer of which half has left at a reload, with Connection: keep-alive: the connection is kept" {
    see answer_under_way
}

@test "HTTP/2: an idle connection's next request is answered; GOAWAY names it, or comes when there is none" {
    see http2_next_request
    see http2_closed_after
}

@test "HTTP/2: requests under way at a reload have a GOAWAY that names them, and their answers" {
    see http2_under_way "$(worker_of "$(basename "$RUN_DIR"/app-*.pid .pid)")"
}

@test "a stop closes an idle connection, and ends" {
    local nginx
    nginx=$(<"$RUN_DIR/nginx.pid")
    see stop
    wait_until 10 is_ended "$nginx"
}
