#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# Services that answer wrongly in every way, and clients that leave at every stage (lib/wrong_answers.py, lib/leavers.py): the client
# gets a right 200 or a problem, the next request is answered rightly on the same connection, and no worker of nginx dies.
# SANITIZE=address,undefined ./scripts/test has it on an nginx with sanitizers.
# sanitizers: address

load lib/helpers
load lib/stack

# What nginx must say of such services and clients
STACK_NOISE='upstream |FastCGI sent in stderr|compose: |too big subrequest response|recv\(\) failed|unsafe URI|no live upstreams|connect\(\) to unix:.*\.status '

setup() {
    [[ ${SANITIZE:-} != thread ]] || skip "nginx has no threads, and the services are others"
    start_stack "$BATS_TEST_TMPDIR/r" APP_INSTANCES=1 TRANSFORM_INSTANCES=1 UPSTREAM_TIMEOUT=1 MAX_BODY_BYTES=4000000
    end_instance app-blue-1 transform-blue-1
    workers=$(workers_of_nginx)
}

teardown() {
    [[ -n ${workers:-} ]] || return 0
    local failed=0
    expect_equal "$workers" "$(workers_of_nginx)" "nginx's workers" || failed=1
    end_stack || failed=1
    return "$failed"
}

workers_of_nginx() {
    local pid
    pid=$(<"$RUN_DIR/nginx.pid")
    cat "/proc/$pid/task/$pid/children"
}

# answers FUNCTION [ARGUMENT...] : of lib/wrong_answers.py
answers() {
    python3 "$ROOT/tests/lib/wrong_answers.py" "$1" "$RUN_DIR" "$HTTP_PORT" "${@:2}"
}

@test "whatever app answers, the client gets it whole or a problem, and then a right answer" {
    answers answers "$ROOT/tests/cases/wrong-answers.tsv" app
}

@test "whatever transform answers, the client gets it whole or a problem, and then a right answer" {
    answers answers "$ROOT/tests/cases/wrong-answers.tsv" transform
}

@test "a tag is found wherever it lies in buffers and records" {
    answers boundaries
}

# leavers FUNCTION PORT... : of lib/leavers.py
leavers() {
    python3 "$ROOT/tests/lib/leavers.py" "$1" "$RUN_DIR" "${@:2}"
}

@test "a client that leaves at any stage: the next one has its answer; who ends its side alone has it, too" {
    leavers http "$HTTP_PORT"
}

@test "HTTP/2: streams that are reset at any stage, connections that end: the next one has its answer" {
    leavers http2 "$HTTPS_PORT" "$HTTP_PORT"
}

@test "clients that leave at any stage while nginx reloads: the next one has its answer, and the old workers end" {
    leavers reloads "$HTTP_PORT"
    workers=$(workers_of_nginx)
}
