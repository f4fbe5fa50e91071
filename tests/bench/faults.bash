# The sections arrival, slow, frozen, killed and deaf of scripts/bench: tests/bench/faults.py against a copy of the system as
# it is shipped, a new one each time. Sourced, after tests/bench/measure.bash.
# shellcheck shell=bash

# MAX_CLIENTS of the copy whose nginx workers are killed under 64 clients: what two kills leave behind would fill it.
KILLED_CLIENTS=128

# run_shipped SCRIPT [ARGUMENT...] : scripts/run or scripts/stop for the copy; SETTINGS has its settings
run_shipped() {
    env "${SETTINGS[@]}" BUILD_DIR="$BUILD_DIR" RUN_DIR="$BENCH_DIR/shipped" HTTP_PORT="$(peer_port shipped)" \
        HTTPS_PORT="$(peer_https_port shipped)" "$ROOT/scripts/$1" "${@:2}"
}

# measure_fault NAME [SETTING...]
measure_fault() {
    local round rounds rate result name=$1 SETTINGS=("${@:2}")
    rounds=$(some_rounds)
    know_capacity system
    rate=$(($(capacity_of system) * 3 / 10))
    choose_ports shipped
    for ((round = 1; round <= rounds; round++)); do
        progress "$name" "round $round of $rounds"
        run_shipped run -d >/dev/null
        result=$(python3 "$ROOT/tests/bench/faults.py" "$name" "$BENCH_DIR/shipped" "$(peer_port shipped)" \
            "$(peer_https_port shipped)" "$BUILD_DIR/bench/openloop" "$BENCH_DIR/messages/ascii-32.json" \
            "$ROUND_SECONDS" "$rate") || result='{"requests": 0, "errors": 0}'
        faults_finish
        note_whole "$name" system "$round" '' "$ROUND_SECONDS" "$result"
    done
}

measure_arrival() { measure_fault arrival; }
measure_slow() { measure_fault slow; }
measure_frozen() { measure_fault frozen; }
measure_killed() { measure_fault killed MAX_CLIENTS="$KILLED_CLIENTS"; }
measure_deaf() { measure_fault deaf; }

faults_finish() {
    local SETTINGS=()
    [[ ! -e $BENCH_DIR/shipped/lock ]] || run_shipped stop || true
}
