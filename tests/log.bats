#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # each test is a subshell; set here for stack.bash, or there for here
# What nginx's logs say of a client: the access log is JSON and says what the client did, whatever that is; and a client cannot
# fill error.log.
# sanitizers: address

load lib/helpers
load lib/stack

setup_file() {
    export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
    start_stack "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    end_stack
}

# A test that fails leaves no copy behind. What waits for a pipe is killed.
teardown() {
    [[ ! -e $BATS_TEST_TMPDIR/r4/lock ]] || RUN_DIR=$BATS_TEST_TMPDIR/r4 "$ROOT/scripts/stop" 3>&-
}

# logged ID : its line
logged() {
    wait_until 5 is_in_log "\"request_id\":\"$1\"" access.log
    grep "\"request_id\":\"$1\"" "$RUN_DIR/log/access.log"
}

# check SENT : the access log against it
check() {
    run python3 "$ROOT/tests/lib/log.py" check "$1" <"$RUN_DIR/log/access.log"
    expect_status 0
}

@test "a line is strict JSON, fits a pipe, and has the client's method, URI and user agent, whatever is sent" {
    python3 "$ROOT/tests/lib/log.py" send "$HTTP_PORT" "$HTTPS_PORT" "${FUZZ_SEED:-$RANDOM}" 1000 >"$BATS_TEST_TMPDIR/sent"
    flush_log
    check "$BATS_TEST_TMPDIR/sent"
    ((output > 500)) || expect_equal 'more than 500' "$output" 'requests with their id in the log'
}

@test "bytes that are not UTF-8 are in the log as \\xE9; a request line that nginx refused has its words" {
    request GET /caf$'\xe9' -g --path-as-is -A $'caf\xe9 \xc3\xa9' -H 'X-Request-ID: latin'
    expect_equal 'caf\xE9 é' "$(logged latin | jq -r .user_agent)"
    printf 'nonsense "\\ \xff x\r\n\r\n' | python3 "$ROOT/tests/lib/http.py" raw "$HTTP_PORT" >"$BATS_TEST_TMPDIR/answer"
    wait_until 5 is_in_log '"method":"nonsense"' access.log
    expect_match '"method":"nonsense","uri":"\\"\\\\","protocol":"","status":400' "$(<"$RUN_DIR/log/access.log")"
}

@test "the method is the client's also where nginx has the answer from a page of errors: 413, 414, 405, 400" {
    head -c 1100000 /dev/zero >"$BATS_TEST_TMPDIR/large"
    post "@$BATS_TEST_TMPDIR/large" -H 'X-Request-ID: m-413'
    expect_equal 'POST 413' "$(logged m-413 | jq -r '"\(.method) \(.status)"')"
    request DELETE "/api" -H 'X-Request-ID: m-405'
    expect_equal 'DELETE 405' "$(logged m-405 | jq -r '"\(.method) \(.status)"')"
    printf 'PUT /%09000d HTTP/1.1\r\nHost: x\r\n\r\n' 1 |
        python3 "$ROOT/tests/lib/http.py" raw "$HTTP_PORT" >"$BATS_TEST_TMPDIR/answer"
    wait_until 5 is_in_log '"method":"PUT".*"status":414' access.log
    printf 'PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n' |
        python3 "$ROOT/tests/lib/http.py" raw "$HTTP_PORT" >"$BATS_TEST_TMPDIR/answer"
    wait_until 5 is_in_log '"method":"PATCH","uri":"/","protocol":"HTTP/1.1","status":400' access.log
}

@test "large bodies, requests above MAX_CLIENTS, and slow bodies leave no line in error.log" {
    local outer=$RUN_DIR i
    start_stack "$BATS_TEST_TMPDIR/r2" MAX_CLIENTS=4
    head -c 200000 /dev/zero >"$BATS_TEST_TMPDIR/large"
    request POST /nowhere --data-binary "@$BATS_TEST_TMPDIR/large"
    expect_reply 404
    printf '{"message": "%0200000d"}' 1 >"$BATS_TEST_TMPDIR/large"
    post "@$BATS_TEST_TMPDIR/large"
    expect_reply 200
    expect_equal '408 application/problem+json' "$(python3 "$ROOT/tests/lib/slow.py" body "$HTTP_PORT" 100 1 0.5)" "a slow one"
    signal_workers STOP transform-blue-1 transform-blue-2
    curl -s -Z --parallel-immediate --no-progress-meter -o /dev/null -w '%{stderr}%{http_code}\n' -d "$SAMPLE_REQUEST" -H 'X-Request-ID: over' \
        "$URL/api?[1-9]" 2>"$BATS_TEST_TMPDIR/codes" 3>&- &
    wait_until 5 has_lines 5 "$BATS_TEST_TMPDIR/codes"
    signal_workers CONT transform-blue-1 transform-blue-2
    wait $!
    expect_equal '4 200 5 503' "$(sort "$BATS_TEST_TMPDIR/codes" | uniq -c | xargs)"
    wait_until 5 is_in_log '"over".*"status":503' access.log
    expect_equal '' "$(<"$RUN_DIR/log/error.log")" error.log
    end_stack
    RUN_DIR=$outer
}

# client_faults : what nginx has a line of the level error or crit for, though a client alone does it
client_faults() {
    local chunk
    head -c 1100000 /dev/zero >"$BATS_TEST_TMPDIR/large"
    for chunk in 'Content-Length: 99999999' 'Transfer-Encoding: chunked'; do
        post "@$BATS_TEST_TMPDIR/large" -H "$chunk"
        expect_problem 413
    done
    for chunk in x 5 'fffffffffffffffff\r\n' '5\r\nabcdefgh\r\n'; do
        raw "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n$chunk\r\n"
    done
    raw 'POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n'
    expect_problem 400
    raw 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'
    python3 "$ROOT/tests/lib/http.py" tls-noise "$HTTPS_PORT"
}

@test "nothing that a client alone does wrong leaves a line in error.log: bodies, chunks, headers, TLS; at the level info, all does" {
    local outer=$RUN_DIR
    start_stack "$BATS_TEST_TMPDIR/r4"
    client_faults
    expect_equal '' "$(<"$RUN_DIR/log/error.log")" error.log
    sed -i '/^error_log/s/ error;/ info;/' "$RUN_DIR/nginx/nginx.conf"
    # shellcheck disable=SC2016 # for the other shell
    bash -c 'source "$1/words.sh" && source "$1/nginx.sh" && reload_nginx "$2"' - "$ROOT/scripts/lib" "$(<"$RUN_DIR/nginx.pid")"
    client_faults
    expect_match 'client intended to send too large body: 99999999 bytes' "$(<"$RUN_DIR/log/error.log")"
    expect_match 'client intended to send too large chunked body' "$(<"$RUN_DIR/log/error.log")"
    expect_match 'client sent invalid chunked body' "$(<"$RUN_DIR/log/error.log")"
    expect_match 'SSL_read\(\) failed' "$(<"$RUN_DIR/log/error.log")"
    STACK_NOISE=. "$ROOT/scripts/stop" 3>&-
    RUN_DIR=$outer
}

@test "what is not a client's fault keeps its line in error.log, whatever the client's words in it are" {
    local outer=$RUN_DIR
    STACK_NOISE='connect\(\) to unix:|no live upstreams|compose: '
    start_stack "$BATS_TEST_TMPDIR/r5" APP_INSTANCES=1
    end_instance app-blue-1
    raw 'GET /*1?client_sent HTTP/1.1\r\nHost: client-sent\r\nConnection: close\r\n\r\n'
    expect_problem 502
    expect_match 'connect\(\) to unix:.*/\*1\?client_sent' "$(<"$RUN_DIR/log/error.log")"
    end_stack
    RUN_DIR=$outer
}

@test "an HTTP/2 request that fails before nginx has its line is logged with the client's method" {
    local case
    for case in 'POST|*|400' 'PUT|nothing|400' 'get|/|501' 'GET|/..|400' 'P4TCH|/|501' 'TRACE|/|405'; do
        IFS='|' read -r method path code <<<"$case"
        printf ':method: %s\n:scheme: https\n:path: %s\n:authority: x\n' "$method" "$path" |
            python3 "$ROOT/tests/lib/http.py" h2 "$HTTPS_PORT"
        wait_until 5 is_in_log "\"method\":\"$method\",\"uri\":\"[^\"]*\",\"protocol\":\"HTTP/2.0\",\"status\":$code" access.log
    done
    { printf ':method: DELETE\n:scheme: https\n:path: /\n:authority: x\n'; printf 'x%s: y\n' {1..1100}; } |
        python3 "$ROOT/tests/lib/http.py" h2 "$HTTPS_PORT"
    wait_until 5 is_in_log '"method":"DELETE","uri":"/","protocol":"HTTP/2.0","status":431' access.log
}

# has_lines COUNT FILE : so many, or more
has_lines() {
    (($(wc -l <"$2") >= $1))
}

# slow_reader PIPE : so slow that the pipe is full: what does not fit is written in parts
slow_reader() {
    python3 -c 'import sys, time
with open(sys.argv[1], "rb", buffering=0) as pipe:
    while chunk := pipe.read(8192):
        sys.stdout.buffer.write(chunk)
        time.sleep(0.003)' "$1"
}

# In a container the log is a pipe: here one is in the file's place when nginx starts to write there.
@test "two workers that write into one pipe leave each other's lines whole" {
    local outer=$RUN_DIR workers nginx hold least=10000
    [[ -z ${SANITIZE:-} ]] || least=500 # all is slow
    mkdir -p "$BATS_TEST_TMPDIR/r3/log"
    : >"$BATS_TEST_TMPDIR/r3/lock"
    mkfifo "$BATS_TEST_TMPDIR/r3/log/access.log"
    slow_reader "$BATS_TEST_TMPDIR/r3/log/access.log" >"$BATS_TEST_TMPDIR/lines" 3>&- &
    exec {hold}>"$BATS_TEST_TMPDIR/r3/log/access.log" # else it ends with nginx -t
    start_stack "$BATS_TEST_TMPDIR/r3"
    wrk -t2 -c64 -d5 -s "$ROOT/tests/lib/post.lua" "$URL/api" >/dev/null 3>&-
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true
    ((${#workers[@]} > 1)) || skip 'nginx has one worker here'
    "$ROOT/scripts/stop" 3>&-
    exec {hold}>&-
    rm "$RUN_DIR/log/access.log"
    sed -i '/access.log" failed (11: /d' "$RUN_DIR/log/error.log" # lines are lost: the reader is slow
    logs_are_clean
    wait $!
    run python3 "$ROOT/tests/lib/log.py" check /dev/null <"$BATS_TEST_TMPDIR/lines"
    expect_status 0
    (($(wc -l <"$BATS_TEST_TMPDIR/lines") > least))
    RUN_DIR=$outer
}

# start_with_pipes : a copy whose two logs are pipes that nobody reads; HELD are open ends of both
start_with_pipes() {
    local log
    mkdir -p "$1/log"
    : >"$1/lock"
    HELD=()
    for log in access error; do
        mkfifo "$1/log/$log.log"
        exec {hold}<>"$1/log/$log.log"
        HELD+=("$hold")
    done
    start_stack "$1"
}

# 2,000 lines are 800 KB and more: a pipe has 64 KiB, or 1 MiB.
@test "a log that is a pipe which nobody reads stops no request; what is lost is lost in whole lines, and nginx says so" {
    local outer=$RUN_DIR text
    text=$(printf '%0400d' 0)
    start_with_pipes "$BATS_TEST_TMPDIR/r4"
    for _ in {1..5}; do
        run curl -s -o /dev/null --max-time 10 --fail-early -A "$text" -w '%{http_code}\n' "$URL/nothing?[1-1000]"
        expect_equal 404 "$(sort -u <<<"$output")"
    done
    post_sample
    expect_sample
    "$ROOT/scripts/stop" 3>&-
    timeout 1 cat <&"${HELD[0]}" >"$BATS_TEST_TMPDIR/lines" || true
    timeout 1 cat <&"${HELD[1]}" >"$BATS_TEST_TMPDIR/errors" || true
    run python3 "$ROOT/tests/lib/log.py" check /dev/null <"$BATS_TEST_TMPDIR/lines"
    expect_status 0
    expect_match '^[1-9][0-9]{2,3}$' "$(wc -l <"$BATS_TEST_TMPDIR/lines")" 'lines'
    expect_match 'write\(\) to "[^"]*access.log" failed \(11: Resource temporarily unavailable\)' "$(<"$BATS_TEST_TMPDIR/errors")"
    RUN_DIR=$outer
}
