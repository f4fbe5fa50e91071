#!/usr/bin/env bats
# shellcheck shell=bats
# transform's own tests, with grapheme.bats and upper.bats: that the service reverses, called as a plain CGI program. No other
# test knows what transform computes: who has it compute something else changes it, the file `sample`, and these.

load lib/helpers
load lib/fuzz

setup_file() {
    make_cases
}

# check WHAT [TABLE] : one of the checks of lib/cgi.py
check() {
    run python3 "$ROOT/tests/lib/cgi.py" "$1" ${2:+"$ROOT/tests/cases/$2"}
    expect_status 0
}

@test "a message comes back reversed by grapheme cluster" {
    check reversed reversed.tsv
}

@test "ASCII of every length, with CR LF at each place, comes back as a simple model says" {
    check ascii
}

@test "every text is reversed by UAX #29's clusters, and what is not UTF-8 is refused, as models of both say" {
    once reverse 600
}
