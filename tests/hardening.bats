#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# Built hard: what the Makefile's flags have left in programs, objects and nginx's modules, and what they do at run time.
# sanitizers: none

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/hardening

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "sanitizers take the place of these checks"
    ulimit -c 0
}

# objects_of_ours : those of the programs, and of nginx's modules, one a line
objects_of_ours() {
    (cd "$ROOT" && find cgi-* nginx -name '*.c') | sed -E -e "s,^cgi-.*,$BUILD_DIR/obj/&," \
        -e "s,^nginx/,$BUILD_DIR/nginx/objs/addon/," -e 's/c$/o/'
}

@test "programs and modules: PIE, full RELRO, no executable stack, stack protector, fortified, marked for control flow" {
    expect_hard "$BUILD_DIR/cgi-app" "$BUILD_DIR/cgi-transform" \
        "$BUILD_DIR"/ngx_http_{accept,admission,compose,drain,logpipe,metrics}_module.so
}

# The programs bear no such note: it takes every object, and Debian 12's C library and libfcgi.a have none.
@test "every object of ours is marked for the processor's control flow protection" {
    local feature object
    case $(uname -m) in
    x86_64) feature='x86 feature: IBT, SHSTK' ;;
    aarch64) feature='AArch64 feature: BTI, PAC' ;;
    *) skip "no such protection is known for this processor" ;;
    esac
    while read -r object; do
        expect_match "$feature" "$(readelf -nW "$object")" "${object#"$BUILD_DIR"/}"
    done < <(objects_of_ours)
}

@test "no object of ours calls a function of printf's family other than through its fortified twin" {
    local object
    while read -r object; do
        expect_no_match ' U v?f?s?n?printf'$'(\n|$)' "$(nm -u "$object")" "${object#"$BUILD_DIR"/}"
    done < <(objects_of_ours)
}

@test "every compilation unit was built with the stack protector, against stack clashes and for control flow" {
    local units
    units=$(readelf --debug-dump=info "$BUILD_DIR/cgi-app" "$BUILD_DIR/cgi-transform" "$BUILD_DIR"/*.so 2>/dev/null |
        grep 'DW_AT_producer.*: GNU C') || skip "built without -g, or not by gcc: nothing says with which flags"
    expect_equal '' "$(grep -v -e '-fstack-clash-protection' <<<"$units")"
    expect_equal '' "$(grep -v -e '-fstack-protector-strong' <<<"$units")"
    expect_equal '' "$(grep -v -e '-fcf-protection=full' -e '-mbranch-protection=standard' <<<"$units")"
}

# commit MISDEED
commit() {
    run "$BUILD_DIR/tests/hardening" "$1"
    expect_no_match survived "$output"
}

@test "a write behind memory whose size is known at run time only ends the program: _FORTIFY_SOURCE is 3" {
    commit overflow-heap
    expect_match 'buffer overflow detected' "$output"
    expect_status 134
}

@test "a write behind an array on the stack ends the program" {
    commit overflow-stack
    expect_match 'stack smashing detected' "$output"
    expect_status 134
}

@test "a frame larger than the guard below the stack ends the program, instead of lying in other memory" {
    commit jump-guard
    expect_status 139
}
