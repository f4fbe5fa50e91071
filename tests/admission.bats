#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# How many requests are served at once (nginx/admission) in the whole system, and what becomes of that when nginx's workers
# are killed, when clients are slow, and when they do not stay. The module in other configurations: admission-module.bats.
# sanitizers: address

load lib/helpers
load lib/stack

TRANSFORMS=(transform-blue-1 transform-blue-2)
STACK_NOISE='worker process .* exited on signal 9|upstream prematurely closed|client intended to send too large'

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" MAX_CLIENTS=20 UPSTREAM_TIMEOUT=60
}

teardown() {
    signal_workers CONT "${TRANSFORMS[@]}"
    end_stack
}

# end_stack's own, but for the alerts about workers that a test has killed
logs_are_clean() {
    expect_equal '' "$(grep -E '\[(alert|emerg|crit|error)\]' "$RUN_DIR/log/error.log" | grep -Ev "$STACK_NOISE" | head -n 5)" "in error.log"
}

nginx_workers() {
    local master
    master=$(<"$RUN_DIR/nginx.pid")
    echo "$(<"/proc/$master/task/$master/children")"
}

# is_draining WORKER... : one of them has stopped taking connections, and has not ended
is_draining() {
    local worker
    for worker; do ! grep -qs 'shutting down' "/proc/$worker/cmdline" || return 0; done
    return 1
}

# begin COUNT : so many POSTs at once, in the background, their statuses to $BATS_TEST_TMPDIR/codes
begin() {
    : >"$BATS_TEST_TMPDIR/codes"
    curl -s -Z --parallel-immediate --parallel-max "$1" --max-time 50 --no-progress-meter -o /dev/null \
        -w '%{stderr}%{http_code}\n' -d "$SAMPLE_REQUEST" "$URL/api?[1-$1]" 2>"$BATS_TEST_TMPDIR/codes" 3>&- & # not buffered
    CLIENTS=$!
}

# have COUNT CODE : so many of them have ended so
have() {
    (($(grep -cx "$2" "$BATS_TEST_TMPDIR/codes") == $1))
}

# fill : MAX_CLIENTS are under way, and stay, since transform is frozen; ten more have been refused
fill() {
    signal_workers STOP "${TRANSFORMS[@]}"
    begin 30
    wait_until 10 have 10 503
}

# expect_room : as many as MAX_CLIENTS are served at once, no less and no more
expect_room() {
    fill
    signal_workers CONT "${TRANSFORMS[@]}"
    wait "$CLIENTS"
    expect_equal '20 200 10 503' "$(sort "$BATS_TEST_TMPDIR/codes" | uniq -c | xargs)" "statuses of 30 at once"
}

# kill_workers WORKER... : their clients are cut off with them
kill_workers() {
    local worker
    kill -KILL "$@"
    for worker; do wait_until 5 is_ended "$worker"; done
    signal_workers CONT "${TRANSFORMS[@]}"
    wait "$CLIENTS" || true
}

@test "both workers of nginx killed with -9 while MAX_CLIENTS are under way: as many are admitted after it, and after a reload" {
    fill
    # shellcheck disable=SC2046 # a word each
    kill_workers $(nginx_workers)
    expect_room
    kill -HUP "$(<"$RUN_DIR/nginx.pid")"
    expect_room
    is_healthy
}

# reload_while_full : nginx has a reload while it has as many as it takes; sets `old` to the workers that finish those
reload_while_full() {
    read -ra old < <(nginx_workers)
    fill
    kill -HUP "$(<"$RUN_DIR/nginx.pid")"
    wait_until 10 is_draining "${old[@]}"
    post_sample
    expect_problem 503 'too many'
}

@test "old workers killed with -9 while they drain: what they had under way is not counted any more" {
    reload_while_full
    kill_workers "${old[@]}"
    expect_room
}

@test "what an old worker finishes after a reload is counted until it is finished" {
    reload_while_full
    signal_workers CONT "${TRANSFORMS[@]}"
    wait "$CLIENTS"
    wait_until 10 is_ended "${old[0]}"
    wait_until 10 is_ended "${old[1]}"
    expect_room
}

@test "more at once than MAX_CLIENTS: 503 with Retry-After and it is over when they are" {
    fill
    post_sample
    expect_problem 503 'too many'
    expect_equal 1 "$(header retry-after)"
    signal_workers CONT "${TRANSFORMS[@]}"
    wait "$CLIENTS"
    post_sample
    expect_sample
}

@test "requests whose bodies are on their way take nobody's place: 60 of them, and MAX_CLIENTS others are served" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/slow
    python3 "$ROOT/tests/lib/slow.py" streams "$HTTPS_PORT" 3 20 65536 1 1 "$go" >"$out" 3>&- &
    wait_until 10 grep -q begun "$out"
    expect_room
    touch "$go"
    wait $!
}

@test "a body that does not come in time is a 408 in problem+json, then the connection is closed; one that comes steadily is taken" {
    run python3 "$ROOT/tests/lib/slow.py" body "$HTTP_PORT" 1000 1 0.5
    expect_equal '408 application/problem+json' "$output" "of a byte every half a second"
    run python3 "$ROOT/tests/lib/slow.py" body "$HTTP_PORT" 300000 40000 1
    expect_equal sent "$output" "of 40 KB/s"
}

@test "a slow body over HTTP/2 ends its stream only, with a 408" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/slow
    python3 "$ROOT/tests/lib/slow.py" streams "$HTTPS_PORT" 1 5 1000 1 1 "$go" >"$out" 3>&- &
    wait_until 10 is_in_log '"status":408' access.log
    touch "$go"
    wait $!
    expect_no_match closed "$(tail -n 1 "$out")" "connection"
}
