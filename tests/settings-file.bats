#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# The settings file of a host, which cgi-message and systemd both read (host/settings-file.sh).

load lib/helpers

# settings_of FILE : what cgi-message reads there, a line each
settings_of() {
    # shellcheck disable=SC2016 # for that shell
    bash -c 'set -euo pipefail; source "$1/scripts/lib/words.sh"; for part in scripts/lib/{services,settings} host/settings-file; do
        source "$1/$part.sh"; done; unset "${SETTING_NAMES[@]}"; read_settings "$2"
        for name in "${SETTING_NAMES[@]}"; do [[ ! -v $name ]] || echo "$name=${!name}"; done' x "$ROOT" "$1"
}

# expect_case LINE WANTED : of settings-file.tsv
expect_case() {
    # shellcheck disable=SC2059 # the line is a format
    printf "${1//%/%%}\n" >"$BATS_TEST_TMPDIR/file"
    run settings_of "$BATS_TEST_TMPDIR/file"
    if [[ $2 == refused ]]; then
        expect_status 1 || return
        expect_equal 1 "${#lines[@]}" lines || return
        expect_match 'line 1 of .*/file is .*, which systemd may read in another way' "$output"
    else
        expect_status 0 || return
        expect_equal "${2/#-/}" "$output"
    fi
}

@test "what a shell and systemd may read differently is refused by one line that names it; all else is what both read" {
    local line wanted
    while IFS=$'\t' read -r line wanted; do
        [[ -n $wanted ]] || continue
        expect_case "$line" "$wanted" || { echo "of: $line" >&2; return 1; }
    done < <(sed '1,2d' "$ROOT/tests/cases/settings-file.tsv")
}

@test "the file that is installed is read, with each of its settings turned on" {
    settings_of "$ROOT/host/settings"
    sed -E 's/^#([A-Z_]+=)/\1/' "$ROOT/host/settings" >"$BATS_TEST_TMPDIR/all"
    expect_equal "$(grep -cE '^#[A-Z_]+=' "$ROOT/host/settings")" "$(settings_of "$BATS_TEST_TMPDIR/all" | wc -l)"
}

@test "a name that is no setting is refused: a misspelt one would change nothing, PATH and RUN_DIR too much" {
    local name
    for name in TRHEADS PATH RUN_DIR STATUS_SOCKET; do
        printf '\n%s=1' "$name" >"$BATS_TEST_TMPDIR/file"
        run settings_of "$BATS_TEST_TMPDIR/file"
        expect_status 1
        expect_match "line 2 of .* sets $name, which is no setting" "$output"
    done
}
