#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# What the package does to a host when a newer one comes, and when it is purged.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

# expect_upgrade : each instance is another process, and no call was lost
expect_upgrade() {
    local before
    before=$(supervisor_of app-1)
    expect_no_loss_to_64 upgrade
    expect_no_loss on_host dpkg --triggers-only --pending
    expect_equal 99 "$(on_host dpkg-query -f '${Version}' -W cgi-message)"
    expect_no_match "^$before$" "$(supervisor_of app-1)"
    expect_equal "$(sha256sum <"$HOSTS/packages/cgi-app" | cut -d ' ' -f 1)" "$(program_of "$(worker_of app-1)")"
}

@test "no systemd: an upgrade restarts each instance and loses no call of 64 clients; its reload of nginx none of one" {
    host plain
    expect_upgrade
    expect_equal 4 "$(on_host sh -c 'grep -l "^multiwatch" /proc/[0-9]*/comm | wc -l')" "supervisors"
}

@test "systemd: an upgrade restarts each instance and loses no call of 64 clients; its reload of nginx none of one" {
    host systemd
    expect_upgrade
}

# add_service : as a newer package would bring one: transform under another name
add_service() {
    on_host sh -c 'cp /usr/sbin/cgi-transform /usr/sbin/cgi-probe
        printf "probe 9002 2 128 128 nginx /probe\n" >>/usr/share/cgi-message/services'
}

@test "no systemd: a service that a newer package brings is all blue, whatever was routed before" {
    host plain
    on_host cgi-message start app green /packages/cgi-app
    on_host cgi-message route app green
    add_service
    on_host cgi-message configure
    on_host cgi-message restart
    on_host nginx -s reload
    expect_match 'probe-blue +2 instances +100 of 100' "$(on_host cgi-message route)"
    expect_match 'app-green +2 instances +100 of 100' "$(on_host cgi-message route)"
    expect_match '^probe-2 +serving +blue +100 ' "$(on_host cgi-message status | grep ^probe-2)"
    # Two sockets for requests and two for their status; a line more for each, as a backup, is no other instance.
    expect_equal 4 "$(on_host grep -oE '/run/cgi-message/probe-[^; ]+' /var/lib/cgi-message/nginx/each/probe/upstreams.conf | sort -u | wc -l)"
    wait_until 10 host_answers
}

# live : all that a host does in its life, so that each file that it ever writes is there
live() {
    host_installs /packages/first.deb
    begin_serving
    on_host cgi-message start app green /packages/cgi-app
    on_host cgi-message route app blue=90 green=10
    wait_until 10 host_answers
    upgrade
    on_host dpkg --triggers-only --pending
    on_host cgi-message restart
}

@test "no systemd: purge stops it, takes all away that it ever wrote, and nginx goes on" {
    host plain-bare
    files_of_host >"$BATS_TEST_TMPDIR/before"
    live
    on_host logrotate -s /tmp/rotated -f /etc/logrotate.d/cgi-message
    on_host apt-get purge -y --autoremove cgi-message >"$BATS_TEST_TMPDIR/apt" 2>&1
    run diff "$BATS_TEST_TMPDIR/before" <(files_of_host)
    expect_equal '' "$output" "files before and after"
    run on_host getent passwd cgi-message
    expect_status 2
    run on_host getent group cgi-message
    expect_status 2
    expect_equal '' "$(on_host sh -c 'grep -lE "^(cgi-|multiwatch)" /proc/[0-9]*/comm' || true)"
    on_host nginx -t -q
    on_host curl -s http://127.0.0.1/ | grep 'Welcome to nginx'
}

@test "systemd: purge leaves no unit, no process and no user, and nginx goes on" {
    host systemd-bare
    live
    on_host apt-get purge -y --autoremove cgi-message >"$BATS_TEST_TMPDIR/apt" 2>&1
    expect_equal '' "$(on_host systemctl list-units --all --plain --no-legend 'cgi-*')"
    expect_equal '' "$(on_host sh -c 'find / /run -xdev \( -name "cgi-*" -o -name "*compose*" \) -not -path "/var/lib/dpkg/*" \
        -not -path "/packages/*"')"
    run on_host getent passwd cgi-message
    expect_status 2
    expect_equal active "$(on_host systemctl is-active nginx)"
    on_host nginx -t -q
}
