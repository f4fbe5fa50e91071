#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# What a host logs: rotation, a full disk, the way of one request.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

@test "no systemd: logrotate under load: no line is lost, of nginx nor of the services, and no call" {
    host plain
    local calls=10000 logs=/var/log/cgi-message service
    set_setting 'LOG_LEVEL=debug'
    on_host cgi-message restart
    on_host sh -c 'curl -s -Z --no-progress-meter --parallel-max 32 -o /dev/null -w "%{http_code}\n" -d "{\"message\": \"x\"}" \
        "http://127.0.0.1:8080/api?rotated=[1-$0]"' "$calls" >"$BATS_TEST_TMPDIR/codes" &
    wait_until 10 has_lines 1 'rotated=' "$logs/access.log"
    on_host logrotate -s /tmp/rotated -f /etc/logrotate.d/cgi-message
    wait $!
    expect_equal "$calls 200" "$(sort "$BATS_TEST_TMPDIR/codes" | uniq -c | xargs)" "statuses"
    wait_until 10 has_lines "$calls" 'rotated=' "$logs/access.log.1" "$logs/access.log"
    ids_of 'rotated=' "$logs/access.log.1" "$logs/access.log" >"$BATS_TEST_TMPDIR/asked"
    expect_equal "$calls" "$(uniq "$BATS_TEST_TMPDIR/asked" | wc -l)" "requests in the access log"
    for service in app transform; do
        ids_of '"answered 200' "$logs/$service"-{1,2}.log{.1,} | uniq >"$BATS_TEST_TMPDIR/answered"
        expect_equal '' "$(comm -23 "$BATS_TEST_TMPDIR"/{asked,answered} | head -n 3)" "not in the log of $service"
    done
    # Both files of each have some: it did rotate meanwhile.
    for service in {app,transform}-{1,2}; do
        has_lines 1 '"answered 200' "$logs/$service.log.1"
        has_lines 1 '"answered 200' "$logs/$service.log"
    done
    has_lines 1 'rotated=' "$logs/access.log"
}

@test "no systemd: what was stopped is not started by logrotate" {
    host plain
    on_host cgi-message stop
    run on_host cgi-message status
    expect_status 1
    expect_equal 'cgi-message: nothing runs; cgi-message start starts it' "$output"
    on_host logrotate -s /tmp/rotated -f /etc/logrotate.d/cgi-message
    expect_equal '' "$(on_host ls -A /run/cgi-message)"
    on_host cgi-message start
}

@test "no systemd: a full disk for the logs: all is answered as before; a log that cannot be made is told of, and nothing ends" {
    host plain
    local before logs=/var/log/cgi-message
    set_setting 'LOG_LEVEL=debug'
    on_host sh -c "mv $logs $logs.kept && ln -s /full $logs && chmod 0755 /full"
    on_host cgi-message restart
    on_host sh -c 'kill -USR1 "$(cat /run/nginx.pid)"'
    on_host sh -c 'until [ -e /full/access.log ]; do sleep 0.05; done; dd if=/dev/zero of=/full/fill 2>&1' | grep 'No space left'
    for _ in {1..20}; do host_answers; done
    on_host cgi-message restart
    for _ in {1..20}; do host_answers; done
    # No file can be made any more.
    before=$(on_host cat /run/cgi-message/app-2.pid)
    on_host sh -c 'rm /full/app-2.log; i=0; while (: >"/full/$i") 2>/dev/null; do i=$((i + 1)); done'
    run on_host cgi-message restart
    expect_status 1
    expect_equal 'cgi-message: /var/log/cgi-message/app-2.log cannot be written to; is the disk full?' "$output"
    expect_equal "$before" "$(on_host cat /run/cgi-message/app-2.pid)"
    host_answers
    set_setting
    on_host sh -c "rm $logs && mv $logs.kept $logs && kill -USR1 \$(cat /run/nginx.pid)"
    on_host cgi-message restart
}

# is_in_journal SERVICE REGEX
is_in_journal() {
    on_host sh -c 'journalctl -b --no-pager -o cat -t "cgi-$0-1" -t "cgi-$0-2" | grep -qE "$1"' "$1" "$2"
}

@test "systemd: one request can be followed by its id through the access log and the journal" {
    host systemd
    local service
    set_setting 'LOG_LEVEL=debug'
    on_host cgi-message restart
    on_host curl -s -o /dev/null -H 'X-Request-ID: follow-me' -d '{"message": "x"}' http://127.0.0.1:8080/api
    set_setting
    wait_until 10 has_lines 1 '"request_id":"follow-me"' /var/log/cgi-message/access.log
    for service in app transform; do
        wait_until 10 is_in_journal "$service" '"request_id":"follow-me","message":"answered 200, [0-9]+ bytes, in [0-9.]+ ms"'
    done
    on_host cgi-message restart
}
