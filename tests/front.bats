#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What may be in front of nginx, or ask for more: proxies, pages of other origins, browsers that remember HTTPS. All of it is
# off unless a setting says otherwise, which edge.bats' copy does not.
# sanitizers: address

load lib/helpers
load lib/stack

setup_file() {
    export PROXY_HTTP_PORT PROXY_HTTPS_PORT
    PROXY_HTTP_PORT=$(free_port)
    PROXY_HTTPS_PORT=$(free_port)
    start_stack "$BATS_FILE_TMPDIR/r" TRUSTED_PROXIES='127.0.0.1 10.0.0.0/8' HSTS_SECONDS=600 \
        CORS_ORIGIN='https://a.example http://b.example:8080'
}

teardown_file() {
    end_stack
}

# logged ID MEMBER : of the request with that id in the access log
logged() {
    wait_until 5 is_in_log "\"request_id\":\"$1\"" access.log
    grep "\"request_id\":\"$1\"" "$RUN_DIR/log/access.log" | grep -o "\"$2\":\"[^\"]*\""
}

# ---- proxies ----

@test "X-Forwarded-For of a trusted proxy says who the client is: the last address that is no proxy's" {
    request GET / -H 'X-Request-ID: forwarded' -H 'X-Forwarded-For: 127.0.0.1, 192.0.2.7, 10.1.2.3'
    expect_equal '"remote_addr":"192.0.2.7"' "$(logged forwarded remote_addr)"
    request GET / -H 'X-Request-ID: not-forwarded' -H 'X-Forwarded-For: nonsense'
    expect_equal '"remote_addr":"127.0.0.1"' "$(logged not-forwarded remote_addr)"
}

@test "X-Forwarded-For of anybody else says nothing" {
    local outer=$RUN_DIR
    start_stack "$BATS_TEST_TMPDIR/r" TRUSTED_PROXIES=10.0.0.0/8 PROXY_HTTP_PORT= PROXY_HTTPS_PORT=
    request GET / -H 'X-Request-ID: forged' -H 'X-Forwarded-For: 192.0.2.7'
    expect_equal '"remote_addr":"127.0.0.1"' "$(logged forged remote_addr)"
    end_stack
    RUN_DIR=$outer
}

@test "the PROXY protocol, versions 1 and 2, has ports of its own, HTTP and HTTPS" {
    local ask='GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID:'
    raw "PROXY TCP4 192.0.2.8 192.0.2.1 4000 80\r\n$ask proxy-1\r\n\r\n" "$PROXY_HTTP_PORT"
    expect_reply 200
    expect_equal '"remote_addr":"192.0.2.8"' "$(logged proxy-1 remote_addr)"
    raw "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\x09\xc0\0\2\1\x0f\xa0\0\x50$ask proxy-2\r\n\r\n" "$PROXY_HTTP_PORT"
    expect_reply 200
    expect_equal '"remote_addr":"192.0.2.9"' "$(logged proxy-2 remote_addr)"
    run curl -sSk --haproxy-protocol -o /dev/null -w '%{http_code} %{http_version}' "https://127.0.0.1:$PROXY_HTTPS_PORT/"
    expect_equal '200 2' "$output"
    raw "$ask none\r\n\r\n" "$PROXY_HTTP_PORT"
    expect_equal '' "$code" "without the PROXY protocol"
    raw "PROXY TCP4 192.0.2.8 192.0.2.1 4000 80\r\n$ask none\r\n\r\n"
    expect_problem 400
}

@test "what is not the PROXY protocol is closed, and leaves no line in error.log, which could be any text" {
    local begin
    for begin in 'proxy TCP4 192.0.2.8 192.0.2.1 1 2\r\n' 'PROXY TCP4 192.0.2.8 192.0.2.1 1 99999\r\n' 'PROXY\r\n' \
        '\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c\xc0\0\2\x09\xc0\0\2\1\x0f\xa0\0\x50' '\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff' \
        '2026/01/01 00:00:00 [alert] forged\n'; do
        raw "${begin}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" "$PROXY_HTTP_PORT"
        expect_equal '' "$code" "$begin"
    done
    expect_equal '' "$(<"$RUN_DIR/log/error.log")" error.log
}

# ---- browsers ----

# preflight ORIGIN [CURL OPTION...] : what a browser asks before it sends JSON to /api
preflight() {
    request OPTIONS /api -H "Origin: $1" -H 'Access-Control-Request-Method: POST' \
        -H 'Access-Control-Request-Headers: content-type' "${@:2}"
}

@test "CORS: a page of an allowed origin may call, and its preflight is answered" {
    local origin
    for origin in https://a.example http://b.example:8080; do
        preflight "$origin"
        expect_equal 204 "$code"
        expect_equal "$origin" "$(header access-control-allow-origin)"
        expect_match POST "$(header access-control-allow-methods)"
        expect_match Content-Type "$(header access-control-allow-headers)"
        post '{"message": "ab"}' -H "Origin: $origin"
        expect_reply 200
        expect_equal "$origin Origin" "$(header access-control-allow-origin) $(header vary)"
        expect_equal '' "$(header access-control-allow-methods)"
        post '{' -H "Origin: $origin"
        expect_problem 400
        expect_equal "$origin" "$(header access-control-allow-origin)"
        request GET /x -H "Origin: $origin"
        expect_match X-Request-ID "$(header access-control-expose-headers)"
    done
}

@test "CORS: a page of another origin is told nothing, and OPTIONS that is no preflight is as without" {
    local origin
    for origin in https://c.example http://a.example https://a.example.org https://a.example:444 null; do
        preflight "$origin"
        expect_problem 405
        expect_equal ' POST' "$(header access-control-allow-origin) $(header allow)" "$origin"
    done
    request OPTIONS /api -H 'Origin: https://a.example'
    expect_problem 405
    request OPTIONS /api -H 'Access-Control-Request-Method: POST'
    expect_problem 405
}

@test "CORS: * is any origin" {
    local outer=$RUN_DIR
    start_stack "$BATS_TEST_TMPDIR/r" CORS_ORIGIN='*' PROXY_HTTP_PORT= PROXY_HTTPS_PORT=
    preflight https://c.example
    expect_equal '204 *' "$code $(header access-control-allow-origin)"
    post '{"message": "ab"}'
    expect_reply 200
    expect_equal '' "$(header strict-transport-security)"
    end_stack
    RUN_DIR=$outer
}

@test "HSTS: said over HTTPS, on errors too, and not over HTTP" {
    request GET /
    expect_equal '' "$(header strict-transport-security)"
    URL=https://127.0.0.1:$HTTPS_PORT
    request GET / -k
    expect_equal max-age=600 "$(header strict-transport-security)"
    request GET /api -k
    expect_equal max-age=600 "$(header strict-transport-security)"
}

# ---- settings ----

@test "a bad value is refused at start with one line that names the setting" {
    local given
    export RUN_DIR=$BATS_TEST_TMPDIR/r
    while IFS='|' read -r name given; do
        run env -u PROXY_HTTP_PORT -u PROXY_HTTPS_PORT "$name=$given" "$ROOT/scripts/run" -d
        expect_status 1
        expect_equal 1 "${#lines[@]}" "lines"
        expect_match "^run: $name (has|is) .*; set it to " "$output" "$given"
        [[ ! -e $RUN_DIR ]] || expect_equal '' "$(find "$RUN_DIR" -name '*.pid')" "nothing is started"
    done <<'CASES'
TRUSTED_PROXIES|proxy.example
TRUSTED_PROXIES|10.0.0.1,10.0.0.2
TRUSTED_PROXIES|10.0.0.1; deny all
PIN_ADDRESSES|localhost
PIN_ADDRESSES|none 127.0.0.1
PIN_ADDRESSES|127.0.0.1 1;}
CORS_ORIGIN|a.example
CORS_ORIGIN|https://a.example/
CORS_ORIGIN|https://a.example "x
CORS_ORIGIN|$http_origin
HSTS_SECONDS|a year
HSTS_SECONDS|-1
PROXY_HTTP_PORT|0
PROXY_HTTP_PORT|8080
PROXY_HTTPS_PORT|8443
PROXY_HTTPS_PORT|9999
CASES
}

# statuses FORMAT : of 20 calls, whose X-Forwarded-For is as the format says, by their number; how many there are of each
statuses() {
    local i
    for ((i = 1; i <= 20; i++)); do
        # shellcheck disable=SC2059 # the format is the address
        curl -s -o /dev/null -w '%{http_code}\n' -d "$SAMPLE_REQUEST" -H "X-Forwarded-For: $(printf "$1" "$i")" "$URL/api"
    done | sort | uniq -c | xargs
}

@test "CLIENT_RATE: more of one client are 429 with Retry-After, by the address that a trusted proxy tells; of IPv6 by its network" {
    local outer=$RUN_DIR
    start_stack "$BATS_TEST_TMPDIR/rate" CLIENT_RATE=1 TRUSTED_PROXIES=127.0.0.1 PROXY_HTTP_PORT='' PROXY_HTTPS_PORT=''
    expect_match '200 [0-9]+ 429$' "$(statuses 203.0.113.1)" "one address"
    expect_match '200 [0-9]+ 429$' "$(statuses 2001:db8::%x)" "addresses of one network of IPv6"
    expect_equal '20 200' "$(statuses 203.0.113.1%02d)" "addresses of IPv4"
    expect_equal '20 200' "$(statuses ::ffff:203.0.113.1%02d)" "addresses of IPv4, as a dual-stack socket shows them"
    expect_equal '20 200' "$(statuses 2001:db8:%x::1)" "networks of IPv6"
    until [[ $code == 429 ]]; do post_sample -H 'X-Forwarded-For: 203.0.113.2'; done
    expect_problem 429 'too many requests; 1 a second'
    expect_equal 1 "$(header retry-after)"
    is_healthy
    expect_equal '' "$(<"$RUN_DIR/log/error.log")" error.log
    end_stack
    RUN_DIR=$outer
}
