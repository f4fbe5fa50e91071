#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# systemd's units, as systemd-analyze sees them. units.bats starts them under a real systemd.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/host

EXPOSURE=5 # tenths; 2.0 counts as safe, no sandbox at all as 9.6

setup_file() {
    [[ -z ${SANITIZE:-} ]] || return 0
    # Not in a DESTDIR: verify wants to find what a unit starts.
    export PREFIX=$BATS_FILE_TMPDIR/usr
    make_install install PREFIX="$PREFIX" SYSCONFDIR="$BATS_FILE_TMPDIR/etc"
}

setup() {
    need_usual_build
    units=$PREFIX/lib/systemd/system
}

@test "systemd-analyze verify has nothing against the units and the target" {
    run systemd-analyze verify --man=no "$units"/cgi-{app@.service,transform@.service,message.target}
    expect_status 0
    expect_equal '' "$output"
}

@test "the exposure of each unit is at most 0.5" {
    local unit
    for unit in app app-green transform transform-green; do
        run systemd-analyze security --no-pager --offline=true --threshold="$EXPOSURE" "$units/cgi-$unit@.service"
        expect_status 0
        echo "# cgi-$unit@: $(grep -o 'level for.*' <<<"$output")" >&3
    done
}

@test "systemd-analyze does complain of a unit without its sandbox" {
    sed -E '/^(Private|Protect|Restrict|SystemCall|Capability)/d' "$units/cgi-app@.service" >"$BATS_TEST_TMPDIR/cgi-app@.service"
    run systemd-analyze security --no-pager --offline=true --threshold="$EXPOSURE" "$BATS_TEST_TMPDIR/cgi-app@.service"
    ((status != 0))
}
