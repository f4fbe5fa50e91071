#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# The contract of HTTP, row by row, through nginx, app and transform.

load lib/helpers
load lib/stack


setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    end_stack
}

# expect_transformed FILE : the last reply is a 200 with what transform itself, called as a plain CGI program, makes of the body
# in FILE, and a random number; nothing else
expect_transformed() {
    local own=$BATS_TEST_TMPDIR/own length
    expect_reply 200 || return
    length=$(stat -c %s "$1")
    REQUEST_METHOD=POST SCRIPT_NAME=/reverse/message CONTENT_LENGTH=$length "$BUILD_DIR/cgi-transform" <"$1" |
        sed '1,/^\r$/d' >"$own"
    sed -E 's/^\{"message":(.*),"rand":0\.[0-9]{16}\}$/\1/' "$BATS_TEST_TMPDIR/reply.body" | cmp -- "$own" - && return
    printf 'answer to the body: %.200s\n  expected of transform: %.200s\n  actual: %.200s\n' "$(<"$1")" "$(<"$own")" "$body" >&2
    return 1
}

# post_text BODY [CURL OPTION...] : POST it; expect_transformed
post_text() {
    printf %s "$1" >"$BATS_TEST_TMPDIR/text"
    post @"$BATS_TEST_TMPDIR/text" "${@:2}"
    expect_transformed "$BATS_TEST_TMPDIR/text"
}

@test "POST /api gives transform's message and a random number, nothing else" {
    post_sample
    expect_sample
    expect_equal application/json "$(header content-type)"
    post_text "$SAMPLE_REQUEST"
}

@test "rand is another one each time" {
    post '{"message": ""}'
    local first=$body
    post '{"message": ""}'
    [[ $first != "$body" ]]
}

@test "each message comes back as transform answers it" {
    local message
    while IFS=$'\t' read -r message _; do
        [[ -z $message ]] || post_text "{\"message\": $message}"
    done < <(grep -v '^#' "$BATS_TEST_DIRNAME/cases/reversed.tsv")
}

@test "an SSI tag in a message, in a key or in the path comes back as any other text, or not at all; it is never run" {
    local tag='<!--# include virtual="/_health" -->' way
    for way in cat rev 'tr a-z A-Z'; do # as a tag, and as what transform may make one of
        post_text "$($way <<<"$tag" | jq -cR '{message: .}')"
    done
    post_text '{"<!--#echo var=\"id\" -->": "<!--#echo var=\"id\" -->", "message": "x"}'
    post '{"message": <!--# include virtual="/_health" -->}'
    expect_problem 400
    expect_no_match 'pass|include' "$body"
    request GET '/%3C!--%23include%20virtual=%22/_health%22--%3E'
    expect_problem 404
}

@test "other members are ignored, whatever they hold" {
    local others alone
    post '{"message": "ab"}'
    alone=$(jq -c .message <<<"$body")
    for others in '"a": 1' '"a": 1e999' '"a": -1E+400, "b": {"c": [1e999, null]}' "\"a\": $(printf '9%.0s' {1..5000})" \
        '"a\u0000b": "\u0000"' '"message": 5'; do
        post "{$others, \"message\": \"ab\"}"
        expect_reply 200
        expect_equal "$alone" "$(jq -c 'select(keys == ["message", "rand"]).message' <<<"$body")" "beside $others"
    done
}

@test "the body is read as JSON whatever its Content-Type, or without one, and when it comes in chunks" {
    local type
    for type in application/json text/plain application/x-www-form-urlencoded 'nonsense' ''; do
        post_sample -H "Content-Type:$type"
        expect_sample
    done
    post_sample -H 'Transfer-Encoding: chunked'
    expect_sample
}

@test "a body that is compressed, or says that it is not UTF-8, is 415 with what to send" {
    printf '{"message": "ab"}' | gzip >"$BATS_TEST_TMPDIR/gzip"
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/gzip" -H 'Content-Encoding: gzip'
    expect_problem 415 'not compressed'
    expect_equal identity "$(header accept-encoding)"
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/gzip"
    expect_problem 415 'gzip.*not compressed'
    post '{"message": "ab"}' -H 'Content-Type: application/json; charset=UTF-16'
    expect_problem 415 'UTF-8'
    expect_equal '' "$(header accept-encoding)" "Accept-Encoding, which is for codings alone"
    post_text '{"message": "ab"}' -H 'Content-Type: application/json; charset="utf-8"' -H 'Content-Encoding: identity'
}

@test "a service reads a body of unknown length to its end, up to the limit, however its web server says so" {
    local length
    message_of 1048576 a >"$BATS_TEST_TMPDIR/most"
    message_of 1048577 a >"$BATS_TEST_TMPDIR/more"
    for length in CONTENT_LENGTH CONTENT_LENGTH= CONTENT_LENGTH=-1; do
        run call "$RUN_DIR/app-blue-1.sock" POST /api --body - --param "$length" <"$BATS_TEST_TMPDIR/most"
        expect_match '^Status: 200' "$output" "$length"
        run call "$RUN_DIR/app-blue-1.sock" POST /api --body - --param "$length" <"$BATS_TEST_TMPDIR/more"
        expect_match '^Status: 413.*at most 1048576 bytes' "$output" "$length"
        # not only that there is one: its last byte is read, too
        run call "$RUN_DIR/transform-blue-1.sock" POST /reverse/message --body '{"message": "to the end"} ' --param "$length"
        expect_match '^Status: 200.*' "$output" "$length"
        run call "$RUN_DIR/transform-blue-1.sock" POST /reverse/message --body '{"message": "to the end"} x' --param "$length"
        expect_match '^Status: 400.*follows the JSON, at line 1, column 27' "$output" "$length"
    done
}

@test "a body that is no message is refused with 400 and a detail that says what and where" {
    local given detail
    while IFS=$'\t' read -r given detail; do
        [[ -n $given ]] || continue
        printf '%b' "$given" >"$BATS_TEST_TMPDIR/body"
        request POST /api --data-binary @"$BATS_TEST_TMPDIR/body"
        expect_problem 400 "$detail" || { echo "body: $given" >&2; return 1; }
    done < <(grep -v '^#' "$BATS_TEST_DIRNAME/cases/bad-bodies.tsv")
    request POST /api
    expect_problem 400 'empty'
}

@test "another method on /api is 405 with Allow: POST, exactly" {
    local method
    for method in GET PUT DELETE PATCH OPTIONS TRACE PROPFIND; do
        request "$method" /api
        expect_problem 405
        expect_equal POST "$(header allow)" "Allow after $method"
    done
    request HEAD '/api?x=1' --head
    expect_equal 405 "$code"
    expect_equal POST "$(header allow)"
}

@test "GET / says what this is and how to call it; another method there is 405" {
    request GET /
    expect_reply 200 'curl .*/api'
    request HEAD / --head
    expect_equal 200 "$code"
    request POST / -d x
    expect_problem 405
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
}

@test "OPTIONS on / and /_health is answered, as a load balancer asks that is told nothing else" {
    raw 'OPTIONS / HTTP/1.0\r\n\r\n'
    expect_equal 204 "$code"
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
    raw 'OPTIONS /_health HTTP/1.0\r\n\r\n'
    expect_reply 200 '^\{"status":"pass","version":"[0-9.]+"\}$'
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
    request OPTIONS /x
    expect_problem 404
}

@test "any other path is 404, those that are internal too, with any method" {
    local path method
    for path in /x /api/ /api/x /API /reverse /reverse/message /reverse/ /_problem /app/api /index.html /_health/{app,transform,each,tags}; do
        for method in GET POST; do
            request "$method" "$path" -d "$SAMPLE_REQUEST"
            expect_problem 404
        done
    done
}

@test "GET /_health is 200 with status pass while both services answer" {
    request GET /_health
    expect_reply 200 '^\{"status":"pass","version":"[0-9.]+"\}$'
    request POST /_health -d x
    expect_problem 405
    expect_equal 'GET, HEAD, OPTIONS' "$(header allow)"
}

# message_of BYTES FILL : a body of exactly so many bytes
message_of() {
    printf '{"message": "%s"}' "$(head -c "$(($1 - 15))" /dev/zero | tr '\0' "$2")"
}

@test "a body of exactly the limit is taken, one byte more is 413" {
    message_of 1048576 a >"$BATS_TEST_TMPDIR/most"
    message_of 1048577 a >"$BATS_TEST_TMPDIR/more"
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/most"
    expect_reply 200
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/more"
    expect_problem 413 '1048576'
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/more" -H 'Transfer-Encoding: chunked'
    expect_problem 413 '1048576'
}

@test "a body over the limit is 413 as problem+json on every path" {
    message_of 1048577 a >"$BATS_TEST_TMPDIR/more"
    local path
    for path in / /api /_health /x; do
        request POST "$path" --data-binary @"$BATS_TEST_TMPDIR/more"
        expect_problem 413
    done
    for path in /reverse/message /app/api /_problem /_health/{app,each,tags}; do
        request POST "$path" --data-binary @"$BATS_TEST_TMPDIR/more"
        expect_problem 404
    done
}

@test "large messages, ASCII and mixed, come back right" {
    local name
    python3 - "$BATS_TEST_TMPDIR" <<'PY'
import json, random, sys
random.seed(1)
ascii = "".join(random.choice("abcdefghijklmnopqrstuvwxyz <!-#>\"\\/\t") for _ in range(700000))
mixed = "".join(random.choice("añ日本語ωжשع漢字 z\u0000") for _ in range(200000))
for name, message in ("ascii", ascii), ("mixed", mixed):
    with open(f"{sys.argv[1]}/{name}", "w", encoding="utf-8") as file:
        json.dump({"message": message}, file, ensure_ascii=False)
PY
    for name in ascii mixed; do
        post @"$BATS_TEST_TMPDIR/$name"
        expect_transformed "$BATS_TEST_TMPDIR/$name"
    done
}

@test "HTTPS with TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1; TLS 1.1 is refused" {
    local option
    URL=https://127.0.0.1:$HTTPS_PORT
    for option in --tls-max\ 1.2 --tlsv1.3 --http2 --http1.1; do
        # shellcheck disable=SC2086 # two words
        post_sample -k $option
        expect_sample
    done
    run curl -sSk --http2 -o /dev/null -w '%{http_version}' "$URL/"
    expect_equal 2 "$output"
    run curl -sSk --tls-max 1.1 "$URL/"
    [[ $status -ne 0 ]]
}

@test "errors over HTTP/2 are problem+json, too" {
    URL=https://127.0.0.1:$HTTPS_PORT
    request GET /api -k --http2
    expect_problem 405
    request POST /api -k --http2 -d '{'
    expect_problem 400 'ends too early'
    request GET /x -k --http2
    expect_problem 404
}

@test "one connection carries many calls" {
    run curl -sS -w '%{num_connects} ' -o /dev/null -d "$SAMPLE_REQUEST" "$URL/api" \
        --next -sS -w '%{num_connects} ' -o /dev/null -d '{"message"' "$URL/api" \
        --next -sS -w '%{num_connects} ' -o /dev/null "$URL/"
    expect_equal '1 0 0 ' "$output"
}
