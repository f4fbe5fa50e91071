#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# The benchmark's own correctness: its peers do the job they are measured for, its figures are those of known data. A
# peer whose tool is not here is skipped: no test installs a language.
# sanitizers: none

load lib/helpers

setup_file() {
    export BENCH_DIR=$BATS_FILE_TMPDIR/b RUN_DIR=$BATS_FILE_TMPDIR/b/system
    mkdir -p "$BENCH_DIR"
    make -s -C "$ROOT" -f Makefile -f tests/bench/bench.mk BUILD="$BUILD_DIR" "$BUILD_DIR/bench/openloop"
    with_peers start_peer system
}

# Also those whose test failed.
teardown_file() {
    local folder
    for folder in "$BENCH_DIR"/*/; do with_peers stop_peer "$(basename "$folder")"; done
}

# with_peers COMMAND... : with the words of tests/bench/peers.bash
with_peers() {
    bash -c 'set -euo pipefail; source "$ROOT/scripts/lib/develop.sh"; source "$ROOT/tests/bench/peers.bash"; "$@"' - "$@" 3>&-
}

# with_measure COMMAND... : and with those of tests/bench/measure.bash
with_measure() {
    # shellcheck disable=SC2016 # for the shell that with_peers begins
    with_peers eval 'source "$ROOT/tests/bench/measure.bash";' "$(printf '%q ' "$@")"
}

# call_peer NAME BODY : its status and its answer
call_peer() {
    curl -s --max-time 10 -w '\n%{http_code}' --data-binary "$2" "http://127.0.0.1:$(sed -n 1p "$BENCH_DIR/$1.ports")/api"
}

# expect_answer NAME BODY STATUS [REGEX]
expect_answer() {
    local answer
    answer=$(call_peer "$1" "$2") || return
    expect_equal "$3" "${answer##*$'\n'}" "status of $1 for $2" || return
    expect_match "${4:-}" "$answer" "answer of $1 to $2"
}

# require_peer NAME : started, or the test is skipped with the reason; cargo may only use what has been built before
require_peer() {
    local lacks
    lacks=$(with_peers peer_lacks "$1" | paste -sd ' ')
    [[ -z $lacks ]] || skip "not installed: $lacks"
    [[ $1 != rust || -x $BUILD_DIR/bench/rust/release/bench-peer ]] || skip "scripts/bench has not built it yet"
    with_peers build_peer "$1"
    with_peers start_peer "$1"
}

# expect_contract NAME : a peer's whole contract
expect_contract() {
    require_peer "$1"
    local failed=0 body
    expect_answer "$1" '{"message": "hello", "other": 1}' 200 '"message": ?"olleh", ?"rand": ?[01][.0-9e-]+' || failed=1
    expect_answer "$1" '{"message": "añ\u20ac\"\\"}' 200 '"message": ?"\\\\\\"(€|\\u20ac)(ñ|\\u00f1)a"' || failed=1
    expect_answer "$1" '{"message": ""}' 200 '"message": ?""' || failed=1
    for body in '' '{"message": ' '[]' 'null' '{"massage": "x"}' '{"message": 1}'; do
        expect_answer "$1" "$body" 400 || failed=1
    done
    with_peers stop_peer "$1"
    return "$failed"
}

@test "the system does as its peers do" {
    expect_answer system '{"message": "hello"}' 200 '"message":"olleh"'
}

@test "peer ssi: reversed messages, 400 for what holds none" {
    expect_contract ssi
}

@test "peer rust: reversed messages, 400 for what holds none" {
    expect_contract rust
}

@test "peer go: reversed messages, 400 for what holds none" {
    expect_contract go
}

@test "peer node: reversed messages, 400 for what holds none" {
    expect_contract node
}

@test "peer php: reversed messages, 400 for what holds none" {
    expect_contract php
}

@test "peer flask: reversed messages, 400 for what holds none" {
    expect_contract flask
}

@test "limits: constant and hop answer a constant, echo what it got" {
    require_peer constant
    require_peer hop
    require_peer echo
    expect_answer constant '{"message": "a"}' 200 '"rand":0'
    expect_answer hop '{"message": "a"}' 200 '"rand":0'
    expect_answer echo '{"message": "a"}' 200 '^\{"message": "a"\}'
    for name in constant hop echo; do with_peers stop_peer "$name"; done
}

@test "medians, quartiles, ratios by round and the table are those of known rounds" {
    run python3 "$ROOT/tests/bench/check.py" statistics
    expect_status 0
}

@test "a message of each size and script has exactly its bytes" {
    mkdir "$BATS_TEST_TMPDIR/m"
    python3 "$ROOT/tests/bench/messages.py" "$BATS_TEST_TMPDIR/m" 16 1024 65536
    run python3 "$ROOT/tests/bench/check.py" messages "$BATS_TEST_TMPDIR/m"
    expect_status 0
}

@test "open loop: a server that stalls for 400 ms of a second is charged for all who were due meanwhile" {
    run python3 "$ROOT/tests/bench/check.py" stall "$BUILD_DIR/bench/openloop"
    expect_status 0
}

# shellcheck disable=SC2016 # for the shell that with_peers begins
@test "the system lets in as many clients as the benchmark has, or a line says why not" {
    expect_match ' MAX_CLIENTS=3000$' "$(with_peers eval 'admit 3000; echo "${PEER_SETTINGS[*]}"')"
    run with_peers eval 'ulimit -n 1000; admit 15000; echo "${PEER_SETTINGS[*]}"'
    expect_match '503: .*MAX_CLIENTS is "15000"; set it to at most' "${lines[0]}"
    expect_no_match MAX_CLIENTS "${lines[1]}"
}

@test "h2load: a connection that ended before the time was over makes it no measurement, and a line says so" {
    local BENCH_DIR=$BATS_TEST_TMPDIR
    printf '%s\n' 'finished in 2.01s, 1600.00 req/s, 357.19KB/s' \
        'requests: 3200 total, 3220 started, 3200 done, 3195 succeeded, 3 failed, 2 errored, 0 timeout' \
        'status codes: 3195 2xx, 0 3xx, 0 4xx, 0 5xx' >"$BATS_TEST_TMPDIR/h2load"
    with_measure h2load_figures 20 <"$BATS_TEST_TMPDIR/h2load" >"$BATS_TEST_TMPDIR/whole"
    with_measure h2load_figures 32 <"$BATS_TEST_TMPDIR/h2load" >"$BATS_TEST_TMPDIR/stopped"
    expect_equal '{"requests": 3195, "seconds": 2.010000, "errors": 5, "idle": 0}' "$(<"$BATS_TEST_TMPDIR/whole")"
    run with_measure note_whole protocols go 2 '"protocol": "h2"' 2 "$(<"$BATS_TEST_TMPDIR/whole")"
    expect_equal '' "$output"
    run with_measure note_whole protocols system 1 '"protocol": "h2"' 2 "$(<"$BATS_TEST_TMPDIR/stopped")"
    expect_match '^refused: protocols, system, round 1, "protocol": "h2": 12 connections of .* before the end$' "$output"
    expect_equal go "$(jq -r .peer "$BATS_TEST_TMPDIR/raw.jsonl")"
}

@test "a generator that asked nothing, or not for as long as it was to, is no measurement" {
    run with_measure why_refused 2 '{"requests": 0, "seconds": 2, "errors": 0}'
    expect_equal 'nothing was asked' "$output"
    run with_measure why_refused 2 '{"requests": 9, "seconds": 1.5, "errors": 0}'
    expect_equal 'the generator stopped after 1.5 s of 2' "$output"
    run with_measure why_refused 2 '{"requests": 9, "seconds": 1.9, "errors": 0}'
    expect_equal '' "$output"
}

@test "clients one by one, slow bodies, a frozen instance, killed workers, clients that do not read: each load has its figures" {
    local name figure ports
    mapfile -t ports <"$BENCH_DIR/system.ports"
    mkdir "$BATS_TEST_TMPDIR/m"
    python3 "$ROOT/tests/bench/messages.py" "$BATS_TEST_TMPDIR/m" 32
    while read -r name figure; do
        run python3 "$ROOT/tests/bench/faults.py" "$name" "$RUN_DIR" "${ports[@]}" "$BUILD_DIR/bench/openloop" \
            "$BATS_TEST_TMPDIR/m/ascii-32.json" 1 200
        expect_status 0
        expect_match "\"$figure\": [0-9]" "$output"
        expect_match '"requests": [1-9]' "$output"
    done <<<$'arrival least_share\nslow p99\nfrozen in_time\ndeaf nginx_mib\nkilled errors'
}

@test "a peer or a section that there is not is refused, with those there are" {
    run "$ROOT/scripts/bench" --no-install --peers cobol
    expect_status 2
    expect_match '"cobol" is no peer; ssi, rust, go' "$output"
    run "$ROOT/scripts/bench" --no-install --sections tea
    expect_status 2
    expect_match '"tea" is no section; throughput, ' "$output"
}
