#!/usr/bin/env bats
# shellcheck shell=bats
# The fuzzers, each input once: what they begin with must hold their properties in every build, with or without clang.
# What was found once is kept in fuzz/seeds. scripts/fuzz looks for more.

load lib/helpers

setup_file() {
    export CASES="$BATS_FILE_TMPDIR/cases"
    python3 "$ROOT/tests/fuzz/cases.py" "$CASES"
}

# once FUZZER : run all its inputs; some come from tests/fuzz/seeds
once() {
    local folders=("$ROOT/tests/fuzz/seeds/$1") inputs
    [[ ! -d $CASES/$1 ]] || folders+=("$CASES/$1")
    inputs="$(find "${folders[@]}" -type f ! -name '.*' | wc -l)"
    run "$BUILD_DIR/tests/fuzz/$1" "${folders[@]}"
    output="$(tail -n 20 <<<"$output")" # the input that failed is the last one named
    expect_status 0
    expect_match "(^|"$'\n'")$inputs inputs$" "$output"
    ((inputs >= $2)) || { echo "only $inputs inputs, expected at least $2" >&2; return 1; }
}

@test "every text is reversed by UAX #29's clusters, and what is not UTF-8 is refused, as models of both say" {
    once reverse 600
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

@test "each fuzzer has seeds, and a test here" {
    local source name
    for source in "$ROOT"/tests/fuzz/*.c; do
        name="$(basename "$source" .c)"
        compgen -G "$ROOT/tests/fuzz/seeds/$name/*" >/dev/null || { echo "tests/fuzz/seeds/$name is empty" >&2; return 1; }
        grep -q "^    once $name [0-9]" "$BATS_TEST_FILENAME" || { echo "no test runs $name" >&2; return 1; }
    done
}

# ---- scripts/fuzz ----

@test "scripts/fuzz refuses a fuzzer that is not there, and a time that is none, before it does anything" {
    run "$ROOT/scripts/fuzz" 1 nothing
    expect_status 1
    expect_match '^fuzz: there is no fuzzer "nothing"; there are: .*reverse' "$output"
    run "$ROOT/scripts/fuzz" 5x
    expect_status 1
    expect_match '^fuzz: SECONDS_EACH is "5x"' "$output"
}

@test "scripts/fuzz fails when the code is broken, and names the input that shows it" {
    command -v clang >/dev/null || skip "clang is not installed; scripts/fuzz installs it"
    [[ -z ${SANITIZE:-} ]] || skip "brings its own sanitizers; tested with the plain build"
    # reverse.c turns words of ASCII round with this; now it does not.
    run env BUILD_DIR="$BATS_TEST_TMPDIR/build" CPPFLAGS='-D__builtin_bswap64=-' "$ROOT/scripts/fuzz" 30 reverse
    expect_status 1
    expect_match "reverse found something \(exit status [0-9]+\): $BATS_TEST_TMPDIR/build/fuzz/found/reverse-crash-" "$output"
    compgen -G "$BATS_TEST_TMPDIR/build/fuzz/found/reverse-crash-*"
}
