#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What nginx itself answers, refuses, names and logs.
# sanitizers: address

load lib/helpers
load lib/stack

setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r" LOG_LEVEL=debug
}

teardown_file() {
    end_stack
}

as() {
    printf "%$1s" '' | tr ' ' a
}

@test "a request line that is too long is 414" {
    raw "GET /$(as 9000) HTTP/1.1\r\nHost: x\r\n\r\n"
    expect_problem 414 '8 KiB'
}

@test "a header field that is too long, or too many of them, is 431" {
    raw "GET / HTTP/1.1\r\nHost: x\r\nX-Long: $(as 9000)\r\n\r\n"
    expect_problem 431 '8 KiB'
    raw "GET / HTTP/1.1\r\nHost: x\r\n$(for i in 1 2 3 4 5 6; do printf 'X-%s: %s\\r\\n' "$i" "$(as 7000)"; done)\r\n"
    expect_problem 431 'one.*all together'
    raw "GET / HTTP/1.1\r\nHost: x\r\n$(for i in {1..4000}; do printf 'X-%s: y\\r\\n' "$i"; done)\r\n"
    expect_problem 431 'one.*all together'
    # Debian's nginx takes 1000; one that has no such limit has a limit of bytes, which these are below
    raw "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n$(for i in {1..1000}; do printf 'X%s: y\\r\\n' "$i"; done)\r\n"
    [[ $code == 200 ]] || expect_problem 431 'too many.* 1000 fields'
}

@test "a connection serves more requests than nginx's 1,000" {
    local request='GET / HTTP/1.1\r\nHost: x\r\n' replies
    # shellcheck disable=SC2059 # the format is the request
    replies=$({ printf "$request\r\n%.0s" {1..1500} && printf "${request}Connection: close\r\n\r\n"; } |
        python3 "$ROOT/tests/lib/http.py" raw "$HTTP_PORT" | grep -c '^HTTP/1.1 200')
    expect_equal 1501 "$replies"
}

@test "a bad request line, a bad header or no Host is 400" {
    raw 'nonsense\r\n\r\n'
    expect_problem 400 'HTTP'
    raw '\026\003\001\r\n\r\n'
    expect_problem 400
    raw 'GET / HTTP/1.1\r\n\r\n'
    expect_problem 400
    raw 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n'
    expect_problem 400
    raw 'POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect_problem 400
}

@test "an unknown version of the protocol is 505, an unknown Transfer-Encoding 501" {
    raw 'GET / HTTP/3.0\r\nHost: x\r\n\r\n'
    expect_problem 505
    raw 'GET / HTTP/0.9\r\nHost: x\r\n\r\n'
    expect_problem 505
    raw 'GET / HTTP/0\r\nHost: x\r\n\r\n'
    expect_problem 400
    raw 'POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n'
    expect_problem 501
}

@test "valid HTTP that this server does not speak is 501, and the detail says what it is, not that it is invalid" {
    local method
    raw 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n'
    expect_problem 501 'OPTIONS'
    raw 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n'
    expect_problem 501 'CONNECT'
    for method in get Get gET post options connect P4TCH 'MKCOL!' 'a.b' "x'y"; do
        raw "$method / HTTP/1.1\r\nHost: x\r\n\r\n"
        expect_problem 501 'method' || { echo "method: $method" >&2; return 1; }
    done
    raw 'get / HTTP/1.0\r\n\r\n'
    expect_problem 501 'method'
    for method in '(' 'G(T' 'G\tT' 'G"' ' GET' ''; do
        raw "$method / HTTP/1.1\r\nHost: x\r\n\r\n"
        expect_problem 400 'not valid' || { echo "method: $method" >&2; return 1; }
    done
    for method in 'GET *' 'CONNECT' 'get' 'OPTIONS *x' 'GET x:443'; do
        raw "$method HTTP/1.1\r\nHost: x\r\n\r\n"
        expect_problem 400 'not valid' || { echo "line: $method" >&2; return 1; }
    done
}

@test "a path that leads to no place is 400, and the detail says what is wrong with it" {
    local path
    for path in /.. /../api '/%%2e%%2E/' '/%%00' '/a%%00b' '/%%zz' '/%%' '/%%2' '/api%%2?x'; do
        raw "POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        expect_problem 400 'the path has' || { echo "path: $path" >&2; return 1; }
    done
    for path in /a '/a?%%00' '/a?/..' '/a/../b' /...; do # there is no Host: the path is right
        raw "GET $path HTTP/1.1\r\n\r\n"
        expect_problem 400 'not valid' || { echo "path: $path" >&2; return 1; }
    done
}

# statuses : all that an answer with a body can have; for 408, 444 and 499 nginx closes the connection without one
statuses() {
    printf '%s\n' {300..599} | grep -vE '304|408|444|499'
}

@test "every status that nginx has a name for is problem+json, and no status is HTML" {
    local outer=$RUN_DIR status expected own
    start_stack "$BATS_TEST_TMPDIR/r"
    own=$(sed -nE '/SPECIAL/d; s/^#define NGX_HTTP_[A-Z_]+ +([345][0-9][0-9])$/\1/p' \
        "${NGINX_SOURCE:-/usr/share/nginx/src}/src/http/ngx_http_request.h")
    expect_match '400.*414.*494.*507' "${own//$'\n'/ }"
    for status in $(statuses); do
        printf 'location = /made/%s { return %s; }\n' "$status" "$status"
    done >>"$RUN_DIR/nginx/assembly.conf"
    # shellcheck disable=SC2016 # for the other shell
    bash -c 'source "$1/words.sh" && source "$1/nginx.sh" && reload_nginx "$2"' - "$ROOT/scripts/lib" "$(<"$RUN_DIR/nginx.pid")"
    for status in $(statuses); do
        request GET "/made/$status"
        expect_no_match '<' "$body" "$status"
        expected=$status
        case $status in 494) expected=431 ;; 495 | 496 | 497) expected=400 ;; 498) expected=404 ;; esac
        [[ $own != *$status* ]] || expect_problem "$expected" || return
    done
    end_stack
    RUN_DIR=$outer
}

@test "every answer says nosniff, and no-store, once; what a service says of caching stays" {
    local call
    for call in 'GET /' 'GET /x' 'GET /_health' 'GET /api' 'POST /api' 'TRACE /' 'GET /reverse' 'OPTIONS /'; do
        request "${call% *}" "${call#* }"
        expect_equal nosniff "$(header x-content-type-options)" "$call"
        expect_equal no-store "$(header cache-control)" "$call"
    done
    post '{"message": "ab"}'
    expect_equal 'nosniff no-store' "$(header x-content-type-options) $(header cache-control)"
    for call in 'nonsense' "GET /$(as 9000) HTTP/1.1" 'GET / HTTP/3.0' 'get / HTTP/1.1'; do
        raw "$call\r\nHost: x\r\n\r\n"
        expect_equal 'nosniff no-store' "$(header x-content-type-options) $(header cache-control)" "$call"
    done
}

@test "HTTP/2: headers over the limits of HTTP/1.1 are served, and so is all else on that connection" {
    local url=https://127.0.0.1:$HTTPS_PORT/
    run curl -sSk --http2 -o /dev/null -w '%{http_code} %{num_connects} ' -H "X-Long: $(as 20000)" "$url" \
        --next -sSk --http2 -o /dev/null -w '%{http_code} %{num_connects} ' "$url$(as 20000)" \
        --next -sSk --http2 -o /dev/null -w '%{http_code} %{num_connects} ' -H "X-1: $(as 15000)" -H "X-2: $(as 15000)" \
        -H "X-3: $(as 15000)" "$url" --next -sSk --http2 -o /dev/null -w '%{http_code} %{num_connects}' "$url"
    expect_equal '200 1 404 0 200 0 200 0' "$output"
}

@test "HTTP/1.1 over TLS has the same limits as HTTP/2, and says so" {
    URL=https://127.0.0.1:$HTTPS_PORT
    request GET "/$(as 20000)" -k --http1.1
    expect_problem 404
    request GET "/$(as 40000)" -k --http1.1
    expect_problem 414 '32 KiB'
    request GET / -k --http1.1 -H "X-Long: $(as 40000)"
    expect_problem 431 '32 KiB.*64 KiB'
}

@test "the self-signed pair is a leaf, for all local names; TLS takes the curves of Mozilla's intermediate profile" {
    local name tls=(openssl s_client -connect "127.0.0.1:$HTTPS_PORT" -CAfile "$RUN_DIR/tls/cert.pem" -verify_return_error)
    run openssl x509 -in "$RUN_DIR/tls/cert.pem" -noout -ext basicConstraints,keyUsage,extendedKeyUsage
    expect_match 'CA:FALSE' "$output"
    expect_match 'TLS Web Server Authentication' "$output"
    expect_no_match 'CA:TRUE|Certificate Sign' "$output"
    for name in localhost 127.0.0.1 '[::1]'; do
        run curl -sS -o /dev/null --cacert "$RUN_DIR/tls/cert.pem" --connect-to "::127.0.0.1:$HTTPS_PORT" "https://$name/"
        expect_equal "0 " "$status $output" "$name"
    done
    for name in X25519 P-256 P-384; do
        run "${tls[@]}" -curves "$name" </dev/null
        expect_status 0
    done
    for name in X448 P-521; do
        run "${tls[@]}" -curves "$name" </dev/null
        [[ $status -ne 0 ]] || { echo "$name is taken" >&2; return 1; }
    done
}

@test "plain HTTP on the HTTPS port is 400" {
    raw 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$HTTPS_PORT"
    expect_problem 400 'HTTPS'
}

@test "a method that nginx refuses by itself is 405, with Allow as of that path" {
    raw 'TRACE /api?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect_problem 405
    expect_equal POST "$(header allow)"
    raw 'TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect_problem 405
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
    local path
    for path in //api /./api /x/../api '/%%61pi' 'http://x/api' '/api?/' '/api#x' /api/.; do
        raw "TRACE $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        expect_problem 405
        expect_equal "$([[ $path == /api/. ]] && echo 'GET, HEAD, OPTIONS' || echo POST)" "$(header allow)" "$path"
    done
    for path in /API /Api; do # there is nothing at these
        raw "TRACE $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        expect_problem 405
        expect_equal 'GET, HEAD, OPTIONS' "$(header allow)" "$path"
    done
    raw 'CONNECT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    expect_problem 405
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
}

@test "HTTP/1.0 without keep-alive is answered" {
    post_sample --http1.0 -H Host:
    expect_sample
    expect_equal close "$(header connection)"
}

@test "a client that stops in the middle of its headers or its body is let go in bounded time" {
    local i
    for i in 'GET / HTTP/1.1\r\nHos' 'POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"me'; do
        # raw returns when the server closes; nginx waits 10 s
        # shellcheck disable=SC2059
        timeout 20 python3 - "$HTTP_PORT" "$(printf "$i")" <<'PY'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(sys.argv[2].encode())
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
PY
    done
}

@test "no error is HTML and none tells the server's version" {
    local path
    for path in /api /x /reverse; do
        request GET "$path"
        expect_no_match '<|nginx' "$body"
        expect_equal nginx "$(header server)"
    done
}

@test "every reply has an X-Request-ID: the client's when it is fit, else a new one" {
    local id
    for id in a "$(as 64)" 0.A_b-9; do
        request GET / -H "X-Request-ID: $id"
        expect_equal "$id" "$(header x-request-id)"
    done
    for id in '' "$(as 65)" 'a b' 'a"b' '<!--#x-->' 'é' 'a;b'; do
        request GET / -H "X-Request-ID: $id"
        expect_match '^[0-9a-f]{32}$' "$(header x-request-id)" "id $id"
    done
}

@test "errors have an X-Request-ID, too: the services' and nginx's own, once each" {
    request GET /x -H 'X-Request-ID: mine'
    expect_equal mine "$(header x-request-id)"
    post '{' -H 'X-Request-ID: mine'
    expect_equal mine "$(header x-request-id)"
    request GET /reverse/message -H 'X-Request-ID: mine'
    expect_equal mine "$(header x-request-id)"
    raw 'nonsense\r\n\r\n'
    expect_match '^[0-9a-f]{32}$' "$(header x-request-id)"
    raw "GET /$(as 9000) HTTP/1.1\r\nHost: x\r\n\r\n"
    expect_match '^[0-9a-f]{32}$' "$(header x-request-id)"
}

@test "one request can be followed by its id, or its traceparent, through the access log and both services' logs, with each's time" {
    local trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 service
    post_sample -H 'X-Request-ID: follow-me' -H "traceparent: $trace"
    expect_reply 200
    wait_until 5 is_in_log '"request_id":"follow-me".*"status":200' access.log
    expect_match "\"request_time\":[0-9.]+,.*\"upstream_response_time\":\"[0-9.]+, [0-9.]+\",\"traceparent\":\"$trace\"" \
        "$(grep '"request_id":"follow-me"' "$RUN_DIR/log/access.log")"
    for service in app transform; do
        expect_match "\"message\":\"answered 200, [0-9]+ bytes, in [0-9]+\.[0-9]{3} ms, traceparent $trace\"" \
            "$(cat "$RUN_DIR/log/$service"-*.log | grep '"request_id":"follow-me"')" "$service"
    done
    post_sample -H 'X-Request-ID: no-trace'
    expect_match '"message":"answered 200, [0-9]+ bytes, in [0-9.]+ ms"' \
        "$(cat "$RUN_DIR"/log/app-*.log | grep '"request_id":"no-trace"')"
}

@test "the access log is one JSON object a line, whatever a client sends" {
    request GET '/"\\%22%0a' -H $'User-Agent: "\\\t\x01' -H 'X-Request-ID: last"'
    request GET / -H 'X-Request-ID: log-end'
    wait_until 5 is_in_log log-end access.log
    run python3 "$ROOT/tests/lib/http.py" json-lines <"$RUN_DIR/log/access.log"
    expect_status 0
    [[ $output -ge 10 ]]
}
