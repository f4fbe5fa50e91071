#!/usr/bin/env bats
# shellcheck shell=bats
# Reversal as a library: cgi-transform/reverse.c linked with unit/grapheme.c and nothing else.

load lib/helpers

@test "reverse_utf8 reverses each line of Unicode's GraphemeBreakTest by cluster, and agrees with simple models" {
    run "$BUILD_DIR/tests/grapheme" /usr/share/unicode/auxiliary/GraphemeBreakTest.txt
    expect_status 0
    expect_match '6[0-9][0-9] lines' "$output"
}

@test "a test file with too few lines is no test: the unit test fails and says so" {
    printf '÷ 0061 ÷ 0062 ÷\t# two letters\n' >"$BATS_TEST_TMPDIR/short.txt"
    run "$BUILD_DIR/tests/grapheme" "$BATS_TEST_TMPDIR/short.txt"
    expect_status 1
    expect_match '^1 lines' "$output"
}

@test "a cluster that does not stay whole fails the unit test, which names the line and shows both texts" {
    printf '# a comment\n÷ 0061 ÷ 0301 ÷\t# wrong on purpose\n' >"$BATS_TEST_TMPDIR/wrong.txt"
    run "$BUILD_DIR/tests/grapheme" "$BATS_TEST_TMPDIR/wrong.txt"
    expect_status 1
    expect_match 'line 2: returned 0' "$output"
    expect_match 'expected: cc 81 61' "$output"
    expect_match 'actual  : 61 cc 81' "$output"
}
