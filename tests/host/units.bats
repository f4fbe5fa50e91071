#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# The package on a host that a real systemd has booted: its units, and the sandbox they are in.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

@test "installed, all instances run; with the site turned on, /api answers" {
    host systemd-bare
    host_installs /packages/first.deb
    expect_units_run
    begin_serving
}

@test "after a reboot, too" {
    host systemd
    reboot_host
    expect_units_run
}

@test "a worker has no capability, no way to new ones, a filter of system calls, a network and users of its own" {
    host systemd
    local pid status name
    for name in app-1 transform-2; do
        pid=$(worker_of "$name")
        expect_equal "cgi-${name%-*}" "$(on_host cat "/proc/$pid/comm")"
        status=$(on_host cat "/proc/$pid/status")
        expect_match $'NoNewPrivs:\t1\nSeccomp:\t2' "$status"
        for set in Prm Eff Bnd Amb; do expect_match "Cap$set:"$'\t'"0+"$'\n' "$status"; done
        for set in net user ipc mnt; do
            [[ $(on_host readlink "/proc/1/ns/$set") != "$(on_host readlink "/proc/$pid/ns/$set")" ]]
        done
        expect_equal "$(on_host id -u cgi-message)" "$(on_host stat -c %u "/proc/$pid")"
    done
}

@test "a worker sees nothing that it could write to but its own folder and a /tmp of its own" {
    host systemd
    run on_host nsenter -m -t "$(worker_of app-1)" sh -c 'touch /usr/x; touch /etc/x; touch /var/x; touch /run/x'
    expect_equal 4 "$(grep -c 'Read-only file system' <<<"$output")" "$output"
    on_host nsenter -m -t "$(worker_of app-1)" sh -c 'touch /run/cgi-message/app-1/x && rm /run/cgi-message/app-1/x'
}

@test "nothing that a service does is refused by its sandbox: no warning, and it runs as SCHED_BATCH" {
    host systemd
    local lines policies
    on_host curl -s -o /dev/null --data-binary @/usr/bin/bash http://127.0.0.1:8080/api
    lines=$(on_host journalctl -b --no-pager -o cat -u 'cgi-*' | grep '^{')
    expect_match '"message":"serving with' "$lines"
    expect_no_match '"level":"(warning|error)"' "$lines"
    policies=$(on_host sh -c 'for t in /proc/$0/task/*; do cut -d" " -f41 $t/stat; done' "$(worker_of app-1)" | sort)
    expect_equal $'0\n0\n3' "$policies" "of the dispatcher's thread, the status's, and the worker's"
}

# expect_all_replaced COMMAND... : after it, no unit is the same process
expect_all_replaced() {
    local before
    before=$(on_host systemctl show -p MainPID 'cgi-*.service')
    "$@"
    expect_equal '' "$(comm -12 <(grep '=[1-9]' <<<"$before" | sort) <(on_host systemctl show -p MainPID 'cgi-*.service' | sort))"
}

@test "each unit restarted in turn under 64 clients: no call fails; so with cgi-message restart" {
    host systemd
    expect_all_replaced expect_no_loss_to_64 on_host sh -c \
        'for unit in cgi-app@1 cgi-app@2 cgi-transform@1 cgi-transform@2; do systemctl restart "$unit"; done'
    expect_all_replaced expect_no_loss_to_64 on_host cgi-message restart
}

@test "a unit has not started before its service answers" {
    host systemd
    on_host mkdir -p /run/systemd/system/cgi-app@2.service.d
    on_host sh -c 'printf "[Service]\nExecStart=\nExecStart=sleep 1000\nTimeoutStartSec=1\nRestart=no\n" \
        >/run/systemd/system/cgi-app@2.service.d/silent.conf && systemctl daemon-reload'
    run on_host cgi-message restart
    expect_status 1
    expect_match '^cgi-message: app-2 does not restart: [^'$'\n'']* See journalctl -u cgi-app@2.service$' "$output"
    run on_host cgi-message start
    on_host sh -c 'rm -r /run/systemd/system/cgi-app@2.service.d && systemctl daemon-reload'
    expect_status 1
    expect_equal 'cgi-message: app-2 does not answer; see journalctl -u cgi-app@2.service' "$output"
    expect_equal active "$(on_host systemctl is-active cgi-app@1)"
    on_host systemctl start cgi-app@2
}

@test "what would not start again is not taken down: restart tries another instance first, and names the reason" {
    host systemd
    local before
    before=$(on_host systemctl show -p MainPID 'cgi-*.service')
    on_host mkdir -p /run/systemd/system/cgi-transform@.service.d
    on_host sh -c 'printf "[Service]\nExecStart=\nExecStart=false\n" >/run/systemd/system/cgi-transform@.service.d/ends.conf &&
        systemctl daemon-reload'
    run on_host cgi-message restart
    on_host sh -c 'rm -r /run/systemd/system/cgi-transform@.service.d && systemctl daemon-reload'
    expect_status 1
    expect_match '^cgi-message: another transform does not start: [^'$'\n'']*; see journalctl -u cgi-transform@0.service; nothing has changed$' "$output"
    expect_equal "$before" "$(on_host systemctl show -p MainPID 'cgi-*.service')"
    expect_units_run
}

# systemd_reads LINE : what a unit has of the settings, with this line in its EnvironmentFile
systemd_reads() {
    # shellcheck disable=SC2059 # the line is a format
    printf "${1//%/%%}\n" | on_host_stdin sh -c 'cat >/tmp/file'
    on_host systemctl start reads
    on_host grep -E '^(THREADS|PIN_ADDRESSES|METRICS_LISTEN|CORS_ORIGIN|TLS_CERT)=' /run/read || true
}

@test "what cgi-message takes of the settings file, systemd reads as it does" {
    host systemd
    local line wanted
    on_host sh -c 'printf "[Service]\nType=oneshot\nEnvironmentFile=/tmp/file\nExecStart=/bin/sh -c \"env >/run/read\"\n" \
        >/run/systemd/system/reads.service && systemctl daemon-reload'
    while IFS=$'\t' read -r line wanted <&5; do
        [[ -n $wanted && $wanted != refused ]] || continue
        expect_equal "${wanted/#-/}" "$(systemd_reads "$line")" "of: $line"
    done 5< <(sed '1,2d' "$ROOT/tests/cases/settings-file.tsv")
}

# is_replaced INSTANCE OLD-PID
is_replaced() {
    local now
    now=$(worker_of "$1") && [[ -n $now && $now != "$2" ]]
}

@test "a worker that dies is replaced under the same unit, socket and supervisor" {
    host systemd
    local before main
    before=$(worker_of transform-1) main=$(on_host systemctl show -p MainPID cgi-transform@1)
    on_host sh -c 'kill -KILL "$0"' "$before"
    wait_until 10 is_replaced transform-1 "$before"
    expect_equal "$main" "$(on_host systemctl show -p MainPID cgi-transform@1)"
    host_answers
}

@test "a unit whose supervisor is killed comes back, and nothing of it is left" {
    host systemd
    local worker
    worker=$(worker_of transform-1)
    on_host sh -c 'kill -KILL "$0"' "$(supervisor_of transform-1)"
    wait_until 10 is_replaced transform-1 "$worker"
    on_host sh -c '! kill -0 "$0" 2>/dev/null' "$worker"
    wait_until 10 host_answers
    on_host cgi-message status
}

@test "a bad setting fails the one unit that is restarted, with a line in the journal; the others go on" {
    host systemd
    set_setting 'LOG_LEVEL=loud'
    run on_host systemctl restart cgi-app@1
    ((status != 0))
    expect_match 'LOG_LEVEL is "loud"' "$(on_host journalctl -b --no-pager -o cat -u cgi-app@1 | tail -n 50)"
    host_answers
    run on_host cgi-message restart # asks no unit
    expect_status 1
    expect_match '^cgi-app: LOG_LEVEL is "loud"[^'$'\n'']*$' "$output"
    expect_equal active "$(on_host systemctl is-active cgi-app@2)"
    set_setting
    on_host systemctl reset-failed cgi-app@1
    on_host systemctl start cgi-app@1
}

@test "stop ends all, start brings all back" {
    host systemd
    on_host cgi-message stop
    expect_equal inactive "$(on_host systemctl is-active cgi-app@1 || true)"
    on_host cgi-message start
    wait_until 10 host_answers
}
