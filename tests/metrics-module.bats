#!/usr/bin/env bats
# shellcheck shell=bats
# The nginx module alone (nginx/metrics): whose calls it counts, in whose name, and what it does when its memory is full.
# With the services behind it, it is tested by metrics.bats.
# sanitizers: address

load lib/helpers

setup() {
    DIR=$BATS_TEST_TMPDIR
    PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    SERVER="listen 127.0.0.1:$PORT; metrics on; location = /page { metrics_page; }"
}

teardown() {
    [[ ! -s $DIR/pid ]] || end_nginx "$(<"$DIR/pid")"
}

end_nginx() {
    kill -TERM "$1"
    wait_until 10 is_gone "$1"
}

# configure HTTP... : nginx's configuration, with this in its http {}
configure() {
    local user=
    ((EUID != 0)) || user='user root;' # whose folder this is
    printf '%s\n' "load_module $BUILD_DIR/ngx_http_metrics_module.so;" "pid $DIR/pid; $user" 'events {}' \
        "http { access_log off; client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f;" \
        "uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;" "$@" '}' >"$DIR/conf"
}

start_nginx() {
    nginx -e "$DIR/error.log" -c "$DIR/conf" 3>&-
    wait_until 5 test -s "$DIR/pid"
}

# configuration N : nginx has taken its Nth
configuration() {
    kill -HUP "$(<"$DIR/pid")"
    wait_until 5 answers "/is-$1"
}

answers() {
    curl -sSf -o /dev/null --max-time 5 "http://127.0.0.1:$PORT$1" 2>/dev/null
}

get() {
    curl -sS -o /dev/null --max-time 5 "http://127.0.0.1:$PORT$1"
}

# page [REGEX] : its lines of requests and calls by status
page() {
    curl -sS --max-time 5 "http://127.0.0.1:$PORT/page" | grep -E "^cgi_[a-z]+_requests_total" | grep -E "${1:-.}" || true
}

is_counted() {
    [[ $(page "$1") == *" $2" ]]
}

# are_counted COUNT REGEX : so many servers, after one more call; an old worker may have taken those before
are_counted() {
    get /
    (($(page "$2" | wc -l) == $1))
}

# upstream NAME SERVER... : with a directive in it for each
upstream() {
    printf 'upstream %s {' "$1"
    printf ' %s;' "${@:2}"
    printf ' }'
}

@test "a server has its socket's name or its address; one that two upstreams list is counted once, for both" {
    local port i
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    mkdir "$DIR/a-2"
    configure 'metrics_zone 64k;' \
        "$(upstream all 'metrics_service a' "server unix:$DIR/a-1.sock" "server unix:$DIR/a-2/socket" "server 127.0.0.1:$port")" \
        "$(upstream one 'metrics_service a' "server unix:$DIR/a-1.sock")" \
        "$(upstream other "server unix:$DIR/a-1.sock")" \
        "server { $SERVER location = /all { proxy_pass http://all; } location = /one { proxy_pass http://one; }
                  location = /other { proxy_pass http://other; } location = /uncounted { metrics_page; }
                  location = /again { proxy_pass http://gone; error_page 502 = /one; } }" \
        "$(upstream gone 'metrics_service b' "server unix:$DIR/gone.sock")" \
        "server { listen unix:$DIR/a-1.sock; listen unix:$DIR/a-2/socket; listen 127.0.0.1:$port; return 204; }"
    start_nginx
    for i in /all /all /all /one /other /uncounted /again; do get "$i"; done
    wait_until 5 is_counted '^cgi_http' 6
    expect_equal 'cgi_http_requests_total{status="204"} 6
cgi_upstream_requests_total{service="a",server="a-1",status="204"} 3
cgi_upstream_requests_total{service="a",server="a-2",status="204"} 1
cgi_upstream_requests_total{service="a",server="127.0.0.1:'"$port"'",status="204"} 1
cgi_upstream_requests_total{service="b",server="gone",status="502"} 1' "$(page)"
}

# generation N SERVER... : a configuration that can be told from others, and has these servers
generation() {
    configure 'metrics_zone 64k;' "$(upstream all 'metrics_service a' "${@:2}")" \
        "server { $SERVER location / { proxy_pass http://all; proxy_next_upstream off; }
                  location = /is-$1 { return 204; } }"
}

@test "no room for a server: said in the log, the rest is counted; the place of one that left two reloads ago is taken" {
    local many others
    mapfile -t many < <(printf "server unix:$DIR/m-%s.sock\n" {1..30})
    mapfile -t others < <(printf "server unix:$DIR/o-%s.sock max_fails=0\n" {1..3})
    generation 1 "${many[@]}"
    start_nginx
    wait_until 5 answers /is-1
    expect_match 'metrics: no room to count [0-9]+ servers; make metrics_zone larger' "$(<"$DIR/error.log")"
    for _ in {1..30}; do get /; done # nobody is there
    wait_until 5 is_counted '^cgi_http.*502' 30
    expect_match 'server="m-1",status="502"} 1' "$(page)"
    expect_no_match 'server="m-30"' "$(page)"
    : >"$DIR/error.log"
    generation 2 "${others[@]}"
    configuration 2
    expect_match 'no room to count 4 servers' "$(<"$DIR/error.log")" # and "none"
    : >"$DIR/error.log"
    generation 3 "${others[@]}"
    configuration 3
    expect_no_match 'no room' "$(<"$DIR/error.log")"
    wait_until 5 are_counted 3 'server="o-.",status="502"}'
}

@test "an upstream with a zone: its calls are counted in its own name, not in that of another with the same servers" {
    local i
    configure 'metrics_zone 128k;' \
        "$(upstream all 'zone z1 64k' 'metrics_service a' "server unix:$DIR/a.sock" "server unix:$DIR/b.sock backup")" \
        "$(upstream other 'zone z1' 'metrics_service o' "server unix:$DIR/a.sock")" \
        "$(upstream uncounted 'zone z2 64k' "server unix:$DIR/a.sock")" \
        "$(upstream plain 'metrics_service p' "server unix:$DIR/a.sock")" \
        "$(upstream least 'zone z3 64k' least_conn 'metrics_service l' "server unix:$DIR/a.sock" 'keepalive 4')" \
        "$(upstream gone 'zone z4 64k' 'metrics_service g' "server unix:$DIR/gone.sock" "server unix:$DIR/b.sock backup")" \
        "$(upstream down 'zone z5 64k' 'metrics_service d' "server unix:$DIR/a.sock down")" \
        "server { $SERVER location ~ ^/(?<name>all|other|uncounted|plain|least|gone|down)\$ { proxy_pass http://\$name; }
                  location = /again { proxy_pass http://down; error_page 502 = /all; }
                  location = /accel { proxy_pass http://least/accel; } }" \
        "server { listen unix:$DIR/a.sock; listen unix:$DIR/b.sock;
                  location = /accel { add_header X-Accel-Redirect /other; return 200; } location / { return 204; } }"
    start_nginx
    for i in all all other uncounted plain least least gone down again accel; do get "/$i"; done
    wait_until 5 is_counted '^cgi_http' 1
    expect_equal 'cgi_http_requests_total{status="204"} 10
cgi_http_requests_total{status="502"} 1
cgi_upstream_requests_total{service="a",server="a",status="204"} 3
cgi_upstream_requests_total{service="d",server="none",status="502"} 2
cgi_upstream_requests_total{service="g",server="b",status="204"} 1
cgi_upstream_requests_total{service="g",server="gone",status="502"} 1
cgi_upstream_requests_total{service="l",server="a",status="200"} 1
cgi_upstream_requests_total{service="l",server="a",status="204"} 2
cgi_upstream_requests_total{service="o",server="a",status="204"} 2
cgi_upstream_requests_total{service="p",server="a",status="204"} 1' "$(page | sort)"
}

@test "labels are escaped, so that Prometheus can read the page, whatever a service and a socket are called" {
    local long
    long=$(printf '"%.0s' {1..64})
    configure 'metrics_zone 128k;' \
        "upstream all { metrics_service 'q\"\\\\s'; server 'unix:$DIR/$(printf 'a"b\xe9\xc3\xa9').sock'; }" \
        "upstream long { metrics_service '$long'; server 'unix:/$(printf '"%.0s' {1..100})'; }" \
        "server { $SERVER location = /all { proxy_pass http://all; } location = /long { proxy_pass http://long; } }"
    start_nginx
    get /all
    get /long
    wait_until 5 is_counted '^cgi_http' 2
    curl -sS --max-time 5 "http://127.0.0.1:$PORT/page" >"$DIR/page"
    run promtool check metrics <"$DIR/page"
    expect_status 0
    expect_equal '' "$output"
    grep -qF '{service="q\"\\s",server="a\"b?é",status="502"} 1' "$DIR/page" || { cat "$DIR/page" >&2 && false; }
    (($(grep -cF "service=\"$(printf '\\"%.0s' {1..64})\"" "$DIR/page") > 10))
}

# fail_reload N : nginx reads a configuration with these servers, and cannot take it over: it cannot listen there
fail_reload() {
    generation "$@"
    sed -i 's/^server { /server { listen 192.0.2.1:9; /' "$DIR/conf"
    : >"$DIR/error.log"
    kill -HUP "$(<"$DIR/pid")"
    wait_until 10 grep -q 'bind() to 192.0.2.1:9 failed' "$DIR/error.log"
}

@test "the servers of configurations that nginx could not take over leave those that serve their counts, and no trace" {
    local others i
    generation 1 "server unix:$DIR/a.sock max_fails=0" "server unix:$DIR/b.sock max_fails=0"
    start_nginx
    for i in 1 2 3 4; do get /; done
    wait_until 5 is_counted 'server="a"' 2
    page cgi_upstream >"$DIR/before"
    for i in 1 2 3; do
        mapfile -t others < <(printf "server unix:$DIR/o-$i-%s.sock\n" {1..30})
        fail_reload "$i" "${others[@]}"
    done
    expect_equal "$(<"$DIR/before")" "$(page cgi_upstream)" 'after three that failed'
    for i in 1 2 3 4; do get /; done
    wait_until 5 is_counted 'server="a"' 4
    expect_equal 2 "$(page cgi_upstream | wc -l)" 'servers on the page'
    : >"$DIR/error.log"
    generation 5 "server unix:$DIR/a.sock max_fails=0" "server unix:$DIR/c.sock max_fails=0"
    configuration 5
    expect_no_match 'no room' "$(<"$DIR/error.log")" 'what failed holds nothing'
    wait_until 5 are_counted 1 'server="c"'
    (($(page 'server="a"' | awk '{ print $2 }') > 4)) # it goes on where it was
}

@test "a line of the log is JSON also where a request ends without a status, and in any configuration" {
    # shellcheck disable=SC2016 # nginx's variables
    configure 'log_format json escape=json
        '"'"'{"method":"$cgi_metrics_method","uri":"$cgi_metrics_uri","status":$cgi_metrics_status,"agent":"$cgi_metrics_user_agent"}'"'"';' \
        "server { listen 127.0.0.1:$PORT http2; access_log $DIR/access.log json; return 204; }"
    start_nginx
    curl -s --http2-prior-knowledge -X DELETE -H "A: $(printf '%020000d' 1)" "http://127.0.0.1:$PORT/zero" || true
    wait_until 5 test -s "$DIR/access.log"
    expect_equal '{"method":"DELETE","uri":"/zero","status":0,"agent":""}' \
        "$(jq -c '.agent = ""' "$DIR/access.log")"
    python3 -c 'import json, sys; json.loads(sys.stdin.read())' <"$DIR/access.log"
}

@test "with error_log debug it says what it counts" {
    configure 'metrics_zone 64k;' "$(upstream all 'metrics_service a' "server unix:$DIR/a.sock")" \
        "server { $SERVER location = /all { proxy_pass http://all; } }"
    sed -i "1i error_log $DIR/error.log debug;" "$DIR/conf"
    start_nginx
    get /all
    get /page
    local what
    for what in 'metrics: configuration 1, 3 of [0-9]+ places' 'metrics: request, status 502, [0-9]+ ms' \
        'metrics: call of unix:.*/a.sock, status 502, [0-9]+ ms, counted: 1' 'metrics: page of [0-9]+ bytes'; do
        wait_until 5 grep -qE "$what" "$DIR/error.log"
    done
}

@test "directives that cannot be are refused by nginx -t, with the line" {
    local directive
    for directive in 'metrics_zone;' 'metrics_zone 1k;' 'metrics_zone x;' 'metrics_zone 1m; metrics_zone 1m;' \
        'metrics on;' 'server { metrics maybe; }' 'metrics_page;' 'server { metrics_zone 1m; }' \
        'upstream a { metrics_service; }' 'upstream a { metrics_service ""; }' \
        "upstream a { metrics_service $(printf 'a%.0s' {1..65}); }"; do
        configure "$directive"
        run nginx -t -q -e stderr -c "$DIR/conf"
        expect_status 1
        expect_match 'metrics.*conf:6' "$output"
    done
}
