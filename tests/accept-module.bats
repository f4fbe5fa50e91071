#!/usr/bin/env bats
# shellcheck shell=bats
# The nginx module accept alone (nginx/accept): how clients are shared out among the workers. With the services behind it:
# load/load.bats.
# sanitizers: address

load lib/helpers

setup() {
    DIR=$BATS_TEST_TMPDIR
    PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
}

teardown() {
    [[ ! -s $DIR/pid ]] || end_nginx
}

end_nginx() {
    local pid
    pid=$(<"$DIR/pid")
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
}

# start_nginx WORKERS EVENTS LISTEN [MAIN] : each answer says which worker it is of
start_nginx() {
    local user=
    ((EUID != 0)) || user='user root;' # whose folder this is
    printf '%s\n' "load_module $BUILD_DIR/ngx_http_accept_module.so; pid $DIR/pid; $user worker_processes $1; ${4:-}" \
        "events { worker_connections 1024; $2 }" \
        "http { access_log off; client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f;" \
        "uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s; keepalive_timeout 60s; accept_in_turn on;" \
        "server { listen 127.0.0.1:$PORT $3; location / { return 200 \"\$pid\"; } } }" >"$DIR/conf"
    nginx -e "$DIR/error.log" -c "$DIR/conf" 3>&- &&
        wait_until 5 has_workers "$1"
}

# has_workers COUNT : so many, which call themselves so once they accept
has_workers() {
    local nginx pids
    [[ -s $DIR/pid ]] && nginx=$(<"$DIR/pid") || return
    read -ra pids <"/proc/$nginx/task/$nginx/children" || true # the line has no end
    pids=("${pids[@]/#//proc/}")
    [[ $(cat "${pids[@]/%//cmdline}" 2>/dev/null | tr '\0' '\n' | grep -c 'worker process') == "$1" ]]
}

# expect_shares EVENTS LISTEN : of 64 clients that come one by one each of two workers has 26 at least
expect_shares() {
    start_nginx 2 "$1" "$2" || return
    run python3 "$ROOT/tests/lib/fair.py" workers "$PORT" 64
    expect_equal 2 "${#lines[@]}" "workers: $output" || return
    ((lines[0] >= 26 && lines[1] >= 26)) || expect_equal 'at least 26' "$output" "clients of each worker, with $*" || return
    end_nginx
}

@test "clients that come one by one are shared out evenly, with multi_accept and without it, on each socket of HTTP" {
    expect_shares 'multi_accept on;' ''
    expect_shares '' ''
    expect_shares 'multi_accept on;' "; listen unix:$DIR/other.sock"
}

@test "in any nginx.conf each client is answered: a lone worker, accept_mutex, reuseport, deferred, one event at a time" {
    local workers events listen
    while IFS='|' read -r workers events listen; do
        start_nginx "$workers" "$events" "$listen"
        run python3 "$ROOT/tests/lib/fair.py" workers "$PORT" 200
        expect_equal 200 "$(awk '{ sum += $1 } END { print sum }' <<<"$output")" "answered, with $workers $events $listen"
        end_nginx
    done <<'CASES'
1||
2|accept_mutex on;|
2|accept_mutex on; multi_accept on;|
2|multi_accept on;|reuseport
2||deferred
2|epoll_events 1;|
CASES
}

@test "workers that had no descriptors left accept again once there are some" {
    start_nginx 2 'multi_accept on;' '' 'worker_rlimit_nofile 40;'
    run python3 "$ROOT/tests/lib/fair.py" too-many "$PORT" 200
    expect_equal 'answered 20 of 20' "$output"
    expect_match 'Too many open files' "$(<"$DIR/error.log")"
}
