#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# The contract of HTTP, row by row, through nginx, app and transform.

load lib/helpers
load lib/stack

STACK_NOISE='client intended to send too large' # of the tests with bodies over the limit

setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    end_stack
}

@test "POST /api reverses the message and adds a random number, nothing else" {
    reverse '{"message": "hello"}'
    expect_reply 200 '^\{"message":"olleh","rand":[0-9.e-]+\}$'
    expect_equal application/json "$(header content-type)"
    python3 "$ROOT/tests/lib/http.py" model <(echo '{"message": "hello"}') <<<"$body"
}

@test "rand is another one each time" {
    reverse '{"message": ""}'
    local first=$body
    reverse '{"message": ""}'
    [[ $first != "$body" ]]
}

@test "each message comes back reversed by grapheme cluster" {
    local given expected
    while IFS=$'\t' read -r given expected; do
        [[ -n $given ]] || continue
        reverse "{\"message\": $given}"
        expect_reply 200
        expect_equal "{\"message\":$expected" "${body%,\"rand\"*}" "message $given"
    done < <(grep -v '^#' "$BATS_TEST_DIRNAME/cases/messages.tsv")
}

@test "an SSI tag in a message, in a key or in the path comes back reversed or not at all; it is never run" {
    reverse '{"message": "<!--# include virtual=\"/_health\" -->"}'
    expect_reply 200 '^\{"message":">-- \\"htlaeh_/\\"=lautriv edulcni #--!<","rand":'
    reverse '{"message": ">-- \"htlaeh_/\"=lautriv edulcni #--!<"}'
    expect_reply 200 '^\{"message":"<!--# include virtual=\\"/_health\\" -->","rand":'
    reverse '{"<!--#echo var=\"id\" -->": "<!--#echo var=\"id\" -->", "message": "x"}'
    expect_reply 200 '^\{"message":"x","rand":[0-9.e-]+\}$'
    reverse '{"message": <!--# include virtual="/_health" -->}'
    expect_problem 400
    expect_no_match 'pass|include' "$body"
    request GET '/%3C!--%23include%20virtual=%22/_health%22--%3E'
    expect_problem 404
}

@test "other members are ignored, whatever they hold" {
    local others
    for others in '"a": 1' '"a": 1e999' '"a": -1E+400, "b": {"c": [1e999, null]}' "\"a\": $(printf '9%.0s' {1..5000})" \
        '"a\u0000b": "\u0000"' '"message": 5'; do
        reverse "{$others, \"message\": \"ab\"}"
        expect_reply 200 '^\{"message":"ba","rand":[0-9.e-]+\}$'
    done
}

@test "the body is read as JSON whatever its Content-Type, or without one, and when it comes in chunks" {
    local type
    for type in application/json text/plain application/x-www-form-urlencoded 'nonsense' ''; do
        reverse '{"message": "ab"}' -H "Content-Type:$type"
        expect_reply 200 '"ba"'
    done
    reverse '{"message": "ab"}' -H 'Transfer-Encoding: chunked'
    expect_reply 200 '"ba"'
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
    expect_equal 'GET, HEAD' "$(header allow)"
}

@test "any other path is 404, those that are internal too, with any method" {
    local path method
    for path in /x /api/ /api/x /API /reverse /reverse/message /reverse/ /_problem /_health/app /index.html; do
        for method in GET POST; do
            request "$method" "$path" -d '{"message": "hello"}'
            expect_problem 404
        done
    done
}

@test "GET /_health is 200 with status pass while both services answer" {
    request GET /_health
    expect_reply 200 '^\{"status":"pass"\}$'
    request POST /_health -d x
    expect_problem 405
    expect_equal 'GET, HEAD' "$(header allow)"
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
    for path in /reverse/message /app/api /_problem; do
        request POST "$path" --data-binary @"$BATS_TEST_TMPDIR/more"
        expect_problem 404
    done
}

@test "large messages, ASCII and mixed, come back right" {
    python3 - "$BATS_TEST_TMPDIR" <<'PY'
import json, random, sys
random.seed(1)
ascii = "".join(random.choice("abcdefghijklmnopqrstuvwxyz <!-#>\"\\/\t") for _ in range(700000))
mixed = "".join(random.choice("añ日本語ωжשع漢字 z\u0000") for _ in range(200000))
for name, message in ("ascii", ascii), ("mixed", mixed):
    with open(f"{sys.argv[1]}/{name}", "w", encoding="utf-8") as file:
        json.dump({"message": message}, file, ensure_ascii=False)
PY
    local name
    for name in ascii mixed; do
        curl -sS --data-binary @"$BATS_TEST_TMPDIR/$name" "$URL/api" |
            python3 "$ROOT/tests/lib/http.py" model "$BATS_TEST_TMPDIR/$name"
    done
}

@test "HTTPS with TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1; TLS 1.1 is refused" {
    local url=https://127.0.0.1:$HTTPS_PORT option
    for option in --tls-max\ 1.2 --tlsv1.3 --http2 --http1.1; do
        # shellcheck disable=SC2086 # two words
        run curl -sSk $option -d '{"message": "ab"}' -w ' %{http_version}' "$url/api"
        expect_status 0
        expect_match '"ba".* (2|1.1)$' "$output"
    done
    run curl -sSk --http2 -o /dev/null -w '%{http_version}' "$url/"
    expect_equal 2 "$output"
    run curl -sSk --tls-max 1.1 "$url/"
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
    run curl -sS -w '%{num_connects} ' -o /dev/null -d '{"message": "ab"}' "$URL/api" \
        --next -sS -w '%{num_connects} ' -o /dev/null -d '{"message"' "$URL/api" \
        --next -sS -w '%{num_connects} ' -o /dev/null "$URL/"
    expect_equal '1 0 0 ' "$output"
}
