#!/usr/bin/env bats
# shellcheck shell=bats
# README.md and docs/: each command is run as it stands, in a copy of the checkout, with ports of its own, or the page says why
# not. A page shows the answers that come, and names links, files and anchors that exist.
# sanitizers: none

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/stack
load lib/copy

PAGES=(README.md docs/operations.md docs/your-own-service.md) # those of which commands are run here

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "the pages build what a user builds"
}

teardown() {
    local run_dir
    for run_dir in "$BATS_TEST_TMPDIR"/copy/run*; do
        [[ ! -d $run_dir ]] || RUN_DIR=$run_dir "$BATS_TEST_TMPDIR/copy/scripts/stop" 3>&-
    done
}

docs() {
    python3 "$BATS_TEST_DIRNAME/lib/docs.py" "$@"
}

# with_own_ports : the script on standard input, with a free port for each that the pages name
with_own_ports() {
    local port changes=()
    for port in 8080 8443 8081 8444 9113; do
        changes+=(-e "s/\\b$port\\b/$(free_port)/g")
    done
    { echo 'export HTTP_PORT=8080 HTTPS_PORT=8443' && cat; } | sed "${changes[@]}"
}

# follow_page PAGE : as a reader does, who copies each command
follow_page() {
    make_copy "$BATS_TEST_TMPDIR/copy"
    docs script "$ROOT/$1" | with_own_ports >"$BATS_TEST_TMPDIR/script"
    cd "$ROOT" || return
    run env -u BATS_RUN_TMPDIR -u BUILD_DIR -u ROOT OUTPUT="$BATS_TEST_TMPDIR/output" bash "$BATS_TEST_TMPDIR/script" 3>&-
    expect_status 0
}

@test "README.md: each command does what it shows" {
    follow_page README.md
    expect_match 'transform-blue-2 +serving' "$output"
    expect_match '"shout":"hello"' "$output"
}

@test "docs/operations.md: each command does what it shows" {
    follow_page docs/operations.md
    expect_match '"request_id":"order-17"' "$output"
    expect_match 'app-green +2 instances +10 of 100' "$output"
    expect_match 'cgi_http_requests_total\{status="200"\}' "$output"
}

@test "docs/your-own-service.md: from a clone to an upper-casing transform, a third service and a canary of it" {
    follow_page docs/your-own-service.md
    expect_match 'length-green-1 +serving' "$output"
}

@test "no other page has a command that could be run here, and each that is not run says why" {
    local page
    for page in "$ROOT"/*.md "$ROOT"/docs/*.md; do
        [[ " ${PAGES[*]/#/$ROOT/} " == *" $page "* ]] ||
            expect_equal '' "$(docs script "$page" | sed '1,/^set -eE/d')" "commands of ${page##*/}"
    done
    expect_no_match '(^|'$'\n'')[^:]+: .{0,15}($|'$'\n'')' "$(docs reasons "$ROOT")" "reasons"
}

@test "links, anchors, files, make's targets and the layout are there; README.md has at most 150 lines" {
    run docs check "$ROOT"
    expect_equal '' "$output"
}

@test "the picture is drawn from its source: it shows all that the source says" {
    local word
    while read -r word; do
        grep -qF ">$word<" "$ROOT/docs/request.svg" || expect_equal "$word" '' "in docs/request.svg; make picture draws it"
    done < <(grep -oP '(?<=label=")([^"\\]|\\.)*' "$ROOT/docs/request.dot" | sed 's/\\n/\n/g' |
        sed "s/\\\\\"/\\&quot;/g; s/'/\\&#39;/g")
}

@test "a page that is wrong is found: a link, an anchor, a file, a target, a language, a block without a fence, 151 lines" {
    local change expected
    make_copy "$BATS_TEST_TMPDIR/copy"
    while IFS='|' read -r change expected; do
        cp "$BATS_TEST_DIRNAME/../README.md" "$ROOT/README.md"
        printf '%b\n' "$change" >>"$ROOT/README.md"
        run docs check "$ROOT"
        expect_equal "README.md: $expected" "$output" "$change"
    done <<'CASES'
[x](docs/nothing.md)|docs/nothing.md: there is no such file
[x](docs/host.md#nothing)|docs/host.md#nothing: that page has no such heading
See `tests/nothing.bats`.|tests/nothing.bats: there is no such file
`make nothing`|make nothing: there is no such target
```perl\n1;\n```|a block of "perl"; a test knows sh, console, c, nginx, text
\n    ls|an indented block, of which no test knows what it is; fence it with ```
CASES
    cp "$BATS_TEST_DIRNAME/../README.md" "$ROOT/README.md"
    yes '' | head -n 100 >>"$ROOT/README.md"
    run docs check "$ROOT"
    expect_match '^README.md: 2[0-9]{2} lines; at most 150' "$output"
    sed -i 's|^sample |simple |' "$ROOT/README.md"
    run docs check "$ROOT"
    expect_match 'the layout has simple, which is not there' "$output"
}

@test "a command that fails, or shows another answer than the page, fails its page, with the line" {
    local page=$BATS_TEST_TMPDIR/page.md
    export OUTPUT=$BATS_TEST_TMPDIR/output
    # shellcheck disable=SC2016 # Markdown's
    printf '```sh\ntrue\n```\n\n```sh\nfalse\n```\n' >"$page"
    run bash <(docs script "$page")
    expect_status 1
    expect_match '^page.md:6: a command failed: false' "$output"
    # shellcheck disable=SC2016
    printf '```console\n$ echo a\na\n$ echo b\nc\n```\n' >"$page"
    run bash <(docs script "$page")
    expect_status 1
    expect_match 'page.md:2.*the page shows: c.*it printed: +b' "${output//$'\n'/ }"
}
