#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# Another build of a service beside the installed one on a host, with systemd and without it: cgi-message start, route, stop.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

# is_canary TAG COUNT : the access log has so many calls of this tag
is_canary() {
    has_lines "$2" "canary=$1-" /var/log/cgi-message/access.log
}

# canaries TAG [CURL OPTION...] : of 100 calls, each answered with 200, how many were green's; the TAG is for the log
canaries() {
    on_host sh -c 'tag=$0; curl -s -Z --parallel-max 4 --no-progress-meter -o /dev/null -w "%{http_code}\n" \
        -d "{\"message\": \"x\"}" "$@" "http://127.0.0.1:8080/api?canary=$tag-[1-100]"' "$@" >"$BATS_TEST_TMPDIR/codes"
    expect_equal '100 200' "$(sort "$BATS_TEST_TMPDIR/codes" | uniq -c | xargs)" "statuses" || return
    wait_until 10 is_canary "$1" 100 || return
    on_host sh -c 'grep "canary=$0-" /var/log/cgi-message/access.log | grep -c /run/cgi-message/app-green- || true' "$1"
}

begin_canary() {
    on_host cgi-message route app blue=90 green=10
    on_host cgi-message route app blue=50 green=50
    on_host cgi-message route app green
}

end_canary() {
    upgrade
    on_host cgi-message route app blue
    on_host cgi-message stop app green
}

# expect_canary : a build beside the package's gets what was asked for, until the package brings the same
expect_canary() {
    local new old hash='[0-9a-f]{12}'
    new=$(sha256sum <"$HOSTS/packages/cgi-app" | cut -d ' ' -f 1)
    on_host cgi-message start app green /packages/cgi-app
    expect_equal "$new" "$(program_of "$(worker_of app-green-1)")" "green's program"
    old=$(program_of "$(worker_of app-1)")
    [[ $old != "$new" ]]
    expect_equal 0 "$(canaries started)"
    expect_equal 100 "$(canaries pinned -H 'X-App-Colour: green')"
    on_host cgi-message route app blue=90 green=10
    canaries tenth >"$BATS_TEST_TMPDIR/green"
    (($(<"$BATS_TEST_TMPDIR/green") >= 6 && $(<"$BATS_TEST_TMPDIR/green") <= 14)) # each of nginx's workers counts for itself
    run on_host cgi-message route
    expect_match "^app-blue +2 instances +90 of 100 +/usr/sbin/cgi-app ${old:0:12}\$" "${lines[0]}"
    expect_match "^app-green +2 instances +10 of 100 +/packages/cgi-app ${new:0:12}\$" "${lines[1]}"
    expect_match "^transform-blue +2 instances +100 of 100 +/usr/sbin/cgi-transform $hash\$" "${lines[2]}"
    run on_host cgi-message status
    expect_match '^app-green-2 +serving +green +10 ' "$(grep '^app-green-2' <<<"$output")"
    refuse 1 'green of app still gets requests; cgi-message route app blue' cgi-message stop app green
    refuse 1 'green of app runs already; cgi-message stop app green' cgi-message start app green /packages/cgi-app
    expect_no_loss_to_64 begin_canary
    expect_equal 100 "$(canaries all)"
    # What is for all instances is for green's, too.
    expect_no_loss on_host cgi-message restart
    on_host cgi-message configure
    expect_equal 100 "$(canaries restarted)"
    expect_equal "$new" "$(program_of "$(worker_of app-green-1)")" "green's program"
}

expect_canary_ends() {
    local new
    new=$(sha256sum <"$HOSTS/packages/cgi-app" | cut -d ' ' -f 1)
    expect_no_loss_to_64 end_canary
    expect_equal 0 "$(canaries ended)"
    expect_equal "$new" "$(program_of "$(worker_of app-1)")" "blue's program"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-green* /var/lib/cgi-message/bin/app-green* \
        /etc/systemd/system/cgi-message.target.wants/cgi-app-green* 2>/dev/null' || true)"
    run on_host cgi-message status
    expect_no_match 'green' "$output"
}

@test "no systemd: a canary: another build gets the calls it was given, also after stop and start, until an upgrade brings it; none of 64 clients' fails" {
    host plain
    expect_canary
    on_host cgi-message stop
    on_host cgi-message start
    expect_equal 100 "$(canaries again)"
    expect_canary_ends
}

@test "systemd: a canary: another build gets the calls it was given, in the same sandbox, also after a reboot, until an upgrade brings it; none of 64 clients' fails" {
    host systemd
    expect_canary
    expect_match $'NoNewPrivs:\t1\nSeccomp:\t2' "$(on_host cat "/proc/$(worker_of app-green-1)/status")"
    reboot_host
    expect_equal 100 "$(canaries booted)"
    expect_canary_ends
    expect_units_run
}

# expect_refusals : what cannot be done is refused, with nothing changed. settings.bats has the words that are wrong.
expect_refusals() {
    local before
    before=$(files_made)
    refuse 1 'green of app does not run; cgi-message start app green' cgi-message route app blue=90 green=10
    refuse 1 'green of app does not run; cgi-message start app green' cgi-message route app green
    on_host sh -c 'cp "$0" /root/kept && echo "no_such_directive;" >>"$0"' /usr/share/cgi-message/nginx/edge.conf
    refuse 1 'nginx refuses its configuration: .*no_such_directive.*; nothing has changed' cgi-message route app blue=90
    refuse 1 'nginx refuses its configuration: .*no_such_directive.*; nothing has changed' \
        cgi-message start app green /packages/cgi-app
    on_host mv /root/kept /usr/share/cgi-message/nginx/edge.conf
    refuse 1 'app-green does not start: ' cgi-message start app green /bin/false
    # It passes the check of the settings, and then is silent.
    on_host sh -c 'printf "#!/bin/sh\n[ \"\$1\" = -t ] || { echo no luck >&2; exec sleep 1000; }\n" >/root/silent
        chmod 0755 /root/silent'
    refuse 1 'app-green does not serve; .* says: no luck; nothing has changed' cgi-message start app green /root/silent
    expect_equal "$before" "$(files_made)"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-green* 2>/dev/null' || true)"
    host_answers
}

@test "no systemd: what route and start cannot do, they refuse with one line, and nothing changes" {
    host plain
    expect_refusals
}

@test "systemd: what route and start cannot do, they refuse with one line, and nothing changes" {
    host systemd
    expect_refusals
    expect_units_run
}
