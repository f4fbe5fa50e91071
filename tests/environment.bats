#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What the caller's environment holds for other programs changes nothing: proxies, rc files, shell options, functions, locale,
# umask.
# sanitizers: none

load lib/helpers
load lib/stack

setup() {
    export RUN_DIR=$BATS_TEST_TMPDIR/r HTTP_PORT HTTPS_PORT
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port)
}

teardown() {
    "$ROOT/scripts/stop" 3>&-
}

# set_traps DIR : the files that tests/cases/environments.tsv names
set_traps() {
    mkdir -p "$1"
    printf 'proxy = http://127.0.0.1:9\nhead\n' >"$1/.curlrc"
    echo 'machine 127.0.0.1 login a password b' >"$1/.netrc"
    echo 'exit 3' >"$1/exit"
    # Where Debian's package locales is: there, ${name,,} makes "ı" of "I".
    [[ ! -e /usr/share/i18n/locales/tr_TR ]] || localedef -i tr_TR -f UTF-8 "$1/tr_TR.UTF-8"
}

# load_cases : one word for env of each line, in CASES
load_cases() {
    local name value
    CASES=()
    while IFS=$'\t' read -r name value; do
        [[ $name == '#'* ]] || CASES+=("$name=${value/DIR/$BATS_TEST_TMPDIR/traps}")
    done <"$ROOT/tests/cases/environments.tsv"
}

# expect_all_work VARIABLE=VALUE... : with these, what an operator types does what it does without them
expect_all_work() {
    local command
    for command in 'run -d' 'status --json' 'route show' "ask-health $RUN_DIR/app-blue-1.sock" 'start app green' \
        'route app blue=50 green=50' 'route app blue' 'stop app green' stop 'generate --check'; do
        # shellcheck disable=SC2086 # a word each
        run env "$@" "$ROOT/scripts/"$command 3>&-
        [[ $status == 0 ]] || { printf 'scripts/%s ended with %s, with %s\n%s\n' "$command" "$status" "$*" "$output" >&2 && return 1; }
        [[ $command != status* ]] || jq -e '.[-1].requests > 0' <<<"$output" >/dev/null || return
    done
    expect_no_match 'emerg' "$(<"$RUN_DIR/log/nginx.log")"
}

@test "proxies, rc files, shell options, functions, a locale: run, status, route, start, stop, ask-health do what they do without" {
    set_traps "$BATS_TEST_TMPDIR/traps"
    load_cases
    expect_all_work "${CASES[@]}"
}

@test "a umask of 077 hinders nothing; with 000 nobody else can write what run makes" {
    (umask 077 && expect_all_work A=B)
    rm -rf "$RUN_DIR"
    (umask 000 && "$ROOT/scripts/run" -d 3>&-)
    expect_equal '' "$(find "$RUN_DIR" -perm /022 ! -type l ! -type s)"
}

# Whoever adds a call has to make it by call_http, or say the same words.
@test "no call of ours by curl looks at a proxy or an rc file: scripts, probes and health checks" {
    local calls
    cd "$ROOT"
    calls=$(git grep -nE '\bcurl\b' -- scripts host nginx '*.yml' Dockerfile ':!scripts/lib/service' | awk '
        /:[0-9]+: *#/ || /curl"?,? "?-q"?,? "?--noproxy/ { next }
        /apt-get|\047curl curl\047|say "/ || /^scripts\/rollout:[0-9]+:(curl\(\)| +docker exec)/ { next } { print }')
    expect_equal '' "$calls"
}

@test "every script of bash begins with bash -p: no function, no option and no file of the caller's" {
    cd "$ROOT"
    expect_equal '' "$(git grep -nE '^#!.*\bbash\b' -- scripts host nginx .ci | grep ':1:' | grep -v ':#!/bin/bash -p$')"
}
