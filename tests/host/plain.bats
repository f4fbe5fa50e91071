#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# The package on a host without systemd, beside a running nginx: cgi-message starts and ends the instances itself.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

@test "installed beside a running nginx, the site turned on, started: /api answers, the other site too" {
    host plain-bare
    host_installs /packages/first.deb
    begin_serving
    host_answers_at https://127.0.0.1:8443
    on_host curl -s http://127.0.0.1/ | grep 'Welcome to nginx'
}

@test "the services run as their own user, and nobody else but nginx's reaches them" {
    host plain
    expect_equal 'cgi-message 660' "$(on_host stat -c '%U %a' /run/cgi-message/app-1/socket)"
    expect_equal 'cgi-message 750' "$(on_host stat -c '%U %a' /run/cgi-message/app-1)"
    local pid
    pid=$(supervisor_of app-1)
    expect_equal "$(on_host id -u cgi-message)" "$(on_host stat -c %u "/proc/$pid")"
    expect_equal 'root adm 640' "$(on_host stat -c '%U %G %a' /var/log/cgi-message/app-1.log)"
    run on_host setpriv --reuid nobody --clear-groups ls /run/cgi-message/app-1
    expect_match 'Permission denied' "$output"
}

@test "another number of instances, with no call lost" {
    host plain
    set_setting 'APP_INSTANCES=3'
    expect_no_loss on_host sh -c 'cgi-message configure && cgi-message restart && nginx -s reload 2>/dev/null'
    on_host test -S /run/cgi-message/app-3/socket
    set_setting
    expect_no_loss on_host sh -c 'cgi-message configure && nginx -s reload 2>/dev/null && cgi-message restart'
    run on_host ls /run/cgi-message/app-3
    ((status != 0))
}

@test "a service that would not answer ends a restart before an instance is taken down" {
    host plain
    local before
    before=$(supervisor_of app-1)-$(supervisor_of app-2)
    # It passes the check of the settings, and then is silent.
    on_host sh -c 'mv /usr/sbin/cgi-app /usr/sbin/cgi-app.kept
        printf "#!/bin/sh\n[ \"\$1\" = -t ] || exec sleep 1000\n" >/usr/sbin/cgi-app && chmod 0755 /usr/sbin/cgi-app'
    run on_host cgi-message restart
    on_host mv /usr/sbin/cgi-app.kept /usr/sbin/cgi-app
    expect_status 1
    expect_match '^cgi-message: another app does not answer; /var/log/cgi-message/app-0.log says: [^'$'\n'']*; nothing has changed$' "$output"
    expect_equal "$before" "$(supervisor_of app-1)-$(supervisor_of app-2)"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-0* 2>/dev/null' || true)"
    on_host cgi-message restart
    host_answers
}

@test "restart under 64 clients: no call fails; each may open as many files as before" {
    host plain
    local most
    expect_no_loss_to_64 on_host sh -c 'ulimit -Sn 256; cgi-message restart'
    most=$(on_host sh -c 'ulimit -Hn')
    expect_match "^Max open files +$((most < 65536 ? most : 65536)) " \
        "$(on_host grep 'open files' "/proc/$(worker_of app-1)/limits")"
}

# is_begun NAME : start-stop-daemon has given it a pid
is_begun() {
    on_host test -s "/run/cgi-message/$1.pid"
}

@test "a start that is interrupted in its first moment, before multiwatch has the pid, leaves no process" {
    host plain
    on_host sh -c 'printf "#!/bin/sh\nsleep 2\nexec /usr/bin/spawn-fcgi \"\$@\"\n" >/usr/local/bin/spawn-fcgi &&
        chmod 0755 /usr/local/bin/spawn-fcgi'
    on_host sh -c 'cgi-message start app green /packages/cgi-app & echo $! >/tmp/starting; wait $!' \
        >"$BATS_TEST_TMPDIR/said" 2>&1 &
    wait_until 10 is_begun app-green-2
    on_host sh -c 'kill "$(cat /tmp/starting)"'
    wait $! || true
    expect_equal 'cgi-message: interrupted; nothing has changed' "$(<"$BATS_TEST_TMPDIR/said")"
    expect_equal '' "$(on_host pgrep -fa '/app-green[-]' || true)" "processes of green"
    host_answers
}

@test "without its user it does not start, and says so in one line; an upgrade does not start what was stopped" {
    host plain
    local before
    # While it runs: what runs goes on.
    before=$(supervisor_of app-1)
    on_host sh -c 'cp /etc/passwd /tmp/passwd && sed -i /^cgi-message:/d /etc/passwd'
    refuse 1 'there is no user cgi-message; make it: ' cgi-message restart
    on_host sh -c 'cat /tmp/passwd >/etc/passwd'
    expect_equal "$before" "$(supervisor_of app-1)"
    host_answers
    on_host cgi-message stop
    on_host userdel cgi-message
    refuse 1 'there is no user cgi-message; make it: ' cgi-message start
    host_installs --reinstall /packages/first.deb
    expect_equal '' "$(on_host ls -A /run/cgi-message)"
    on_host cgi-message start
    on_host nginx -s reload
    wait_until 10 host_answers
}

@test "a worker whose supervisor was killed is orphaned; start brings the instance back, stop leaves nothing of it" {
    host plain
    local worker
    worker=$(worker_of app-1)
    on_host sh -c 'kill -KILL "$0"' "$(supervisor_of app-1)"
    run on_host cgi-message status
    expect_status 1
    expect_match $'\n''app-1 +orphaned ' "$output"
    expect_no_loss on_host cgi-message start
    on_host sh -c '! kill -0 "$0" 2>/dev/null' "$worker"
    on_host cgi-message status
    worker=$(worker_of app-1)
    on_host sh -c 'kill -KILL "$0"' "$(supervisor_of app-1)"
    on_host cgi-message stop
    on_host sh -c '! kill -0 "$0" 2>/dev/null' "$worker"
}

# calls_while COMMAND... : the statuses of calls made one after the other meanwhile, each once; 000: nginx took no connection
calls_while() {
    on_host rm -f /tmp/stop
    on_host sh -c 'until [ -e /tmp/stop ]; do
        curl -s -o /dev/null -w "%{http_code}\n" --max-time 9 -d "{\"message\": \"x\"}" http://127.0.0.1:8080/api; done' \
        >"$BATS_TEST_TMPDIR/codes" &
    wait_until 10 test -s "$BATS_TEST_TMPDIR/codes"
    "$@" >/dev/null
    wait_until 10 host_answers
    on_host touch /tmp/stop
    wait $! || true
    sort -u "$BATS_TEST_TMPDIR/codes" | xargs
}

@test "somebody else restarts nginx: no call fails but those that it does not take meanwhile, and no instance is another" {
    host plain
    local before
    before=$(supervisor_of app-1)-$(supervisor_of transform-2)
    expect_match '^(000 )?200$' "$(calls_while on_host service nginx restart)"
    expect_equal "$before" "$(supervisor_of app-1)-$(supervisor_of transform-2)"
    on_host cgi-message status
}
