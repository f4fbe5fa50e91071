#!/usr/bin/env bats
# shellcheck shell=bats
# The services as plain CGI programs: environment and standard input in, standard output out, no socket.

bats_require_minimum_version 1.5.0
load lib/helpers

# check WHAT [TABLE] : one of the checks of lib/cgi.py
check() {
    run python3 "$ROOT/tests/lib/cgi.py" "$1" ${2:+"$ROOT/tests/cases/$2"}
    expect_status 0
}

# call_cgi NAME METHOD PATH [VARIABLE=VALUE...] < BODY
call_cgi() {
    python3 "$ROOT/tests/lib/cgi.py" call "$@"
}

# ---- requests ----

@test "what is no message is refused with 400, and a detail that says what is wrong and where" {
    check refused refused.tsv
}

@test "a message is taken as it is meant, whatever its spelling and whatever stands beside it" {
    check accepted accepted.tsv
}

@test "a body over the limit gets 413, one at the limit 200; CONTENT_LENGTH is a number and tells the truth" {
    check lengths lengths.tsv
}

@test "a body that is compressed or not UTF-8, by its headers or its first bytes, is 415 with what to send" {
    check encodings encodings.tsv
}

@test "unknown paths get 404, other methods 405 with the exact Allow; SCRIPT_NAME and PATH_INFO make the path" {
    check routes routes.tsv
}

@test "POST /api gives the SSI tag and a number in [0,1), another one each time, and nothing else" {
    check rand
}

@test "a syntax error tells line, column and byte" {
    run call_cgi app POST /api < <(printf '{"a": 1,\n "message": oops}')
    expect_status 0
    expect_match 'Status: 400 Bad Request' "$output"
    expect_match '"detail":"a syntax error in the JSON, at line 2, column 16 \(byte 25\)"' "$output"
}

@test "no reply of app holds a byte of the client's: an SSI tag in broken JSON, a path or a method is not told back" {
    local tag
    for tag in '<!--#include virtual="/x"-->' '<!--#x-->'; do
        for body in "$tag" "{\"message\": $tag}" "{\"message\" \"$tag\"}" "{\"$tag\": 1}" "{\"message\": \"$tag" \
            "{\"message\": \"$tag\"}"; do
            run call_cgi app POST /api <<<"$body"
            expect_status 0
            expect_no_match '<!--#[ix]' "$output" "sent: $body"
        done
        run call_cgi app POST "/$tag" "HTTP_X_REQUEST_ID=$tag" <<<x
        expect_no_match '<!--#' "$output" "sent as the path"
        run call_cgi app "$tag" /api <<<x
        expect_no_match '<!--#' "$output" "sent as the method"
    done
}

@test "a reply's Content-Length is the number of its bytes, its head ends in an empty line" {
    run call_cgi transform POST /reverse <<<'{"message":"\u00e9"}'
    expect_match $'^Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: ([0-9]+)\r\n\r\n([{]"message":".+"[}])$' \
        "$output"
    expect_equal "${BASH_REMATCH[1]}" "$(printf %s "${BASH_REMATCH[2]}" | wc -c)" "bytes"
}

# ---- calls by hand ----

@test "without a socket and without REQUEST_METHOD: exit 2, the reason and the usage on standard error" {
    for name in cgi-app cgi-transform; do
        run --separate-stderr "$BUILD_DIR/$name" </dev/null
        expect_status 2
        expect_equal "" "$output" "standard output"
        # shellcheck disable=SC2154 # set by run --separate-stderr
        expect_match "^$name: no listening socket on descriptor 0, and no REQUEST_METHOD" "$stderr"
        expect_match "usage: spawn-fcgi -s SOCKET -n -- $name" "$stderr"
    done
}

@test "-h gives the usage with 0, an unknown argument gives it with 2" {
    run --separate-stderr "$BUILD_DIR/cgi-app" -h
    expect_status 0
    expect_match "^usage:" "$output"
    for arguments in -x serve "-t -t" "-h -h"; do
        # shellcheck disable=SC2086 # several arguments
        run --separate-stderr "$BUILD_DIR/cgi-app" $arguments
        expect_status 2
        expect_match "^usage:" "$stderr"
    done
}

@test "--version gives the name, the version, and what the answers depend on; transform's is the Unicode that utf8proc knows" {
    run --separate-stderr "$BUILD_DIR/cgi-app" --version
    expect_status 0
    expect_match '^cgi-app [0-9.]+$' "$output"
    run --separate-stderr "$BUILD_DIR/cgi-transform" --version
    expect_status 0
    expect_match '^cgi-transform [0-9.]+, (Unicode 1[5-9]\.[0-9]\.[0-9], by utf8proc [0-9.]+)$' "$output"
    run "$BUILD_DIR/tests/grapheme" /usr/share/unicode/auxiliary/GraphemeBreakTest.txt
    expect_match "${BASH_REMATCH[1]}" "$output"
}

@test "-t accepts good settings and says nothing" {
    for good in THREADS=1 THREADS=256 THREADS= MAX_BODY_BYTES=1 MAX_BODY_BYTES=1073741824 \
        MAX_BUFFERED_BYTES=2097152 MAX_BUFFERED_BYTES= LOG_LEVEL=debug LOG_LEVEL=; do
        run env "$good" "$BUILD_DIR/cgi-transform" -t
        expect_status 0
        expect_equal "" "$output" "$good"
    done
}

@test "-t refuses a bad setting with 2 and one line that names the variable" {
    for bad in THREADS=0 THREADS=abc THREADS=257 THREADS=-1 THREADS=3x "THREADS= 3" THREADS=99999999999999999999 \
        MAX_BODY_BYTES=0 MAX_BODY_BYTES=1M MAX_BODY_BYTES=1073741825 MAX_BUFFERED_BYTES=2097151 \
        MAX_BUFFERED_BYTES=1M LOG_LEVEL=loud LOG_LEVEL=INFO; do
        run --separate-stderr env "$bad" "$BUILD_DIR/cgi-app" -t
        expect_status 2
        expect_equal "" "$output" "standard output for $bad"
        # shellcheck disable=SC2154 # set by run --separate-stderr
        expect_equal 1 "${#stderr_lines[@]}" "lines for $bad"
        expect_match "^cgi-app: ${bad%%=*} is " "$stderr"
    done
}

@test "a bad setting is refused also without -t, before anything is read" {
    run --separate-stderr env THREADS=none REQUEST_METHOD=GET SCRIPT_NAME=/ "$BUILD_DIR/cgi-app"
    expect_status 2
    expect_equal "" "$output" "standard output"
    expect_match "^cgi-app: THREADS is " "$stderr"
}
