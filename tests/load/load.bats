#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# Under load: many clients, workers killed, reloads, a stop. wrk counts; each run is bounded and goes to loopback.

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/stack
load ../lib/load

STACK_NOISE=$NOISE_OF_KILLED

# What is counted here is loss. On a machine that is busy with other things, waiting is none.
setup() {
    start_stack "$BATS_TEST_TMPDIR/r" UPSTREAM_TIMEOUT=60
}

teardown() {
    end_stack
}

# has_little_memory : all service processes together have less than 12 MiB
has_little_memory() {
    local name total=0
    for name in app-blue-1 app-blue-2 transform-blue-1 transform-blue-2; do
        total=$((total + $(sed -nE 's/^VmRSS:\s+([0-9]+) kB/\1/p' "/proc/$(worker_of "$name")/status")))
    done
    echo "VmRSS of all: $total KiB" >"$BATS_TEST_TMPDIR/memory"
    ((total < 12 * 1024))
}

# expect_little_memory : soon; what large bodies took is given back once none has come for a second
expect_little_memory() {
    wait_until 10 has_little_memory || { cat "$BATS_TEST_TMPDIR/memory" >&2; return 1; }
}

@test "1,000 clients on kept connections: every request is answered with 200" {
    load_with 1000 5
    expect_no_loss
}

@test "4,000 clients on kept connections: every request is answered with 200; then the services have little memory" {
    [[ $(ulimit -Hn) == unlimited || $(ulimit -Hn) -ge 16384 ]] || skip "fewer than 16384 descriptors are allowed"
    ulimit -n "$(ulimit -Hn)"
    load_with 4000 6
    expect_no_loss
    [[ -z ${SANITIZE:-} ]] || skip "memory is the sanitizer's here; all requests were answered"
    expect_little_memory
}

@test "more clients on kept connections than MAX_CLIENTS, one call at a time: each call is answered with 200, none cut" {
    local outer=$RUN_DIR
    [[ $(ulimit -Hn) == unlimited || $(ulimit -Hn) -ge 4096 ]] || skip "fewer than 4096 descriptors are allowed"
    (ulimit -n 4096 && start_stack "$BATS_TEST_TMPDIR/few" MAX_CLIENTS=20 && echo "$HTTP_PORT" >"$BATS_TEST_TMPDIR/port")
    run python3 "$ROOT/tests/lib/fair.py" kept "$(<"$BATS_TEST_TMPDIR/port")" 2000
    expect_equal 2000 "$output" "calls answered with 200"
    RUN_DIR=$BATS_TEST_TMPDIR/few end_stack
    RUN_DIR=$outer
}

# expect_shares_of GAP : 64 clients that come so many ms apart: no worker of nginx has less than 0.8 of its part of their CPU
# time, which is 40:60 when there are two
expect_shares_of() {
    local nginx workers share
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true
    run python3 "$ROOT/tests/lib/fair.py" one-by-one "$HTTP_PORT" "$1" 64 "${workers[@]}"
    for share in $output; do
        awk "BEGIN { exit !($share * ${#workers[@]} >= 0.8) }" || { echo "shares of CPU time, $1 ms apart: $output" >&2; return 1; }
    done
}

@test "64 clients that connect one by one, 10 ms and 1 ms apart: each nginx worker has its part of their CPU time" {
    expect_shares_of 10
    expect_shares_of 1
    expect_shares_of 10
}

# is_logged COUNT : so many lines of calls with ?rotated= in the access log and the one before it
is_logged() {
    (($(cat "$RUN_DIR"/log/access.log{.1,} | grep -c "/api?rotated=") >= $1))
}

@test "the access log is renamed, and nginx told (USR1), under load: each call has its line in one of the two" {
    local calls=20000 log=$RUN_DIR/log/access.log
    curl -s -Z --no-progress-meter --parallel-max 64 -o /dev/null -w '%{http_code}\n' -d "$SAMPLE_REQUEST" "$URL/api?rotated=[1-$calls]" \
        >"$BATS_TEST_TMPDIR/codes" 3>&- &
    wait_until 10 test -s "$log"
    mv "$log" "$log.1"
    kill -USR1 "$(<"$RUN_DIR/nginx.pid")"
    wait $!
    expect_equal "$calls 200" "$(sort "$BATS_TEST_TMPDIR/codes" | uniq -c | xargs)" "statuses"
    wait_until 10 is_logged "$calls"
    expect_equal "$calls" "$(cat "$log.1" "$log" | grep -o '/api?rotated=[0-9]*' | sort -u | wc -l)" "lines, each of another call"
    grep -q 'rotated=' "$log" # it did rotate meanwhile
}

@test "a worker killed with -9, 12 times in 5 s, 64 clients: no request is lost" {
    local i names=(app-blue-1 transform-blue-1 app-blue-2 transform-blue-2)
    load_with 64 7 &
    for ((i = 0; i < 12; i++)); do
        signal_workers KILL "${names[i % 4]}"
        # the pace of the kills is the test, not a wait
        sleep 0.4
    done
    wait $!
    expect_no_loss
}

@test "transforms killed with -9 in the middle of large answers: each answer is whole, none is lost" {
    local i load
    load_with 4 7 post-large &
    load=$!
    for ((i = 0; i < 15; i++)); do
        signal_workers KILL "transform-blue-$((i % 2 + 1))"
        sleep 0.4 # the pace of the kills
    done
    wait "$load"
    expect_no_loss
}

@test "bodies made to take memory leave none behind: under 12 MiB for all services after them" {
    [[ -z ${SANITIZE:-} ]] || skip "memory is the sanitizer's here"
    local i
    {
        printf '{"message": "a", "b": ['
        head -c 900000 /dev/zero | sed 's/\x00\x00\x00/[],/g' | tr -d '\0'
        printf '[]]}'
    } >"$BATS_TEST_TMPDIR/hostile"
    for i in 1 2 3 4 5 6; do
        curl -sS -o "$BATS_TEST_TMPDIR/out-$i" -w '%{http_code}\n' --data-binary @"$BATS_TEST_TMPDIR/hostile" \
            "$URL/api" >>"$BATS_TEST_TMPDIR/codes" 3>&- &
    done
    wait
    expect_equal 200 "$(sort -u "$BATS_TEST_TMPDIR/codes")"
    expect_little_memory
}

# expect_small_nginx MIB : its workers have less, unless the memory is a sanitizer's
expect_small_nginx() {
    local mib
    mib=$(ps -o rss= --ppid "$(<"$RUN_DIR/nginx.pid")" | awk '{ sum += $1 } END { print int(sum / 1024) }')
    ((mib < $1)) || [[ ${SANITIZE:-} == *address* ]] || { echo "nginx has $mib MiB" >&2; return 1; }
}

@test "600 clients send 1 MiB and take nothing of their answers: nginx stays below 256 MiB, other clients are answered" {
    local go=$BATS_TEST_TMPDIR/go
    printf '{"message": "%01000000d"}' 1 >"$BATS_TEST_TMPDIR/large"
    python3 "$ROOT/tests/lib/slow.py" deaf "$HTTP_PORT" /api 600 "$BATS_TEST_TMPDIR/large" "$go" >"$BATS_TEST_TMPDIR/deaf" 3>&- &
    local deaf=$!
    wait_until 30 grep -q sent "$BATS_TEST_TMPDIR/deaf"
    load_with 16 4
    expect_no_loss
    expect_small_nginx 256
    touch "$go"
    wait "$deaf"
}

@test "8,300 slow bodies on 66 HTTP/2 connections: other clients are answered, and nginx stays below 384 MiB" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/slow
    python3 "$ROOT/tests/lib/slow.py" streams "$HTTPS_PORT" 66 126 1000000 1 4 "$go" >"$out" 3>&- &
    local slow=$!
    wait_until 30 grep -q begun "$out"
    load_with 16 8
    expect_no_loss
    expect_small_nginx 384
    touch "$go"
    wait "$slow"
}

@test "nginx's workers killed with -9, 10 times, 64 clients: afterwards every call is answered with 200" {
    local i worker
    load_with 64 8 &
    for ((i = 0; i < 10; i++)); do
        worker=$(pgrep -P "$(<"$RUN_DIR/nginx.pid")" | sed -n "$((i % 2 + 1))p")
        kill -KILL "$worker"
        wait_until 5 is_ended "$worker"
        # the pace of the kills is the test, not a wait
        sleep 0.4
    done
    wait $! || true # clients of a killed worker are cut off
    load_with 64 3
    expect_no_loss
    sed -i '/worker process .* exited on signal 9/d' "$RUN_DIR/log/error.log"
}

@test "stop under load: all that the server has taken is answered, none cut" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/half client stopper
    load_with 32 30 &
    local load=$!
    python3 "$ROOT/tests/lib/http.py" half "$HTTP_PORT" 64 "$go" >"$out" 3>&- &
    client=$!
    wait_until 30 grep -q begun "$out"
    "$ROOT/scripts/stop" 3>&- &
    stopper=$!
    wait_until 10 refuses_connections
    touch "$go"
    wait "$client"
    wait "$stopper"
    expect_equal 64 "$(tail -n 1 "$out")" "answered of those under way"
    kill -INT "$load" 2>/dev/null || true
    wait "$load" || true
    expect_no_match 'Non-2xx' "$(<"$BATS_TEST_TMPDIR/wrk")"
}

# workers_gone PID... : none of them runs
workers_gone() {
    local pid
    for pid; do is_ended "$pid" || return 1; done
}

# reload : nginx reads its configuration anew, and the workers that had the old one have ended
reload() {
    local nginx workers
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true # the line has no end
    kill -HUP "$nginx"
    wait_until 20 workers_gone "${workers[@]}"
}

# expect_no_loss_in_reloads : ten of them, under 64 clients
expect_no_loss_in_reloads() {
    local i
    begin_load
    for ((i = 0; i < 10; i++)); do reload; done
    end_load
}

@test "nginx reloaded 10 times at full load, 64 clients: no request is lost" {
    expect_no_loss_in_reloads
}

@test "nginx reloaded 10 times at full load, 64 clients, HTTPS: no request is lost" {
    URL=https://127.0.0.1:$HTTPS_PORT
    expect_no_loss_in_reloads
}
