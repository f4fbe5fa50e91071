#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# cgi-message status on a host, with systemd and without it.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

# expect_host_status : it tells of every instance and nginx; of app-1 that it is silent when its worker is frozen
expect_host_status() {
    local pid
    pid=$(worker_of app-1)
    expect_match 'cgi_server_up\{service="app",server="app-1"\} 1' "$(on_host cgi-message status --prometheus)"
    on_host cgi-message status --json >"$BATS_TEST_TMPDIR/status"
    jq -e 'map(.name) == ["app-1", "app-2", "transform-1", "transform-2", "nginx"]' "$BATS_TEST_TMPDIR/status"
    jq -e '([.[] | select(.service == "cgi-app") | .requests] | add) >= 1' "$BATS_TEST_TMPDIR/status"
    run --separate-stderr on_host cgi-message status
    expect_status 0
    expect_match "^app-1 +serving +blue +100 +$pid +[0-9ms]+ +[0-9.]+M +0/1 " "${lines[1]}"
    expect_match "^nginx +serving +- +- +$(on_host cat /run/nginx.pid) " "${lines[5]}"
    on_host sh -c 'kill -STOP "$0"' "$pid"
    run --separate-stderr on_host cgi-message status
    on_host sh -c 'kill -CONT "$0"' "$pid"
    expect_status 1
    expect_match '^app-1 +silent +blue +100 +- ' "${lines[1]}"
    expect_equal 'cgi-message 660' "$(on_host stat -c '%U %a' /run/cgi-message/app-1/status)"
}

@test "no systemd: status tells how each instance and nginx fare, for root alone" {
    host plain
    expect_host_status
    run on_host setpriv --reuid nobody --clear-groups cgi-message status
    expect_status 1
    expect_equal 'cgi-message: status is for root' "$output"
}

@test "systemd: status tells how each instance and nginx fare" {
    host systemd
    expect_host_status
}
