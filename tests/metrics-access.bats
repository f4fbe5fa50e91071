#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# Who may read /_metrics: whoever reaches METRICS_LISTEN, or the socket in RUN_DIR. No client of the edge, whatever its address
# is, or what it says of it.
# sanitizers: address

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/stack

setup_file() {
    export PROXY_HTTP_PORT PROXY_HTTPS_PORT METRICS_PORT
    PROXY_HTTP_PORT=$(free_port)
    PROXY_HTTPS_PORT=$(free_port)
    METRICS_PORT=$(free_port)
    start_stack "$BATS_FILE_TMPDIR/r" TRUSTED_PROXIES='127.0.0.1 ::1' CORS_ORIGIN='*' METRICS_LISTEN="127.0.0.1:$METRICS_PORT"
}

teardown_file() {
    end_stack
}

# own_stack [VARIABLE=VALUE...] : a copy of the test's own, with none of the file's settings; teardown ends it
own_stack() {
    own=$BATS_TEST_TMPDIR/r
    start_stack "$own" PROXY_HTTP_PORT= PROXY_HTTPS_PORT= "$@"
}

teardown() {
    [[ -z ${own:-} ]] || RUN_DIR=$own end_stack
}

# expect_no_page WHAT : the last reply is a 404, as for any path that is not there
expect_no_page() {
    expect_no_match 'cgi_http_requests|nginx_connections' "$body" "$1" && expect_problem 404 && return
    echo "of: $1" >&2
    return 1
}

# page [SOCKET] : it is there, of METRICS_LISTEN or of the socket
page() {
    if (($#)); then set -- --unix-socket "$1"; fi
    expect_match '^# HELP cgi_http_requests_total' "$(curl -sS --max-time 5 "$@" "http://127.0.0.1:$METRICS_PORT/_metrics")" page
}

# ---- clients of the edge ----

@test "no spelling of the path, no Host and no header of an address gets a client the page" {
    local target host
    for target in /_metrics //_metrics /./_metrics /x/../_metrics /x//..//_metrics /%%5fmetrics /_metric%%73 /_metrics/. \
        '/_metrics?' '/_metrics?x' '/_metrics#x' '/;/../_metrics' "http://localhost/_metrics" "http://unix/_metrics" \
        "http://127.0.0.1:$METRICS_PORT/_metrics" "http://[::1]/_metrics"; do
        for host in localhost "127.0.0.1:$METRICS_PORT" 'x\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: ::1'; do
            raw "GET $target HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n"
            expect_no_page "$target $host"
        done
    done
    for host in 127.0.0.1 ::ffff:127.0.0.1 ::1 '127.0.0.1, 127.0.0.1' unix:; do
        request GET /_metrics -H "X-Forwarded-For: $host" -H "Forwarded: for=\"$host\""
        expect_no_page "X-Forwarded-For: $host"
    done
}

@test "no method gets more than any path that is not there" {
    local method
    for method in GET POST OPTIONS PUT DELETE PROPFIND; do
        request "$method" /_metrics
        expect_no_page "$method"
    done
    request HEAD /_metrics --head
    expect_equal 404 "$code"
    raw 'TRACE /_metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect_problem 405
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
}

@test "nor does HTTPS, HTTP/2, or the PROXY protocol, from whatever address" {
    local line
    for line in --http1.1 --http2; do
        URL=https://127.0.0.1:$HTTPS_PORT request GET /_metrics -k "$line"
        expect_no_page "$line"
    done
    URL=https://localhost:$HTTPS_PORT request GET /_metrics -k --http2 --connect-to "::127.0.0.1:$HTTPS_PORT"
    expect_no_page "HTTP/2, localhost"
    for line in 'TCP4 127.0.0.1 127.0.0.1 4000 80' 'TCP6 ::ffff:127.0.0.1 ::1 4000 80' 'TCP6 ::1 ::1 4000 80' \
        "TCP4 127.0.0.1 127.0.0.1 4000 $METRICS_PORT" UNKNOWN; do
        raw "PROXY $line\r\nGET /_metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" "$PROXY_HTTP_PORT"
        expect_no_page "PROXY $line"
    done
    URL=https://127.0.0.1:$PROXY_HTTPS_PORT request GET /_metrics -k --http2 --haproxy-protocol
    expect_no_page "PROXY, HTTPS"
}

# start_proxy PORT : an nginx in front, as people have one on the same host
start_proxy() {
    local dir=$BATS_TEST_TMPDIR/proxy user=
    mkdir "$dir"
    ((EUID != 0)) || user='user root;'
    printf '%s\n' "pid $dir/pid; $user" 'events {}' "http { access_log off; client_body_temp_path $dir/b; proxy_temp_path $dir/p;" \
        "fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;" \
        "server { listen 127.0.0.1:$1; location / { proxy_pass http://127.0.0.1:$HTTP_PORT;" \
        "    proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header Host \$http_host; } } }" >"$dir/conf"
    nginx -e "$dir/error.log" -c "$dir/conf" 3>&-
    wait_until 5 test -s "$dir/pid"
}

@test "behind a proxy on the same host: what it passes on is a 404, and all else is served" {
    local port
    port=$(free_port)
    start_proxy "$port"
    URL=http://127.0.0.1:$port request GET /_metrics -H 'Host: localhost'
    kill -TERM "$(<"$BATS_TEST_TMPDIR/proxy/pid")"
    expect_no_page proxy
    expect_match 'X-Request-ID' "$head" "of this system's nginx"
}

# ---- where it is ----

# expect_metrics_server PREFIX : request, or request_metrics, as PREFIX has it, finds the page and nothing else
expect_metrics_server() {
    local path
    "$@" GET /_metrics
    expect_reply 200 '^# HELP cgi_http_requests_total' || return
    expect_equal 'nosniff no-store' "$(header x-content-type-options) $(header cache-control)" || return
    "$@" HEAD /_metrics --head
    expect_equal 200 "$code" HEAD || return
    for path in / /api /_health /_health/each /reverse/message /_problem /_problem/404/metrics /_metrics/x; do
        "$@" GET "$path"
        expect_problem 404 '^there is nothing here but /_metrics$' || { echo "of: $path" >&2 && return 1; }
    done
    for path in POST OPTIONS PUT TRACE; do
        "$@" "$path" /_metrics
        expect_problem 405 || return
        expect_equal 'GET, HEAD' "$(header allow)" "$path" || return
    done
}

@test "METRICS_LISTEN and the socket in RUN_DIR serve the page and nothing else; errors are problem+json; nothing is logged" {
    local line
    URL=http://127.0.0.1:$METRICS_PORT expect_metrics_server request
    expect_metrics_server request_metrics
    for line in nonsense "GET /$(printf '%9000s' '' | tr ' ' a) HTTP/1.1" 'GET / HTTP/3.0' 'get / HTTP/1.1'; do
        raw "$line\r\nHost: x\r\n\r\n" "$METRICS_PORT"
        expect_problem "$code"
    done
    for line in /_metrics /x; do request_metrics GET "$line" -H 'X-Request-ID: unseen'; done
    flush_log
    run ! is_in_log unseen access.log
}

@test "no page of another origin may read it, whatever CORS_ORIGIN says" {
    local path method
    request GET / -H 'Origin: https://a.example'
    expect_equal '*' "$(header access-control-allow-origin)" "the edge's"
    for path in /_metrics /; do
        for method in GET OPTIONS; do
            request_metrics "$method" "$path" -H 'Origin: https://a.example' -H 'Access-Control-Request-Method: GET'
            expect_no_match 'Access-Control' "$head" "$method $path"
        done
    done
}

@test "the socket is for whoever may enter RUN_DIR: its owner alone" {
    expect_equal 700 "$(stat -c %a "$RUN_DIR")"
    [[ -S $RUN_DIR/metrics.sock ]]
}

@test "status has nginx's counts from the socket, also where METRICS_LISTEN and a proxy in the environment say otherwise" {
    post_sample
    run env http_proxy=http://127.0.0.1:9 METRICS_LISTEN=127.0.0.1:9 "$ROOT/scripts/status" --json
    expect_status 0
    jq -e '.[] | select(.name == "nginx") | .requests >= 1 and .connections >= 1' <<<"$output"
}

@test "two copies side by side have each their own page; without METRICS_LISTEN there is the socket alone" {
    local first=$RUN_DIR port=$METRICS_PORT
    METRICS_PORT=$(free_port)
    own_stack METRICS_LISTEN="[::1]:$METRICS_PORT"
    request GET /nowhere
    URL="http://[::1]:$METRICS_PORT" request GET /_metrics
    expect_reply 200 'cgi_http_requests_total\{status="404"\} 1'
    "$ROOT/scripts/stop"
    own_stack
    page "$own/metrics.sock"
    expect_equal '' "$(grep -r 'listen.*'"$METRICS_PORT" "$own/nginx" || true)"
    METRICS_PORT=$port page
    page "$first/metrics.sock"
}

# ---- the socket's file ----

@test "nginx -t leaves the socket of the nginx that runs; a copy that is stopped leaves none" {
    own_stack
    nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf"
    page "$own/metrics.sock"
    "$ROOT/scripts/stop"
    [[ ! -e $own/metrics.sock ]]
    nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf"
    [[ ! -e $own/metrics.sock ]]
}

# pids_of_copy : of all its processes
pids_of_copy() {
    local link
    for link in /proc/[0-9]*/cwd; do [[ ! $link -ef $RUN_DIR ]] || echo "${link//[^0-9]/}"; done
}

is_powered_off() {
    [[ -z $(pids_of_copy) ]]
}

@test "a socket that a killed nginx has left keeps the next from nothing" {
    own_stack
    # shellcheck disable=SC2046 # a word each
    kill -KILL $(pids_of_copy)
    wait_until 5 is_powered_off
    [[ -S $own/metrics.sock ]]
    own_stack
    page "$own/metrics.sock"
}

# ---- METRICS_LISTEN ----

# change_listen [VALUE] : as if the copy had been started with it; route has nginx take it over
change_listen() {
    sed -i '/METRICS_LISTEN/d' "$RUN_DIR/settings"
    [[ -z ${1:-} ]] || echo "export METRICS_LISTEN='$1'" >>"$RUN_DIR/settings"
    "$ROOT/scripts/route" app blue
}

refuses_metrics() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

@test "a reload adds, changes and removes where the page is; the counts stay" {
    local before
    own_stack
    post_sample
    before=$METRICS_PORT
    for METRICS_PORT in $(free_port) $(free_port); do
        change_listen "127.0.0.1:$METRICS_PORT"
        page
        page "$own/metrics.sock"
    done
    URL=http://127.0.0.1:$METRICS_PORT request GET /_metrics
    expect_reply 200 'cgi_http_requests_total\{status="200"\} [1-9]'
    change_listen
    wait_until 5 refuses_metrics "$METRICS_PORT"
    page "$own/metrics.sock"
}

@test "an address that cannot be listened on: the reload fails, names METRICS_LISTEN, and what was there goes on" {
    own_stack
    run change_listen "192.0.2.1:$(free_port)"
    expect_status 1
    expect_match '^route: METRICS_LISTEN is "192.0.2.1:[0-9]+"; nginx cannot listen there: .*; nothing has changed$' "$output"
    page "$own/metrics.sock"
    post_sample
    expect_sample
    expect_match 'emerg. .*192.0.2.1' "$(<"$own/log/error.log")"
    : >"$own/log/error.log" # else end_stack fails
}

@test "a bad METRICS_LISTEN is refused at start with one line that names it" {
    local given free
    free=$(free_port)
    export RUN_DIR=$BATS_TEST_TMPDIR/r HTTP_PORT HTTPS_PORT
    HTTP_PORT=$(free_port)
    HTTPS_PORT=$(free_port)
    PROXY_HTTP_PORT=$(free_port)
    PROXY_HTTPS_PORT=
    export TRUSTED_PROXIES=127.0.0.1
    for given in 9113 127.0.0.1 127.0.0.1: :9113 '*:9113' localhost:9113 127.0.0.1:0 127.0.0.1:65536 127.0.0.1:http ::1:9113 \
        '[::1]' '[]:9113' 127.0.0:9113 "127.0.0.1:$free;" "127.0.0.1:$free ssl" "unix:/tmp/x" "127.0.0.1:$free"$'\n' \
        "127.0.0.1:$free 127.0.0.1:9114" "999.0.0.1:$free" "[1:2]:$free" "192.0.2.1:$free" "[2001:db8::0:1]:$free" \
        "127.0.0.1:$HTTP_PORT" "0.0.0.0:$HTTP_PORT" "[::1]:$HTTPS_PORT" "127.0.0.2:0$PROXY_HTTP_PORT" \
        "127.0.0.1:$METRICS_PORT" "0.0.0.0:$METRICS_PORT"; do # which the other copy has
        METRICS_LISTEN=$given run "$ROOT/scripts/run" -d 3>&-
        "$ROOT/scripts/stop"
        expect_status 1
        expect_equal 1 "${#lines[@]}" "lines of $given"
        expect_match '^run: METRICS_LISTEN is ' "$output" "$given"
        [[ ! -e $RUN_DIR ]] || expect_equal '' "$(find "$RUN_DIR" -name '*-*.pid' -o -name '*.sock')" "what $given has started"
    done
}
