#!/usr/bin/env bats
# shellcheck shell=bats
# transform's own tests, with transform.bats: reversal as a library, cgi-transform/reverse.c linked with unit/grapheme.c and
# nothing else.

load lib/helpers

UNICODE=/usr/share/unicode/auxiliary/GraphemeBreakTest.txt

@test "reverse_utf8 reverses each line of Unicode's GraphemeBreakTest by cluster, of the version that utf8proc knows" {
    run "$BUILD_DIR/tests/grapheme" "$UNICODE"
    [[ $output != *'not compared'* ]] || skip "${lines[0]}"
    expect_status 0
    expect_match '(6|11)[0-9][0-9] lines' "$output"
}

@test "reverse_utf8 agrees with UAX #29's rules in every string of up to five classes, and with simple models of ASCII" {
    run "$BUILD_DIR/tests/grapheme" "$UNICODE"
    expect_status 0
    expect_match '2000718 strings of 18 classes checked by the rules with(out)? GB9c' "$output"
    expect_match '3280 strings of a, CR and LF' "$output"
}

# A limit, where Debian 12's utf8proc is: it knows Unicode 15.0, whose UAX #29 ends a cluster behind each linker.
@test "नमस्ते is न, म, स्ते from Unicode 15.1 on (GB9c), and न, म, स्, ते before; so transform answers, too" {
    run "$BUILD_DIR/tests/grapheme" "$UNICODE"
    local expected=स्तेमन
    [[ $output != *'without GB9c'* ]] || expected=तेस्मन
    run python3 "$ROOT/tests/lib/cgi.py" call transform POST /reverse <<<'{"message": "नमस्ते"}'
    expect_match "\"$expected\"" "$output"
}

@test "a test file of another Unicode than utf8proc knows is not compared, which the unit test says; all else is" {
    printf '# GraphemeBreakTest-5.1.0.txt\n÷ 0061 ÷ 0301 ÷\t# as it never was\n' >"$BATS_TEST_TMPDIR/old.txt"
    run "$BUILD_DIR/tests/grapheme" "$BATS_TEST_TMPDIR/old.txt"
    expect_status 0
    expect_match 'old.txt is of Unicode 5.1.0, utf8proc knows [0-9.]+: not compared' "$output"
    expect_match '2000718 strings' "$output"
}

@test "a test file with too few lines is no test: the unit test fails and says so" {
    printf '÷ 0061 ÷ 0062 ÷\t# two letters\n' >"$BATS_TEST_TMPDIR/short.txt"
    run "$BUILD_DIR/tests/grapheme" "$BATS_TEST_TMPDIR/short.txt"
    expect_status 1
    expect_match '^1 lines of' "$output"
}

@test "a cluster that does not stay whole fails the unit test, which names the line and shows both texts" {
    printf '# a comment\n÷ 0061 ÷ 0301 ÷\t# wrong on purpose\n' >"$BATS_TEST_TMPDIR/wrong.txt"
    run "$BUILD_DIR/tests/grapheme" "$BATS_TEST_TMPDIR/wrong.txt"
    expect_status 1
    expect_match 'line 2: returned 0' "$output"
    expect_match 'expected: cc 81 61' "$output"
    expect_match 'actual  : 61 cc 81' "$output"
}
