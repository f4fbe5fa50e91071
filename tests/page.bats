#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# The page at /: who gets it, what it is sent with, and how it works in a browser (page/page.py).
# needs: browser

load lib/helpers
load lib/stack

STACK_NOISE=$NOISE_OF_KILLED # the last test's
BROWSER=$BUILD_DIR/browser/bin/python # with what page/requirements.txt names

setup_file() {
    start_stack "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    end_stack
}

# need_browser : in the test itself: neither a subshell nor `run` can skip
need_browser() {
    [[ -z ${SANITIZE:-} ]] || skip "the page is the same in the usual build"
    [[ -x $BROWSER ]] || skip "what tests/page/requirements.txt names could not be installed"
}

# check NAME : in a browser
check() {
    "$BROWSER" "$BATS_TEST_DIRNAME/page/page.py" "$1" "$URL" 3>&-
}

@test "GET / is the page for who would rather have HTML than text, and text for all others, with Vary: Accept" {
    local accept type
    while IFS=$'\t' read -r accept type; do
        [[ -n $accept ]] || continue
        [[ $accept != - ]] || accept=
        request GET / -H "Accept:${accept:+ $accept}"
        expect_equal "200 $type; charset=utf-8 Accept" "$code $(header content-type) $(header vary)" "Accept: $accept"
    done < <(grep -v '^#' "$BATS_TEST_DIRNAME/cases/accept.tsv")
    request GET /
    expect_equal text/plain\;\ charset=utf-8 "$(header content-type)" "curl's"
    request HEAD / --head -H 'Accept: text/html'
    expect_equal 'text/html; charset=utf-8' "$(header content-type)" "HEAD"
}

@test "the page and its files are sent with a policy that lets nothing in from elsewhere" {
    local path type
    while read -r path type; do
        request GET "$path" -H 'Accept: text/html'
        expect_reply 200 .
        expect_equal "$type" "$(header content-type)" "$path"
        expect_match "default-src 'none'; script-src 'self'; .*frame-ancestors 'none'" "$(header content-security-policy)" "$path"
        expect_no_match 'unsafe|https?:|\*' "$(header content-security-policy)" "$path"
        expect_equal nosniff "$(header x-content-type-options)" "$path"
        expect_equal "$(wc -c <"$BATS_TEST_TMPDIR/reply.body")" "$(header content-length)" "length of $path"
        request POST "$path" -d x
        expect_problem 405
        expect_equal 'GET, HEAD, OPTIONS' "$(header allow)" "$path"
    done <<'FILES'
/ text/html; charset=utf-8
/page.css text/css; charset=utf-8
/page.js text/javascript; charset=utf-8
/favicon.ico image/svg+xml
FILES
}

@test "the files that app serves are those in the repository, to the last byte" {
    local path
    for path in / page.css page.js openapi.yaml; do
        request GET "/${path#/}" -H 'Accept: text/html'
        cmp -- "$BATS_TEST_TMPDIR/reply.body" "$ROOT/cgi-app/page/${path/#\//index.html}"
    done
}

# post_form BODY [TYPE]
post_form() {
    # shellcheck disable=SC2059 # the format is the form
    printf "$1" >"$BATS_TEST_TMPDIR/form"
    request POST /form --data-binary @"$BATS_TEST_TMPDIR/form" -H "Content-Type: ${2:-text/plain}"
}

@test "the form is answered in plain text; what is no form is refused, and a form at /api, too" {
    local reversed bad
    post_sample
    reversed=$(jq -c .message <<<"$body")
    post_form "message=$(jq -r .message <<<"$SAMPLE_REQUEST")\r\n" 'text/plain; charset=UTF-8'
    expect_reply 200 $'^[^\n]*\n\nNumber: 0\.[0-9]{16}$'
    expect_equal "$reversed" "${body%%$'\n'*}"
    expect_equal 'text/plain; charset=utf-8' "$(header content-type)"
    expect_match "frame-ancestors 'self'; sandbox" "$(header content-security-policy)"
    for bad in '{"message": "a"}' 'messages=a' 'message' ''; do
        post_form "$bad"
        expect_problem 400 'form of the page'
    done
    post_form 'message=a' application/x-www-form-urlencoded
    expect_problem 400 'form of the page'
    post_form 'message=\377\r\n'
    expect_problem 400 'not valid UTF-8'
    post_form 'message=a' 'text/plain; charset=UTF-16'
    expect_problem 415
    post_form 'message=<!--# include virtual="/_health" -->'
    expect_reply 200 '^".*"'
    expect_no_match pass "$body"
    request GET /form
    expect_problem 405
    expect_equal POST "$(header allow)"
    request TRACE /form
    expect_equal "405 POST" "$code $(header allow)"
    post 'message=a' -H 'Content-Type: text/plain'
    expect_problem 400 'a form where JSON is expected'
}

@test "POST /api/timed is /api with the time of each call; /api has no such header" {
    request POST /api/timed -d "$SAMPLE_REQUEST"
    expect_sample
    expect_match '^app;dur=[0-9]+, transform;dur=[0-9]+$' "$(header server-timing)"
    expect_match '.' "$(header x-request-id)"
    request POST /api/timed -d '{'
    expect_problem 400
    request GET /api/timed
    expect_problem 405
    expect_equal POST "$(header allow)"
    post_sample
    expect_equal '' "$(header server-timing)"
}

@test "the programs, the scripts, /_health, openapi.yaml and the package say the version that the file services has" {
    local version name
    version=$(sed -n 's/^# version: //p' "$ROOT/services")
    expect_match '^[0-9]+\.[0-9]+\.[0-9]+$' "$version"
    for name in app transform; do
        expect_match "^cgi-$name $version(, .*)?\$" "$("$BUILD_DIR/cgi-$name" --version)"
    done
    expect_equal "run $version" "$("$ROOT/scripts/run" --version)"
    expect_equal "cgi-message ($version)" "$(sed 's/) .*/)/; q' "$ROOT/debian/changelog")"
    request GET /_health
    expect_equal "$version" "$(jq -r .version <<<"$body")"
    expect_equal "  version: $version" "$(grep '^  version:' "$ROOT/cgi-app/page/openapi.yaml")"
}

@test "in a browser, the answer comes while one types, with its number, the time of each hop, and the id that the log has" {
    need_browser
    run check live
    expect_status 0
    expect_match '^[0-9a-f]{32}$' "$output"
    wait_until 5 grep -q "\"request_id\":\"$output\".*\"uri\":\"/api/timed\"" "$RUN_DIR/log/access.log"
}

@test "in a browser, emoji, text from right to left, line ends and markup come back as the API has them" {
    need_browser
    check texts
}

@test "in a browser, a message that is refused says why, and the next one is answered" {
    need_browser
    check refused
}

@test "in a browser without JavaScript the form works by itself" {
    need_browser
    check form
}

@test "in a browser, axe-core finds nothing, light and dark; the keyboard reaches all; 320 pixels are wide enough" {
    need_browser
    check accessible
}

@test "the page has less than 15 KiB, and all of it comes from this server" {
    need_browser
    check alone
}

@test "in a browser, a 502 is told, and is over by itself once transform answers again" {
    need_browser
    local page
    end_instance transform-blue-1 transform-blue-2
    check failing >"$BATS_TEST_TMPDIR/said" &
    page=$!
    wait_until 20 grep -q . "$BATS_TEST_TMPDIR/said"
    expect_equal shown "$(<"$BATS_TEST_TMPDIR/said")"
    rm -f "$RUN_DIR"/transform-blue-1.sock
    start_service transform "$RUN_DIR/transform-blue-1.sock"
    wait "$page"
    end_services
}
