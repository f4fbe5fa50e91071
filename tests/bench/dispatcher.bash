# The section "dispatcher" of scripts/bench: the system against the same handlers with a thread for each connection, and
# while its workers are killed with -9. Sourced, after tests/bench/measure.bash.
# shellcheck shell=bash

THREADS_OF_YARDSTICK=64 # one for each connection that nginx may hold open at 32 clients
KILLS=12

# The yardstick is a second copy of the system, with other programs.
run_threaded() {
    env "${PEER_SETTINGS[@]}" BUILD_DIR="$BENCH_DIR/threaded-build" RUN_DIR="$BENCH_DIR/threaded" \
        HTTP_PORT="$(peer_port threaded)" HTTPS_PORT="$(peer_https_port threaded)" "$ROOT/scripts/$1" "${@:2}"
}

make_threaded() {
    local service
    mkdir -- "$BENCH_DIR/threaded-build"
    cp -a -- "$BUILD_DIR"/{obj,flags} "$BUILD_DIR"/cgi-* "$BENCH_DIR/threaded-build" # as built: make would link them anew
    for service in app transform; do
        # shellcheck disable=SC2016 # $1 is of the program made here
        printf '#!/bin/sh\n[ "$1" != -t ] || exit 0\nexec "%s" %s %s\n' "$BUILD_DIR/tests/threaded" "$service" \
            "$THREADS_OF_YARDSTICK" >"$BENCH_DIR/threaded-build/cgi-$service"
    done
    choose_ports threaded
}

compare_threaded() {
    local round name
    for ((round = 1; round <= ROUNDS; round++)); do
        for name in system threaded; do
            progress dispatcher "round $round of $ROUNDS: $name"
            closed_load dispatcher "$name" "$round" http/1.1 32 "$ROUND_SECONDS" ascii 32
        done
    done
}

# workers : of both services
workers() {
    local file pid
    for file in "$BENCH_DIR"/system/{app,transform}-*.pid; do
        read -r pid <"$file"
        tr ' ' '\n' <"/proc/$pid/task/$pid/children" | grep .
    done
}

measure_kills() {
    local i pids result load_pid
    progress dispatcher "killing $KILLS workers"
    closed_wrk "http://127.0.0.1:$(peer_port system)/api" 64 7 "$BENCH_DIR/messages/ascii-32.json" \
        >"$BENCH_DIR/kills" &
    load_pid=$!
    for ((i = 0; i < KILLS; i++)); do
        mapfile -t pids < <(workers)
        kill -KILL "${pids[i % ${#pids[@]}]}" || true
        sleep 0.4
    done
    wait "$load_pid"
    result=$(<"$BENCH_DIR/kills")
    note_whole kills system 1 "\"kills\": $KILLS" 7 "$result"
}

measure_dispatcher() {
    make_threaded
    run_threaded run -d >/dev/null
    compare_threaded
    dispatcher_finish
    measure_kills
}

dispatcher_finish() {
    [[ ! -e $BENCH_DIR/threaded/lock ]] || run_threaded stop || true
}
