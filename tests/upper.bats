#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# The system does not know what transform computes: in a copy of the checkout transform upper-cases, and the file `sample` says
# so. upgrade and all tests but transform's own (transform.bats, grapheme.bats, this one) take that as they take reversal.

load lib/helpers
load lib/stack
load lib/copy

# Those of the others that take a few seconds: through nginx, as CGI, and as FastCGI.
OTHERS=(api cgi memory)

setup_file() {
    make_copy "$BATS_FILE_TMPDIR/copy"
    start_stack "$BATS_FILE_TMPDIR/r"
    change_transform
}

setup() {
    use_copy "$BATS_FILE_TMPDIR/copy"
}

teardown_file() {
    end_stack
}

# change_transform : what it computes, in its own folder
change_transform() {
    cat >"$ROOT/cgi-transform/upper.h" <<'C'
#include <stddef.h>
int upper_utf8(const char *text, size_t len, char *out);
C
    cat >"$ROOT/cgi-transform/upper.c" <<'C'
#include "upper.h"
int
upper_utf8(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]);
    return 0;
}
C
    sed -i 's/"reverse\.h"/"upper.h"/; s/reverse_utf8(/upper_utf8(/' "$ROOT/cgi-transform/handler.c"
}

# change_sample : the one place that says what is right
change_sample() {
    sed -i 's/^\.message == "[a-z]*"/.message == "HELLO"/' "$ROOT/sample"
}

@test "upgrade takes back a transform that computes what sample does not say, and takes it when sample says so" {
    post_sample
    expect_sample
    run "$ROOT/scripts/upgrade" --step 0 transform 3>&-
    expect_status 1
    expect_match '^upgrade: a call of it was answered with: \{"message":"HELLO",.*; taken back' "$output"
    post_sample
    expect_sample
    change_sample
    run "$ROOT/scripts/upgrade" --step 0 transform 3>&-
    expect_status 0
    post_sample
    expect_reply 200 '^\{"message":"HELLO",'
}

@test "with it, tests pass that are not transform's own" {
    local paths=("${OTHERS[@]/#/$ROOT/tests/}")
    paths=("${paths[@]/%/.bats}")
    change_sample
    make -s -C "$ROOT" BUILD="$BUILD_DIR" build
    run env -u BATS_RUN_TMPDIR BUILD_DIR="$BUILD_DIR" bats "${paths[@]}" 3>&-
    expect_status 0
}

@test "no test but transform's own, and no script, holds a word reversed, or turns one round" {
    cd "$BATS_TEST_DIRNAME/.."
    # tests/bench: others that do the same job
    run git grep -nIE 'olleh|sdneirf|terces|"(ba|cba)"|\[::-1\]|:reverse\(' -- scripts host nginx tests ':!tests/bench*' \
        ':!tests/transform.bats' ':!tests/grapheme.bats' ':!tests/cases/reversed.tsv' ':!tests/upper.bats'
    expect_equal '' "$output"
}
