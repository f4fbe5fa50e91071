#!/usr/bin/env bats
# shellcheck shell=bats
# nginx's modules compile, without a warning, for the nginx of each release of Debian that can be had.

load ../lib/helpers
load ../lib/debian

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "the usual build is what is compiled elsewhere"
}

# expect_modules RELEASE : each module comes of its nginx-dev, which is of another nginx than the one that is installed
expect_modules() {
    local folder=$BATS_TEST_TMPDIR/nginx source module
    unpack_debian "$1" nginx-dev "$folder" 2>"$BATS_TEST_TMPDIR/apt" || skip "nginx-dev of $1 cannot be had: $(tail -n 1 "$BATS_TEST_TMPDIR/apt")"
    source=$folder/usr/share/nginx/src
    echo "nginx $(sed -n 's/^#define NGINX_VERSION *//p' "$source/src/core/nginx.h")" >&3
    run make -s -C "$ROOT" BUILD="$BATS_TEST_TMPDIR/build" NGINX_SOURCE="$source" CFLAGS=-O1 WERROR=-Werror nginx-modules
    expect_status 0 || return
    for module in "$ROOT"/nginx/*/config; do
        module=$(basename "${module%/config}")
        [[ -s $BATS_TEST_TMPDIR/build/ngx_http_${module}_module.so ]] || { echo "there is no module $module" >&2 && return 1; }
    done
}

@test "nginx's modules compile for the nginx of Debian 13" {
    expect_modules trixie
}

@test "nginx's modules compile for the nginx of Debian 14" {
    expect_modules forky
}

@test "HTTP/2 is an option of listen up to nginx 1.25.0, and a directive from 1.25.1 on" {
    local version
    # shellcheck source=scripts/lib/nginx.sh
    source "$ROOT/scripts/lib/nginx.sh"
    BIND=127.0.0.1
    say() { echo "$*"; }
    nginx() { echo "nginx version: nginx/$version" >&2; }
    for version in 0.8.54 1.9.5 1.22.1 1.25.0; do
        expect_equal 'listen 127.0.0.1:8443 ssl http2 proxy_protocol backlog=4096; ' "$(tls_lines 8443 proxy_protocol)" "$version"
    done
    for version in 1.25.1 1.26.3 1.30.0 2.0.0 '1.31.2 (Debian)'; do
        expect_equal 'listen 127.0.0.1:8443 ssl backlog=4096; http2 on;' "$(tls_lines 8443)" "$version"
    done
}
