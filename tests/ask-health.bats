#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2016,SC2154 # $ is for the stand-in; bats' `run` sets what it sets
# scripts/ask-health, which is each container's and pod's probe: what it says, and that nothing of it is left.
# sanitizers: none

load lib/helpers
load lib/services

setup() {
    SOCKET=$BATS_TEST_TMPDIR/s.sock
}

teardown() {
    asking | xargs -r kill -KILL
    end_services
}

# asking : the pids of what has the socket among its words, besides the service and its like
asking() {
    grep -lzFxf <(printf %s "$SOCKET") /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3 | grep -vFx "$(printf '%s\n' 0 "${SERVICE_PID[@]}")"
}

nobody_asks() {
    [[ -z $(asking) ]]
}

# is_asked : cgi-fcgi, or what stands in for it, has begun
is_asked() {
    asking | while read -r pid; do cat "/proc/$pid/comm"; done 2>/dev/null | grep -qx "$1"
}

# stand_in NAME <<TEXT : a script that is found before the program of this name
stand_in() {
    mkdir -p "$BATS_TEST_TMPDIR/bin"
    { echo '#!/bin/bash' && cat; } >"$BATS_TEST_TMPDIR/bin/$1"
    chmod +x "$BATS_TEST_TMPDIR/bin/$1"
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

@test "a service that answers: 0, and no word" {
    start_service app "$SOCKET"
    run "$ROOT/scripts/ask-health" "$SOCKET"
    expect_status 0
    expect_equal '' "$output"
}

# In a namespace with 130 Services each container has them all.
@test "with the variables of 130 Services of Kubernetes, and with 128 KiB of environment, a service answers, too" {
    local i variables=()
    for i in {1..130}; do
        variables+=("S${i}_SERVICE_HOST=10.0.0.$i" "S${i}_SERVICE_PORT=80" "S${i}_PORT=tcp://10.0.0.$i:80"
            "S${i}_PORT_80_TCP=tcp://10.0.0.$i:80" "S${i}_PORT_80_TCP_PROTO=tcp" "S${i}_PORT_80_TCP_PORT=80"
            "S${i}_PORT_80_TCP_ADDR=10.0.0.$i")
    done
    start_service app "$SOCKET"
    env "${variables[@]}" "$ROOT/scripts/ask-health" "$SOCKET"
    env A="$(printf '%65536s' '')" B="$(printf '%65536s' '')" "$ROOT/scripts/ask-health" "$SOCKET"
}

@test "a service that is stopped, and one that is not there: 1, one line that says so, and nothing of it is left" {
    start_service app "$SOCKET"
    kill -STOP "${SERVICE_PID[app]}"
    run "$ROOT/scripts/ask-health" "$SOCKET"
    kill -CONT "${SERVICE_PID[app]}"
    expect_status 1
    expect_equal "ask-health: $SOCKET does not answer within 2 s" "$output"
    wait_until 5 nobody_asks
    run "$ROOT/scripts/ask-health" "$SOCKET.none"
    expect_status 1
    expect_match "^ask-health: $SOCKET.none answers: Could not connect to $SOCKET.none" "$output"
    expect_equal 1 "${#lines[@]}"
}

@test "a cgi-fcgi that takes no TERM ends with the time-out all the same" {
    stand_in cgi-fcgi <<<'trap "" TERM; while :; do sleep 1; done'
    run timeout 30 "$ROOT/scripts/ask-health" "$SOCKET"
    expect_status 1
    expect_equal "ask-health: $SOCKET does not answer within 2 s" "$output"
    wait_until 5 nobody_asks
}

# containerd does that when a probe takes too long, and waits until nobody holds the probe's stderr.
@test "killed by KILL, it leaves nothing that lives on" {
    local pid
    stand_in cgi-fcgi <<<'trap "" TERM; while :; do sleep 1; done'
    stand_in timeout <<<'until [[ $1 == setpriv || $1 == cgi-fcgi ]]; do shift; done; "$@"'
    "$ROOT/scripts/ask-health" "$SOCKET" 3>&- &
    pid=$!
    wait_until 10 is_asked cgi-fcgi
    kill -KILL "$pid"
    wait_until 5 nobody_asks
}
