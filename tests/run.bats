#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What an operator types: scripts/run, scripts/stop, make; and what bad settings get.
# sanitizers: none

load lib/helpers
load lib/stack

setup() {
    export RUN_DIR=$BATS_TEST_TMPDIR/r HTTP_PORT HTTPS_PORT
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port) # what listens on the default ones is nobody's business here
}

# A test that fails must not leave its copies behind.
teardown() {
    local lock
    for lock in "$BATS_TEST_TMPDIR"/*/lock; do
        [[ ! -e $lock ]] || RUN_DIR=${lock%/lock} "$ROOT/scripts/stop" 3>&-
    done
}

# running : the names of the pid files in RUN_DIR whose process is alive
running() {
    local file pid
    for file in "$RUN_DIR"/*.pid; do
        [[ -e $file ]] || continue
        pid=$(<"$file")
        [[ -d /proc/$pid && $(<"/proc/$pid/stat") != *") Z "* ]] && echo "${file##*/}"
    done
    true
}

# expect_refused REGEX [VARIABLE=VALUE...] : run says so in one line, and nothing was started or made
expect_refused() {
    run env RUN_DIR="$RUN_DIR" "${@:2}" "$ROOT/scripts/run" -d 3>&-
    [[ $status -ne 0 ]] || { echo "started with ${*:2}" >&2; return 1; }
    expect_equal 1 "${#lines[@]}" "lines for ${*:2}: $output" || return
    expect_match "$1" "$output" "message for ${*:2}" || return
    expect_equal '' "$(running)" "running" || return
    [[ ! -e $RUN_DIR/nginx ]]
}

# run_in_foreground : as from a terminal, in a group of its own, with Ctrl-C as it is there; FOREGROUND is its pid
run_in_foreground() {
    rm -f "$BATS_TEST_TMPDIR/out"
    setsid python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$ROOT/scripts/run" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    FOREGROUND=$!
    wait_until 30 grep -qs 'Ctrl-C' "$BATS_TEST_TMPDIR/out"
}

# expect_all_stopped_by SIGNAL PID : of what runs in the foreground; a PID with - before it is a group
expect_all_stopped_by() {
    local status=0
    kill "$1" -- "$2"
    wait_until 60 is_gone "$FOREGROUND" || { cat "$BATS_TEST_TMPDIR/out" && ps -o pid,pgid,stat,etime,cmd -g "$FOREGROUND" && return 1; } >&2
    wait "$FOREGROUND" || status=$?
    expect_equal 0 "$status" "exit status of run" || return
    expect_no_match 'a process ended' "$(<"$BATS_TEST_TMPDIR/out")" || return
    expect_equal '' "$(running)" "running"
}

# requests_are_counted : some have come in
requests_are_counted() {
    "$ROOT/scripts/status" --json | jq -e '.[] | select(.name == "nginx") | .requests > 50' >/dev/null
}

# sample_request : what the file sample sends; sample_is_right ANSWER : its filter says so
sample_request() {
    bash -c 'source "$1/scripts/lib/words.sh"; source "$1/scripts/lib/sample.sh"; say "$SAMPLE_REQUEST"' - "$ROOT"
}

sample_is_right() {
    bash -c 'source "$1/scripts/lib/words.sh"; source "$1/scripts/lib/sample.sh"; jq -e "$SAMPLE_ANSWER"' - "$ROOT" <<<"$1"
}

@test "run -d shows one real call and its answer, and returns 0; stop ends it all and leaves no socket; again: 0" {
    run start_stack "$RUN_DIR"
    expect_status 0
    [[ ${lines[0]} == "\$ curl -d '$(sample_request)' http://127.0.0.1:"*/api ]]
    sample_is_right "${lines[1]}"
    expect_equal 'app-blue-1.pid app-blue-2.pid nginx.pid transform-blue-1.pid transform-blue-2.pid' "$(running | paste -sd ' ')"
    run "$ROOT/scripts/stop"
    expect_status 0
    expect_equal '' "$output"
    expect_equal '' "$(running)"
    run find "$RUN_DIR" -maxdepth 1 -name '*.sock' -o -maxdepth 1 -name '*.pid'
    expect_equal '' "$output"
    run "$ROOT/scripts/stop"
    expect_status 0
}

@test "status: each instance and nginx, as a table and as JSON; an instance that is frozen is silent, and status 1" {
    run "$ROOT/scripts/status"
    expect_status 1
    expect_equal "status: nothing runs in $RUN_DIR; ./scripts/run starts it" "$output"
    start_stack "$RUN_DIR"
    for _ in 1 2 3; do post_sample; done
    run "$ROOT/scripts/status"
    expect_status 0
    expect_equal 6 "${#lines[@]}" "lines: $output"
    expect_match "^app-blue-1 +serving +blue +100 +$(worker_of app-blue-1) +[0-9]+s +[0-9.]+M +0/1 +[0-9]+ +[1-9][0-9]* +0$" "${lines[1]}"
    expect_match "^nginx +serving +- +- +$(<"$RUN_DIR/nginx.pid") " "${lines[5]}"
    # scripts/run's own call, and three more.
    "$ROOT/scripts/status" --json | jq -e '[.[] | select(.service == "cgi-transform") | .requests] | add >= 4'
    "$ROOT/scripts/status" --json | jq -e 'map(.name) == ["app-blue-1", "app-blue-2", "transform-blue-1", "transform-blue-2", "nginx"]'
    signal_workers STOP transform-blue-2
    run "$ROOT/scripts/status"
    signal_workers CONT transform-blue-2
    expect_status 1
    expect_match '^transform-blue-2 +silent +blue +100 +- ' "${lines[4]}"
    end_stack
}

@test "stop where nothing ever ran is 0" {
    RUN_DIR=$BATS_TEST_TMPDIR/none run "$ROOT/scripts/stop"
    expect_status 0
    expect_equal '' "$output"
}

@test "a second run in the same RUN_DIR is refused, and the first goes on" {
    start_stack "$RUN_DIR"
    run env HTTP_PORT="$(free_port)" HTTPS_PORT="$(free_port)" "$ROOT/scripts/run" -d 3>&-
    expect_status 1
    expect_match "already in $RUN_DIR; ./scripts/stop first" "$output"
    post_sample
    expect_reply 200
    end_stack
}

@test "two copies with RUN_DIRs and ports of their own run side by side; stopping one leaves the other" {
    local first_url first_dir=$BATS_TEST_TMPDIR/a
    start_stack "$first_dir" APP_INSTANCES=1 TRANSFORM_INSTANCES=3
    first_url=$URL
    expect_equal 3 "$(find "$first_dir" -name 'transform-blue-?.sock' | wc -l)"
    start_stack "$BATS_TEST_TMPDIR/b"
    post_sample
    expect_reply 200
    end_stack
    URL=$first_url RUN_DIR=$first_dir
    post_sample
    expect_reply 200
    end_stack
}

@test "in the foreground it stays, also through an upgrade, and Ctrl-C drains and stops all" {
    run_in_foreground
    URL=http://127.0.0.1:$HTTP_PORT
    post_sample
    expect_reply 200
    "$ROOT/scripts/upgrade" --step 1 app 3>&-
    expect_all_stopped_by -INT "-$FOREGROUND"
}

@test "Ctrl-C reaches the whole group: 20 of 20, under load, all is drained and stopped, and nothing else is said" {
    local i load
    for ((i = 0; i < 20; i++)); do
        run_in_foreground
        wrk -t 1 -c 32 -d 30s -s "$ROOT/tests/lib/post.lua" "http://127.0.0.1:$HTTP_PORT/api" >/dev/null 2>&1 3>&- &
        load=$!
        wait_until 10 requests_are_counted
        expect_all_stopped_by -INT "-$FOREGROUND"
        kill "$load"
    done
}

@test "after a TERM to run alone, the next run can begin at once" {
    run_in_foreground
    expect_all_stopped_by -TERM "$FOREGROUND"
    run "$ROOT/scripts/run" -d
    expect_status 0
}

# is_brought_back INSTANCE OLD-SUPERVISOR : it has another one, and serves
is_brought_back() {
    [[ $(multiwatch_of "$1") != "$2" ]] && "$ROOT/scripts/status" >/dev/null
}

@test "in the foreground a supervisor that was killed is brought back with its worker, and no call fails; nginx is not" {
    local before worker
    run_in_foreground
    URL=http://127.0.0.1:$HTTP_PORT
    before=$(multiwatch_of transform-blue-2) worker=$(worker_of transform-blue-2)
    kill -KILL "$before"
    until is_brought_back transform-blue-2 "$before"; do
        post_sample
        expect_sample
    done
    is_ended "$worker"
    expect_match 'transform-blue-2 has lost its supervisor' "$(<"$BATS_TEST_TMPDIR/out")"
    kill -KILL "$(<"$RUN_DIR/nginx.pid")"
    wait_until 30 is_gone "$FOREGROUND"
    run wait "$FOREGROUND"
    [[ $status -ne 0 ]]
    expect_match 'a process ended' "$(<"$BATS_TEST_TMPDIR/out")"
    expect_equal '' "$(running)"
}

@test "status calls a worker without a supervisor orphaned; upgrade replaces it, and leaves nothing of it" {
    local worker
    start_stack "$RUN_DIR"
    worker=$(worker_of app-blue-1)
    kill -KILL "$(multiwatch_of app-blue-1)"
    wait_until 5 is_ended "$(multiwatch_of app-blue-1)"
    run "$ROOT/scripts/status"
    expect_status 1
    expect_match '^app-blue-1 +orphaned ' "${lines[1]}"
    "$ROOT/scripts/upgrade" --step 0 app 3>&-
    is_ended "$worker"
    "$ROOT/scripts/status"
    "$ROOT/scripts/stop"
}

@test "a bad setting is refused with one line that names it, and nothing starts" {
    local setting
    for setting in HTTP_PORT=abc HTTP_PORT=0 HTTP_PORT=65536 HTTPS_PORT=-1 BIND=nowhere BIND=1.2.3 APP_INSTANCES=0 \
        APP_INSTANCES=65 TRANSFORM_INSTANCES=two THREADS=0 THREADS=x MAX_BODY_BYTES=0 MAX_BODY_BYTES=1k \
        MAX_CLIENTS=0 UPSTREAM_TIMEOUT=0 UPSTREAM_TIMEOUT=1.5 LOG_LEVEL=loud SANDBOX=yes; do
        expect_refused "${setting%%=*} is \"${setting#*=}\"; set it" "$setting"
    done
    expect_refused 'HTTP_PORT and HTTPS_PORT are both 8123' HTTP_PORT=8123 HTTPS_PORT=8123
}

@test "numbers with leading zeros are decimal; MAX_CLIENTS fits the descriptors that are allowed, or is refused" {
    start_stack "$RUN_DIR" APP_INSTANCES=02 UPSTREAM_TIMEOUT=08
    [[ -S $RUN_DIR/app-blue-2.sock ]]
    end_stack
    run env -C "$ROOT" RUN_DIR="$RUN_DIR" MAX_CLIENTS=9000 bash -c 'ulimit -n 1024; exec scripts/run -d'
    expect_status 1
    expect_match '^run: MAX_CLIENTS is "9000"; set it to at most [0-9]+, or raise the limit of 1024 descriptors' "$output"
    RUN_DIR=$BATS_TEST_TMPDIR/low HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port)
    URL=http://127.0.0.1:$HTTP_PORT
    RUN_DIR=$RUN_DIR HTTP_PORT=$HTTP_PORT HTTPS_PORT=$HTTPS_PORT \
        bash -c 'ulimit -n 1024; exec "$1" -d' - "$ROOT/scripts/run" 3>&-
    post_sample
    expect_reply 200
    end_stack
}

@test "an address that is not of this machine is refused with one line that names BIND" {
    local address
    for address in 192.0.2.1 999.1.1.1 :::; do
        run env RUN_DIR="$RUN_DIR" HTTP_PORT="$(free_port)" HTTPS_PORT="$(free_port)" BIND="$address" \
            "$ROOT/scripts/run" -d 3>&-
        expect_status 1
        expect_equal 1 "${#lines[@]}" "lines"
        expect_match "^run: BIND is \"$address\"; nginx cannot listen there" "$output"
    done
    start_stack "$BATS_TEST_TMPDIR/all" BIND=::
    post_sample # over 127.0.0.1
    expect_reply 200
    end_stack
}

@test "BIND=:: listens on all addresses of both families; each client is logged by its own" {
    local client
    [[ -e /proc/net/if_inet6 ]] || skip "the kernel has no IPv6"
    env BIND=:: "$ROOT/scripts/run" -d 3>&-
    for client in 127.0.0.1 '[::1]'; do
        curl -gsf -o /dev/null "http://$client:$HTTP_PORT/"
    done
    "$ROOT/scripts/stop" 3>&-
    expect_equal '127.0.0.1 ::1' "$(jq -r .remote_addr "$RUN_DIR/log/access.log" | sort -u | xargs)"
}

@test "a copy whose first call fails is no success, and nothing is left running" {
    run start_stack "$RUN_DIR" MAX_BODY_BYTES=10
    [[ $status -ne 0 ]]
    expect_match 'the first call was answered with: .*413' "$output"
    expect_equal '' "$(running)"
}

@test "of two runs at once with the same ports one comes up, the other says so" {
    local first second statuses=0
    RUN_DIR=$BATS_TEST_TMPDIR/a "$ROOT/scripts/run" -d >"$BATS_TEST_TMPDIR/a.out" 2>&1 3>&- &
    first=$!
    RUN_DIR=$BATS_TEST_TMPDIR/b "$ROOT/scripts/run" -d >"$BATS_TEST_TMPDIR/b.out" 2>&1 3>&- &
    second=$!
    wait "$first" || statuses=$((statuses + 1))
    wait "$second" || statuses=$((statuses + 1))
    RUN_DIR=$BATS_TEST_TMPDIR/a "$ROOT/scripts/stop"
    RUN_DIR=$BATS_TEST_TMPDIR/b "$ROOT/scripts/stop"
    expect_equal 1 "$statuses" "failed of two: $(cat "$BATS_TEST_TMPDIR"/?.out)"
}

@test "stop ends what has lost its master or its supervisor, too" {
    start_stack "$RUN_DIR"
    local worker nginx
    worker=$(worker_of app-blue-1)
    nginx=$(<"$RUN_DIR/nginx.pid")
    kill -KILL "$nginx" "$(multiwatch_of app-blue-1)"
    run "$ROOT/scripts/stop"
    expect_status 0
    is_ended "$worker"
    refuses_connections
}

@test "stop ends what runs when its folder is gone (git clean -fdx); until then no other run starts beside it" {
    local pids pid
    start_stack "$RUN_DIR"
    pids="$(cat "$RUN_DIR"/*.pid) $(worker_of app-blue-1) $(worker_of transform-blue-2)"
    rm -rf "$RUN_DIR"
    run "$ROOT/scripts/run" -d
    expect_status 1
    expect_match '^run: something runs already in [^'$'\n'']*$' "$output"
    run "$ROOT/scripts/stop"
    expect_status 0
    expect_equal '' "$output"
    for pid in $pids; do is_ended "$pid"; done
    refuses_connections
}

@test "a pid file of another copy, or an old one, is not believed" {
    start_stack "$BATS_TEST_TMPDIR/a"
    mkdir "$BATS_TEST_TMPDIR/b"
    cp "$RUN_DIR"/{nginx,app-blue-1}.pid "$BATS_TEST_TMPDIR/b/"
    : >"$BATS_TEST_TMPDIR/b/lock"
    RUN_DIR=$BATS_TEST_TMPDIR/b "$ROOT/scripts/stop"
    post_sample
    expect_reply 200
    end_stack
}

@test "a port in use is refused with one line that names it" {
    local port
    port=$(free_port)
    python3 -c 'import socket,sys,signal
s=socket.create_server(("127.0.0.1",int(sys.argv[1]))); print("up",flush=True); signal.pause()' "$port" \
        >"$BATS_TEST_TMPDIR/up" 3>&- &
    wait_until 10 grep -q up "$BATS_TEST_TMPDIR/up"
    expect_refused "HTTP_PORT is $port; something listens there" HTTP_PORT="$port" HTTPS_PORT="$(free_port)"
    expect_refused "HTTPS_PORT is $port; something listens there" HTTPS_PORT="$port" HTTP_PORT="$(free_port)"
    kill $!
}

@test "a RUN_DIR that cannot be is refused: too long for a unix socket, of strange letters, not a folder" {
    local long
    long=$BATS_TEST_TMPDIR/$(printf 'a%.0s' {1..100})
    expect_refused 'RUN_DIR is too long' RUN_DIR="$long"
    expect_refused 'RUN_DIR is ".*letters' RUN_DIR="$BATS_TEST_TMPDIR/with space"
    : >"$BATS_TEST_TMPDIR/file"
    mkdir "$BATS_TEST_TMPDIR/full" && : >"$BATS_TEST_TMPDIR/full/other.pid"
    expect_refused 'RUN_DIR is ".*full"; other things are in it' RUN_DIR="$BATS_TEST_TMPDIR/full" \
        HTTP_PORT="$(free_port)" HTTPS_PORT="$(free_port)"
    RUN_DIR=$BATS_TEST_TMPDIR/full "$ROOT/scripts/stop"
    [[ -e $BATS_TEST_TMPDIR/full/other.pid ]]
    expect_refused 'RUN_DIR is ".*file"' RUN_DIR="$BATS_TEST_TMPDIR/file" \
        HTTP_PORT="$(free_port)" HTTPS_PORT="$(free_port)"
}

@test "a TLS pair that cannot be used is refused; one that can is served" {
    local dir=$BATS_TEST_TMPDIR name
    for name in one two; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj "/CN=$name" \
            -keyout "$dir/$name.key" -out "$dir/$name.crt" 2>/dev/null
    done
    expect_refused 'TLS_KEY is not; set both' TLS_CERT="$dir/one.crt"
    expect_refused 'TLS_CERT is not; set both' TLS_KEY="$dir/one.key"
    expect_refused 'TLS_KEY is ".*none.key"; there is no file' TLS_CERT="$dir/one.crt" TLS_KEY="$dir/none.key"
    expect_refused 'TLS_CERT is ".*one.key"; it holds no cert' TLS_CERT="$dir/one.key" TLS_KEY="$dir/one.key"
    expect_refused 'TLS_KEY is ".*two.key"; it is not the key' TLS_CERT="$dir/one.crt" TLS_KEY="$dir/two.key"
    start_stack "$RUN_DIR" TLS_CERT="$dir/one.crt" TLS_KEY="$dir/one.key"
    run curl -sSv --cacert "$dir/one.crt" --resolve "one:$HTTPS_PORT:127.0.0.1" "https://one:$HTTPS_PORT/"
    expect_status 0
    end_stack
}

# with_small_disk FOLDER OPTIONS COMMAND... : run it where a file system of these options is mounted on FOLDER; it goes with
# the last process that COMMAND has started
with_small_disk() {
    # shellcheck disable=SC2016 # $ is for the shell in there
    unshare -m sh -c 'mount -t tmpfs -o "$2" tmpfs "$1" && shift 2 && exec "$@"' - "$@" 3>&-
}

@test "a full disk for the logs: all goes on and is answered" {
    unshare -m true || skip "nothing can be mounted here"
    local i
    export HTTP_PORT HTTPS_PORT URL LOG_LEVEL=debug
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port) URL=http://127.0.0.1:$HTTP_PORT
    mkdir -p "$RUN_DIR/log"
    : >"$RUN_DIR/lock"
    with_small_disk "$RUN_DIR/log" size=64k "$ROOT/scripts/run" -d
    run nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" dd if=/dev/zero of="$RUN_DIR/log/fill"
    expect_match 'No space left' "$output"
    for ((i = 0; i < 50; i++)); do
        post_sample
        expect_reply 200
    done
    kill -USR1 "$(<"$RUN_DIR/nginx.pid")"
    signal_workers KILL app-blue-1 transform-blue-2
    post_sample
    expect_reply 200
    is_healthy
    "$ROOT/scripts/status"
    "$ROOT/scripts/stop"
}

@test "a full disk for bodies: one that has to wait in a file is a 507 that says so, and status tells; all others are answered" {
    unshare -m true || skip "nothing can be mounted here"
    export HTTP_PORT HTTPS_PORT URL
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port) URL=http://127.0.0.1:$HTTP_PORT
    mkdir -p "$RUN_DIR/tmp"
    : >"$RUN_DIR/lock"
    MAX_BODY_BYTES=3000000 with_small_disk "$RUN_DIR/tmp" size=64k "$ROOT/scripts/run" -d
    head -c 2000000 /dev/zero | tr '\0' ' ' >"$BATS_TEST_TMPDIR/large"
    run nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" dd if=/dev/zero of="$RUN_DIR/tmp/fill"
    expect_match 'No space left' "$output"
    post @"$BATS_TEST_TMPDIR/large"
    expect_problem 507 'no room left'
    expect_equal 60 "$(header retry-after)"
    post_sample
    expect_sample
    run nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" env RUN_DIR="$RUN_DIR" "$ROOT/scripts/status"
    expect_status 1
    expect_match '^nginx +full ' "${lines[-1]}"
    nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" rm "$RUN_DIR/tmp/fill"
    nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" mount -o remount,size=9m "$RUN_DIR/tmp"
    post @"$BATS_TEST_TMPDIR/large"
    expect_problem 400
    nsenter -m -t "$(<"$RUN_DIR/nginx.pid")" env RUN_DIR="$RUN_DIR" "$ROOT/scripts/status"
    "$ROOT/scripts/stop"
}

@test "where the disk takes nothing more, run says so in one line, and nothing starts" {
    unshare -m true || skip "nothing can be mounted here"
    mkdir -p "$RUN_DIR/log"
    : >"$RUN_DIR/lock"
    run with_small_disk "$RUN_DIR/log" nr_inodes=1 "$ROOT/scripts/run" -d
    expect_status 1
    expect_equal "run: $RUN_DIR/log cannot be written to; is the disk full?" "$output"
    run with_small_disk "$RUN_DIR" size=16k "$ROOT/scripts/run" -d
    expect_status 1
    expect_match "^run: $RUN_DIR/[a-z./-]+ cannot be written; is the disk full\?$" "$output"
    expect_equal '' "$(running)"
}

@test "a service that cannot start at all makes run fail with the reason, and nothing is left running" {
    cp -a "$BUILD_DIR" "$BATS_TEST_TMPDIR/build"
    # It passes the check of its settings, and then ends each time with a word.
    # shellcheck disable=SC2016 # $1 is of the program made here
    printf '#!/bin/sh\n[ "$1" = -t ] && exit 0\necho "no libsomething.so.1" >&2\nexit 127\n' \
        >"$BATS_TEST_TMPDIR/build/cgi-transform"
    run env BUILD_DIR="$BATS_TEST_TMPDIR/build" "$ROOT/scripts/run" -d 3>&-
    expect_status 1
    expect_match 'transform-blue-1.log: no libsomething.so.1' "$output"
    expect_match 'nothing runs' "$output"
    expect_equal '' "$(running)"
    printf '#!/bin/sh\necho "no libsomething.so.1" >&2\nexit 127\n' >"$BATS_TEST_TMPDIR/build/cgi-transform"
    run env BUILD_DIR="$BATS_TEST_TMPDIR/build" "$ROOT/scripts/run" -d 3>&-
    expect_status 1
    expect_equal 'no libsomething.so.1' "$output"
}

@test "where there is no apt-get, run names exactly the packages that are missing" {
    local bin=$BATS_TEST_TMPDIR/bin name
    mkdir "$bin"
    for name in bash env dirname readlink realpath sed cc make nginx openssl spawn-fcgi curl cgi-fcgi jq ps; do
        ln -s "$(command -v "$name" || echo "/usr/sbin/$name")" "$bin/$name"
    done
    # words.sh adds /usr/sbin, which holds no apt-get; multiwatch is the one that is not linked here
    run env PATH="$bin" "$bin/bash" "$ROOT/scripts/run" -d
    expect_status 1
    expect_equal 'run: these packages are missing, and there is no apt-get to install them: multiwatch' "$output"
}

@test "a request half sent when stop begins still gets its 200" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/half client stopper
    start_stack "$RUN_DIR"
    python3 "$ROOT/tests/lib/http.py" half "$HTTP_PORT" 20 "$go" >"$out" 3>&- &
    client=$!
    wait_until 10 grep -q begun "$out"
    "$ROOT/scripts/stop" 3>&- &
    stopper=$!
    wait_until 10 refuses_connections
    touch "$go"
    wait "$client"
    wait "$stopper"
    expect_equal 20 "$(tail -n 1 "$out")" "answered"
    expect_equal '' "$(running)"
    logs_are_clean
}

# A line a case: a script, the words that it gets (-: none), and what it says, in which SERVICES are all that there are. The
# words are as a shell reads them.
@test "a word that is wrong, empty, repeated or too many is refused by one line that names it and the choices, with 2" {
    local script words expected arguments services
    services=$(service_list)
    while IFS=$'\t' read -r script words expected; do
        [[ $script != '#'* ]] || continue
        [[ $words != - ]] || words=
        eval "arguments=($words)"
        run "$ROOT/scripts/$script" "${arguments[@]}"
        expect_status 2
        expect_equal "$script: ${expected/SERVICES/$services}" "$output" "$script $words"
    done <"$ROOT/tests/cases/words.tsv"
}

@test "each script has --help, and refuses what it does not know by one line, with 2" {
    local script
    for script in "$ROOT"/scripts/*; do
        [[ -f $script ]] || continue
        run "$script" --help
        expect_status 0
        expect_match "^usage: (\./scripts/)?${script##*/}" "${lines[0]}"
        run "$script" --no-such-word
        expect_status 2
        expect_equal 1 "${#lines[@]}" "lines of ${script##*/} --no-such-word: $output"
    done
}

@test "a second make does nothing; a changed header rebuilds what includes it; make help lists the targets" {
    export CFLAGS=-O0
    make -s -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/build" build
    run make -q -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/build" build
    expect_status 0
    local header
    for header in cgi-common/responder/record.h cgi-common/responder/include/service.h cgi-transform/reverse.h; do
        run make -q -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/build" -W "$header" build
        expect_status 1
    done
    run make -q -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/build" CFLAGS=-O1 build
    expect_status 1
    local target
    run make -C "$ROOT" help
    for target in build run stop test bench soak profile lint asan tsan clean help; do
        expect_match "make $target +[a-z]" "$output"
    done
}
