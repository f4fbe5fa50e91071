#!/usr/bin/env bats
# shellcheck shell=bats
# The fuzzers, each input once: what they begin with must hold their properties in every build, with or without clang.
# What was found once is kept in fuzz/seeds. scripts/fuzz looks for more.
# sanitizers: none

load lib/helpers
load lib/fuzz

setup_file() {
    make_cases
}

@test "whatever the CGI variables say, both services give a whole response of the right status, and log one line of JSON" {
    once variables 150
}

@test "a stream of FastCGI is read alike in one piece, in pieces and byte by byte, and a request is what its records hold" {
    once record 150
}

@test "valid FastCGI gets the right answers whatever its padding and record sizes; any other, whole records or none" {
    once exchange 180
}

@test "a body is a message, or is refused, as jansson says; what is encoded decodes to itself" {
    once message 36
}

@test "each fuzzer has seeds, and a test here, or in transform's own" {
    local source name
    for source in "$ROOT"/tests/fuzz/*.c; do
        name="$(basename "$source" .c)"
        compgen -G "$ROOT/tests/fuzz/seeds/$name/*" >/dev/null || { echo "tests/fuzz/seeds/$name is empty" >&2; return 1; }
        grep -q "^    once $name [0-9]" "$ROOT"/tests/{fuzz,transform}.bats || { echo "no test runs $name" >&2; return 1; }
    done
}

# ---- scripts/fuzz ----

@test "scripts/fuzz refuses a fuzzer that is not there, and a time that is none, before it does anything" {
    run "$ROOT/scripts/fuzz" 1 nothing
    expect_status 2
    expect_match '^fuzz: "nothing" is no fuzzer; exchange, .*variables are$' "$output"
    run "$ROOT/scripts/fuzz" 5x
    expect_status 2
    expect_match '^fuzz: "5x" is no number of seconds' "$output"
}

@test "scripts/fuzz fails when the code is broken, and names the input that shows it" {
    command -v clang >/dev/null || skip "clang is not installed; scripts/fuzz installs it"
    [[ -z ${SANITIZE:-} ]] || skip "brings its own sanitizers; tested with the plain build"
    # json.c knows true, false and null by this; now TRUE is one of them.
    run env BUILD_DIR="$BATS_TEST_TMPDIR/build" CPPFLAGS=-Dstrncmp=strncasecmp "$ROOT/scripts/fuzz" 30 message
    expect_status 1
    expect_match "message found something \(exit status [0-9]+\): $BATS_TEST_TMPDIR/build/fuzz/found/message-crash-" "$output"
    compgen -G "$BATS_TEST_TMPDIR/build/fuzz/found/message-crash-*"
}
