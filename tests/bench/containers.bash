# The section "containers" of scripts/bench: docker-compose.yml beside scripts/run. Sourced, after tests/bench/measure.bash.
# shellcheck shell=bash
# shellcheck disable=SC2030,SC2031 # one subshell, with all that is set in it
#
# "container" is called inside of its nginx's network, "published" through the port that Docker publishes on loopback. For
# the latter Docker copies each byte in a process of its own (docker-proxy), which clients from elsewhere do not meet: they
# come by a rule of the kernel's.

# A subshell: the tests' words for containers are for this section alone.
measure_containers() (
    # shellcheck source=tests/lib/containers.bash
    source "$ROOT/tests/lib/containers.bash"
    if reason=$(why_no_containers); then
        say "left out: containers ($reason)" >&2
        return
    fi
    progress containers building
    export IMAGE_TAG=bench-$$ BATS_TEST_TMPDIR=$BENCH_DIR
    trap containers_finish EXIT
    make_base
    "$ROOT/scripts/images" build >/dev/null
    start_project "bench$$"
    compare_containers
)

compare_containers() {
    local round name
    for ((round = 1; round <= ROUNDS; round++)); do
        for name in system container published; do
            progress containers "round $round of $ROUNDS: $name"
            note_whole containers "$name" "$round" '' "$ROUND_SECONDS" "$("load_$name" "$BENCH_DIR/messages/ascii-32.json")"
        done
    done
}

load_system() {
    closed_wrk "http://127.0.0.1:$(peer_port system)/api" 64 "$ROUND_SECONDS" "$1"
}

load_container() {
    BODY=$1 as_root nsenter --net -t "$(state "$(container nginx)" Pid)" wrk -t 2 -c 64 -d "${ROUND_SECONDS}s" \
        --timeout 30s --latency -s "$ROOT/tests/bench/post.lua" http://127.0.0.1:8080/api | grep '^{'
}

load_published() {
    closed_wrk "$URL/api" 64 "$ROUND_SECONDS" "$1"
}

containers_finish() {
    [[ -z ${COMPOSE_PROJECT_NAME:-} ]] || end_project
    docker image rm -f local/cgi-{app,transform,nginx}:"$IMAGE_TAG" >/dev/null
}
