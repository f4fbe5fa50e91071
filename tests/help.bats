#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # run --separate-stderr sets stderr
# What the programs and scripts say of themselves: --help, --version, and what bash completes.

bats_require_minimum_version 1.5.0
load lib/helpers

# scripts : all that an operator types, by name. What runs in containers only is not among them.
scripts() {
    find "$ROOT/scripts" -maxdepth 1 -type f ! -name container ! -name serve ! -name ask-health -printf '%f\n' | sort
}

@test "--help of each script and program begins with its usage, and has at most 80 columns" {
    local file long count=0
    for file in "$ROOT"/scripts/* "$BUILD_DIR"/cgi-{app,transform}; do
        [[ -f $file ]] || continue
        run --separate-stderr "$file" --help </dev/null
        expect_status 0
        expect_equal '' "$stderr" "standard error of ${file##*/}"
        expect_match "^usage: .*${file##*/}" "${lines[0]}"
        long=$(awk 'length > 80' <<<"$output")
        expect_equal '' "$long" "longer lines of ${file##*/}"
        count=$((count + 1))
    done
    ((count > 20))
}

@test "--help of a script lists its options: -h and -V once, and none is lost when lines are filled" {
    local name
    for name in $(scripts); do
        run "$ROOT/scripts/$name" -h
        expect_equal 1 "$(grep -c -- '-h, --help     *this text' <<<"$output")" "-h of $name"
        expect_equal 1 "$(grep -c -- '-V, --version  *which version' <<<"$output")" "-V of $name"
    done
    run "$ROOT/scripts/run" --help
    expect_match $'\n  HTTP_PORT  +8080  +[a-z]' "$output"
}

@test "--version of each script and program is the one in the file services" {
    local name version
    version=$(sed -n 's/^# version: //p' "$ROOT/services")
    expect_match '^[0-9]+\.[0-9]+\.[0-9]+$' "$version"
    for name in $(scripts); do
        expect_equal "$name $version" "$("$ROOT/scripts/$name" --version)"
        expect_equal "$name $version" "$("$ROOT/scripts/$name" -V)"
    done
    for name in cgi-app cgi-transform; do
        expect_match "^$name $version(, .*)?\$" "$("$BUILD_DIR/$name" --version)"
        expect_equal "$("$BUILD_DIR/$name" --version)" "$("$BUILD_DIR/$name" -V)"
    done
}

# completed LINE : what bash offers for the last word of it
completed() {
    (
        cd "$ROOT" && source scripts/lib/completion.sh
        local words
        read -ra words <<<"$1"
        [[ $1 != *' ' ]] || words+=('')
        complete -p "${words[0]}" >/dev/null
        cgi_complete "${words[0]}" "${words[-1]}" "${words[-2]}"
        printf '%s\n' "${COMPREPLY[@]}" | paste -sd ' '
    )
}

@test "bash completes options, services, colours and test files" {
    expect_equal '--json' "$(completed './scripts/status --j')"
    expect_equal '--detach' "$(completed 'scripts/run --d')"
    expect_equal 'app' "$(completed './scripts/route a')"
    expect_equal 'blue green' "$(completed './scripts/route app ' | sed 's/--[a-z]* *//g')"
    expect_equal 'nginx' "$(completed './scripts/logs n')"
    expect_equal 'tests/openapi.bats tests/openapi/' "$(completed './scripts/test tests/openapi')"
    expect_equal '' "$(completed './scripts/status x')"
}

@test "what a person waits for is said on a terminal, and nowhere else" {
    local shown='set -eu; source scripts/lib/words.sh; note "one moment"'
    cd "$ROOT"
    run bash -c "$shown"
    expect_status 0
    expect_equal '' "$output"
    run script -qec "bash -c '$shown'" /dev/null
    expect_equal $'bash: one moment\r' "$output"
}
