#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# /openapi.yaml: a running system is what it describes. schemathesis makes requests from it, good and bad ones.
# needs: openapi

load lib/helpers
load lib/stack

SCHEMATHESIS=$BUILD_DIR/openapi/bin/schemathesis # with what openapi/requirements.txt names

setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r"
}

setup() {
    [[ -x $SCHEMATHESIS ]] || skip "what tests/openapi/requirements.txt names could not be installed"
    cd "$BATS_TEST_TMPDIR" || return # it leaves files behind
}

teardown_file() {
    end_stack
}

# try_all EXAMPLES DESCRIPTION : so many requests of each kind, the same in each run, with all checks
try_all() {
    "$SCHEMATHESIS" run --url "$URL" --checks all --max-examples "$1" --generation-deterministic --continue-on-failure "$2" 3>&-
}

@test "all that /openapi.yaml says is so: schemathesis finds nothing, with all of its checks" {
    request GET /openapi.yaml
    expect_reply 200 '^---.*openapi: 3\.1\.0'
    expect_equal application/yaml "$(header content-type)"
    run try_all 60 "$BATS_TEST_TMPDIR/reply.body"
    expect_status 0
    expect_match '[1-9][0-9]{2,} generated' "$output"
}

@test "schemathesis finds what is not so: a number that is too large, a status, a type, and a header that are not there" {
    local change
    while read -r change; do
        sed "$change" "$ROOT/cgi-app/page/openapi.yaml" >changed.yaml
        run cmp changed.yaml "$ROOT/cgi-app/page/openapi.yaml"
        expect_status 1
        run try_all 5 changed.yaml
        expect_status 1
    done <<'CHANGES'
s/exclusiveMaximum: 1/exclusiveMaximum: 0/
s/'400':/'499':/
s/application\/yaml:/application\/json:/
s/Server-Timing:/Server-Times:/
CHANGES
}
