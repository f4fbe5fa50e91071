#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# The Debian package: what comes of `make deb`. The files beside this one install it.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/host
load ../lib/hardening

setup() {
    need_usual_build
    need_package
}

@test "make deb: a package, and nothing else, comes of it" {
    expect_equal "$(<"$HOSTS/before")" "$(<"$HOSTS/after")"
    expect_equal cgi-message "$(dpkg-deb -f "$HOSTS/packages/first.deb" Package)"
}

# lintian leaves files in TMPDIR.
@test "lintian reports no error and no warning, of source and package" {
    run env TMPDIR="$BATS_TEST_TMPDIR" lintian --allow-root --fail-on error,warning "$HOSTS"/deb/cgi-message_*.changes
    expect_equal '' "$output"
    expect_status 0
}

@test "the package's programs and modules are built as hard as make's" {
    dpkg-deb -x "$HOSTS/packages/first.deb" "$BATS_TEST_TMPDIR/first"
    cd "$BATS_TEST_TMPDIR/first"
    expect_hard usr/sbin/cgi-{app,transform} usr/lib/nginx/modules/ngx_http_{compose,drain,metrics}_module.so
}
