#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154,SC2016 # each test is a subshell; bats' `run` sets what it sets; $ is for the host
# The Debian package: built, checked by lintian, and installed on two hosts that have an nginx: one without systemd, and one
# that a real systemd has booted. The tests of a host build on each other; its last one purges the package.

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host
load ../lib/hardening

setup_file() {
    [[ -z ${SANITIZE:-} ]] || return 0
    export TMP=$BATS_FILE_TMPDIR TAG=host-test-$$
    files_of_checkout >"$TMP/before"
    make -s -C "$ROOT" deb BUILD="$TMP" 3>&-
    files_of_checkout >"$TMP/after"
    mkdir "$TMP/context"
    cp "$TMP"/deb/cgi-message_*.deb "$TMP/context/first.deb"
    newer_package
    ! why_no_containers >/dev/null || return 0
    make_base
    start_plain_host
    start_systemd_host
}

teardown_file() {
    [[ -z ${SANITIZE:-} ]] && ! why_no_containers >/dev/null || return 0
    HOST=$TAG-plain end_host
    HOST=$TAG-systemd end_host
    docker image rm -f "$TAG" >/dev/null
}

setup() {
    need_usual_build
}

files_of_checkout() {
    find "$ROOT" -path "$ROOT/build" -prune -o -path "$ROOT/.git" -prune -o -print | sort
}

# newer_package : version 99, with another build of app, which is in the context, too
newer_package() {
    cp "$BUILD_DIR/cgi-app" "$TMP/context/cgi-app"
    dpkg-deb -R "$TMP/context/first.deb" "$TMP/tree"
    install -m 0755 "$BUILD_DIR/cgi-app" "$TMP/tree/usr/sbin/cgi-app"
    sed -i 's/^Version: .*/Version: 99/' "$TMP/tree/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$TMP/tree" "$TMP/context/newer.deb" >/dev/null
}

# start_plain_host : with an nginx that serves its default site; SYS_PTRACE: for program_of
start_plain_host() {
    local HOST BATS_TEST_TMPDIR=$TMP
    start_host "$TAG-plain" --init --cap-add SYS_PTRACE --tmpfs /full:size=64k,nr_inodes=16 -v "$TMP/context:/packages:ro" \
        -v "$ROOT/tests/lib:/tests:ro" "$CONTAINER_BASE" sleep infinity
    on_host apt-get update -qq
    host_installs nginx curl logrotate systemd-standalone-sysusers wrk
    on_host service nginx start >/dev/null
    files_of_host >"$TMP/host.before"
    host_installs /packages/first.deb
}

# start_systemd_host : with what systemd wants of a container, and no more; SYS_PTRACE: else it cannot set up PrivateUsers=
# beside ProtectProc=. Of the cgroups it has a folder of its own, in which it finds the one it needs: it makes
# /sys/fs/cgroup read-only, which must not be this machine's.
start_systemd_host() {
    local HOST BATS_TEST_TMPDIR=$TMP cgroups=()
    [[ ! -d /sys/fs/cgroup/systemd ]] ||
        cgroups=(--tmpfs /sys/fs/cgroup -v /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd)
    docker build -q -t "$TAG" -f - "$TMP/context" >"$TMP/image.log" 2>&1 3>&- <<DOCKERFILE
FROM $CONTAINER_BASE
RUN apt-get update && apt-get install -y --no-install-recommends curl nginx systemd systemd-sysv wrk
DOCKERFILE
    start_host "$TAG-systemd" --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_NICE --cap-add SYS_PTRACE \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp "${cgroups[@]}" \
        -v "$TMP/context:/packages:ro" -v "$ROOT/tests/lib:/tests:ro" "$TAG" /sbin/init
    wait_until 30 has_booted || true # need_systemd_host says so
}

# has_booted : also when a unit has failed
has_booted() {
    [[ $(on_host systemctl is-system-running 2>&1) == @(running|degraded) ]]
}

need_plain_host() {
    need_containers
    HOST=$TAG-plain
}

need_systemd_host() {
    need_containers
    HOST=$TAG-systemd
    has_booted || skip "systemd does not boot in a container here"
}

# set_setting LINE : the only one in the host's settings; without LINE, none
set_setting() {
    on_host sh -c 'sed -i "/^[^#]/d" /etc/default/cgi-message && printf "%s\n" "$1" >>/etc/default/cgi-message' sh "${1:-}"
}

# expect_no_loss COMMAND... : on the host, while calls are made one after the other: each is answered
expect_no_loss() {
    on_host rm -f /tmp/stop
    on_host sh -c 'until [ -e /tmp/stop ]; do
        curl -s -o /dev/null -w "%{http_code}\n" --max-time 9 -d "{\"message\": \"x\"}" http://127.0.0.1:8080/api; done' \
        >"$BATS_TEST_TMPDIR/codes" &
    wait_until 10 test -s "$BATS_TEST_TMPDIR/codes"
    "$@"
    host_answers
    on_host touch /tmp/stop
    wait $!
    expect_equal 200 "$(sort -u "$BATS_TEST_TMPDIR/codes")" "statuses"
}

# has_clients COUNT : so many connections to the edge's port (8080 is 1F90) are established
has_clients() {
    (($(on_host grep -cE '^ *[0-9]+: [0-9A-F]+:1F90 [0-9A-F:]+ 01 ' /proc/net/tcp) >= $1))
}

# expect_no_loss_to_64 COMMAND... : on the host, while 64 clients call as fast as they can: each is answered
expect_no_loss_to_64() {
    on_host sh -c 'echo $$ >/tmp/wrk.pid
        exec wrk -t 1 -c 64 -d 60s --timeout 30s -s /tests/post.lua http://127.0.0.1:8080/api' >"$BATS_TEST_TMPDIR/wrk" &
    wait_until 10 has_clients 64
    "$@"
    has_clients 64
    on_host sh -c 'kill -INT "$(cat /tmp/wrk.pid)"'
    wait $!
    expect_match '[1-9][0-9]* requests in' "$(<"$BATS_TEST_TMPDIR/wrk")"
    expect_no_match 'Non-2xx|wrong|Socket errors' "$(<"$BATS_TEST_TMPDIR/wrk")"
    echo "# $*: $(grep -o '[0-9]* requests in [0-9.]*s' "$BATS_TEST_TMPDIR/wrk"), none lost" >&3
}

# ---- the package ----

@test "make deb: a package, and nothing else, comes of it" {
    expect_equal "$(<"$TMP/before")" "$(<"$TMP/after")"
    expect_equal cgi-message "$(dpkg-deb -f "$TMP/context/first.deb" Package)"
}

# lintian leaves files in TMPDIR.
@test "lintian reports no error and no warning, of source and package" {
    run env TMPDIR="$BATS_TEST_TMPDIR" lintian --allow-root --fail-on error,warning "$TMP"/deb/cgi-message_*.changes
    expect_equal '' "$output"
    expect_status 0
}

@test "the package's programs and modules are built as hard as make's" {
    dpkg-deb -x "$TMP/context/first.deb" "$TMP/first"
    expect_hard "$TMP"/first/usr/sbin/cgi-{app,transform} "$TMP"/first/usr/lib/nginx/modules/ngx_http_{compose,drain,metrics}_module.so
}

# ---- a canary, for both hosts ----

# refuse REGEX COMMAND... : on the host; it fails, with one line that matches
refuse() {
    run on_host "${@:2}"
    [[ $status -ne 0 ]] || { echo "did not fail: ${*:2}" >&2; return 1; }
    expect_equal 1 "${#lines[@]}" "lines of ${*:2}: $output" || return
    expect_match "^cgi-message: $1" "$output" "of ${*:2}"
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

# program_of PID : what it runs
program_of() {
    on_host sha256sum "/proc/$1/exe" | cut -d ' ' -f 1
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

# expect_canary PID-OF-GREEN... : a build beside the package's gets what was asked for, until the package brings the same
expect_canary() {
    local new old
    new=$(sha256sum <"$TMP/context/cgi-app" | cut -d ' ' -f 1)
    on_host cgi-message start app green /packages/cgi-app
    expect_equal "$new" "$(program_of "$("$@" green)")" "green's program"
    old=$(program_of "$("$@" blue)")
    [[ $old != "$new" ]]
    expect_equal 0 "$(canaries "$1-started")"
    expect_equal 100 "$(canaries "$1-pinned" -H 'X-App-Colour: green')"
    on_host cgi-message route app blue=90 green=10
    canaries "$1-tenth" >"$BATS_TEST_TMPDIR/green"
    (($(<"$BATS_TEST_TMPDIR/green") >= 6 && $(<"$BATS_TEST_TMPDIR/green") <= 14)) # each of nginx's workers counts for itself
    run on_host cgi-message route
    expect_match '^app-blue +2 instances +90 of 100 +/usr/sbin/cgi-app$' "${lines[0]}"
    expect_match '^app-green +2 instances +10 of 100 +/packages/cgi-app$' "${lines[1]}"
    run on_host cgi-message status
    expect_match '^app-green-2 +serving +green +10 ' "$(grep '^app-green-2' <<<"$output")"
    refuse 'green of app still gets requests; cgi-message route app blue' cgi-message stop app green
    refuse 'green of app runs already; cgi-message stop app green' cgi-message start app green /packages/cgi-app
    expect_no_loss_to_64 begin_canary
    expect_equal 100 "$(canaries "$1-all")"
    # What is for all instances is for green's, too.
    expect_no_loss on_host cgi-message restart
    on_host cgi-message configure
    expect_equal 100 "$(canaries "$1-restarted")"
    expect_equal "$new" "$(program_of "$("$@" green)")" "green's program"
}

expect_canary_ends() {
    local new
    new=$(sha256sum <"$TMP/context/cgi-app" | cut -d ' ' -f 1)
    expect_no_loss_to_64 end_canary
    expect_equal 0 "$(canaries "$1-ended")"
    expect_equal "$new" "$(program_of "$("$@" blue)")" "blue's program"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-green* /var/lib/cgi-message/bin/app-green* \
        /etc/systemd/system/cgi-message.target.wants/cgi-app-green* 2>/dev/null' || true)"
    run on_host cgi-message status
    expect_no_match 'green' "$output"
    on_host dpkg -i --no-triggers /packages/first.deb >"$BATS_TEST_TMPDIR/dpkg" 2>&1
}

# expect_refusals : of bad input, with nothing changed
expect_refusals() {
    local before
    before=$(files_made)
    refuse 'green of app does not run; cgi-message start app green' cgi-message route app blue=90 green=10
    refuse 'green of app does not run; cgi-message start app green' cgi-message route app green
    refuse '"purple" is no colour of app; blue and green are' cgi-message route app purple
    refuse '"front" is no service; app and transform are' cgi-message route front blue
    refuse 'the weight of blue is "many"; set it to a whole number' cgi-message route app blue=many
    refuse 'all weights are 0' cgi-message route app blue=0
    refuse '"green" has no weight' cgi-message route app blue=1 green
    refuse 'blue of app is what is installed; only green' cgi-message start app blue /packages/cgi-app
    refuse 'blue of app is what is installed; only green' cgi-message stop app blue
    refuse '"/nowhere" is no program; give the path of another build of cgi-app' cgi-message start app green /nowhere
    on_host sh -c 'cp "$0" /root/kept && echo "no_such_directive;" >>"$0"' /usr/share/cgi-message/nginx/edge.conf
    refuse 'nginx refuses its configuration: .*no_such_directive.*; nothing has changed' cgi-message route app blue=90
    refuse 'nginx refuses its configuration: .*no_such_directive.*; nothing has changed' cgi-message start app green /packages/cgi-app
    on_host mv /root/kept /usr/share/cgi-message/nginx/edge.conf
    refuse 'app-green does not start: ' cgi-message start app green /bin/false
    # It passes the check of the settings, and then is silent.
    on_host sh -c 'printf "#!/bin/sh\n[ \"\$1\" = -t ] || { echo no luck >&2; exec sleep 1000; }\n" >/root/silent && chmod 0755 /root/silent'
    refuse 'app-green does not serve; .* says: no luck; nothing has changed' cgi-message start app green /root/silent
    expect_equal "$before" "$(files_made)"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-green* 2>/dev/null' || true)"
    run on_host cgi-message start app green
    expect_status 2
    host_answers
}

# ---- a host without systemd ----

@test "no systemd: installed beside a running nginx, the site turned on, started: /api answers, the other site too" {
    need_plain_host
    on_host ln -s ../sites-available/cgi-message /etc/nginx/sites-enabled/
    on_host nginx -t -q
    on_host cgi-message start
    on_host nginx -s reload
    wait_until 10 host_answers
    on_host curl -sk -d '{"message": "hello"}' https://127.0.0.1:8443/api | grep olleh
    on_host curl -s http://127.0.0.1/ | grep 'Welcome to nginx'
}

@test "no systemd: the services run as their own user, and nobody else but nginx's reaches them" {
    need_plain_host
    expect_equal 'cgi-message 660' "$(on_host stat -c '%U %a' /run/cgi-message/app-1/socket)"
    expect_equal 'cgi-message 750' "$(on_host stat -c '%U %a' /run/cgi-message/app-1)"
    local pid
    pid=$(on_host cat /run/cgi-message/app-1.pid)
    expect_equal "$(on_host id -u cgi-message)" "$(on_host stat -c %u "/proc/$pid")"
    expect_equal 'root adm 640' "$(on_host stat -c '%U %G %a' /var/log/cgi-message/app-1.log)"
    run on_host setpriv --reuid nobody --clear-groups ls /run/cgi-message/app-1
    expect_match 'Permission denied' "$output"
}

# expect_host_status UNIT-COMMAND... : cgi-message status tells of every instance and nginx; of app-1 that it is silent when
# its worker, whose pid COMMAND prints, is frozen
expect_host_status() {
    local pid
    pid=$("$@")
    expect_match 'cgi_server_up\{service="app",server="app-1"\} 1' "$(on_host cgi-message status --prometheus)"
    on_host cgi-message status --json >"$BATS_TEST_TMPDIR/status"
    jq -e 'map(.name) == ["app-1", "app-2", "transform-1", "transform-2", "nginx"]' "$BATS_TEST_TMPDIR/status"
    jq -e '([.[] | select(.service == "cgi-app") | .requests] | add) >= 1' "$BATS_TEST_TMPDIR/status"
    run on_host cgi-message status
    expect_status 0
    expect_match "^app-1 +serving +blue +100 +$pid +[0-9]+ +[0-9.]+M +1 " "${lines[1]}"
    expect_match "^nginx +serving +- +- +$(on_host cat /run/nginx.pid) " "${lines[5]}"
    on_host sh -c 'kill -STOP "$0"' "$pid"
    run on_host cgi-message status
    on_host sh -c 'kill -CONT "$0"' "$pid"
    expect_status 1
    expect_match '^app-1 +silent +blue +100 +- ' "${lines[1]}"
}

# plain_pid NAME : of the worker under its multiwatch
plain_pid() {
    on_host sh -c 'read -r pid _ <"/proc/$0/task/$0/children"; echo "$pid"' "$(on_host cat "/run/cgi-message/$1.pid")"
}

@test "no systemd: status tells how each instance and nginx fare, for root alone" {
    need_plain_host
    expect_host_status plain_pid app-1
    expect_equal 'cgi-message 660' "$(on_host stat -c '%U %a' /run/cgi-message/app-1/status)"
    run on_host setpriv --reuid nobody --clear-groups cgi-message status
    expect_status 1
    expect_equal 'cgi-message: status is for root' "$output"
}

@test "no systemd: a bad setting is refused with one line, and what ran goes on" {
    need_plain_host
    set_setting 'THREADS=none'
    run on_host cgi-message restart
    expect_status 1
    expect_match '^cgi-app: THREADS is "none"[^'$'\n'']*$' "$output"
    set_setting 'BIND=192.0.2.1'
    run on_host cgi-message configure
    expect_status 1
    expect_match '^cgi-message: nginx refuses its configuration: [^'$'\n'']*; nothing has changed$' "$output"
    on_host nginx -t -q
    set_setting 'MAX_CLIENTS=5000' # Debian's nginx.conf has 768 worker_connections
    run on_host cgi-message configure
    expect_status 1
    expect_match '^cgi-message: MAX_CLIENTS is "5000"; set it to at most [^'$'\n'']*worker_connections[^'$'\n'']*$' "$output"
    set_setting
    host_answers
    expect_equal 4 "$(on_host sh -c 'ls /run/cgi-message/*.pid | wc -l')"
}

# files_made : of configure, with their sums
files_made() {
    on_host sh -c 'find /var/lib/cgi-message -type f -exec sha256sum {} + | sort'
}

@test "no systemd: a configure that cannot write all it must (a full disk) leaves what was there" {
    need_plain_host
    local before
    before=$(files_made)
    set_setting 'UPSTREAM_TIMEOUT=7'
    run on_host sh -c 'ulimit -f 2; cgi-message configure' # no file over 1 KiB
    ((status != 0))
    expect_equal "$before" "$(files_made)"
    on_host cgi-message configure
    [[ $(files_made) != "$before" ]]
    set_setting
}

@test "no systemd: another number of instances, with no call lost" {
    need_plain_host
    set_setting 'APP_INSTANCES=3'
    expect_no_loss on_host sh -c 'cgi-message configure && cgi-message restart && nginx -s reload 2>/dev/null'
    on_host test -S /run/cgi-message/app-3/socket
    set_setting
    expect_no_loss on_host sh -c 'cgi-message configure && nginx -s reload 2>/dev/null && cgi-message restart'
    run on_host ls /run/cgi-message/app-3
    ((status != 0))
}

# ids_of PATTERN FILE... : the request ids of the lines with PATTERN, sorted
ids_of() {
    on_host sh -c 'grep -h "$0" "$@" | sed -E "s/.*\"request_id\":\"([^\"]*)\".*/\1/" | sort' "$@"
}

# has_lines COUNT PATTERN FILE...
has_lines() {
    (($(ids_of "${@:2}" | wc -l) >= $1))
}

@test "no systemd: logrotate under load: no line is lost, of nginx nor of the services, and no call" {
    need_plain_host
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
    set_setting
    on_host cgi-message restart
}

@test "no systemd: what was stopped is not started by logrotate" {
    need_plain_host
    on_host cgi-message stop
    run on_host cgi-message status
    expect_status 1
    expect_equal 'cgi-message: nothing runs; cgi-message start starts it' "$output"
    on_host logrotate -s /tmp/rotated -f /etc/logrotate.d/cgi-message
    expect_equal '' "$(on_host ls -A /run/cgi-message)"
    on_host cgi-message start
}

@test "no systemd: a full disk for the logs: all is answered as before; a log that cannot be made is told of, and nothing ends" {
    need_plain_host
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

@test "no systemd: a template that nginx refuses: configure says so in one line, and what was there is there again" {
    need_plain_host
    local before template=/usr/share/cgi-message/nginx/edge.conf
    before=$(files_made)
    on_host sh -c 'cp "$0" /tmp/kept && echo "no_such_directive;" >>"$0"' "$template"
    run on_host cgi-message configure
    on_host cp /tmp/kept "$template"
    expect_status 1
    expect_match '^cgi-message: nginx refuses its configuration: [^'$'\n'']*no_such_directive[^'$'\n'']*; nothing has changed$' "$output"
    expect_equal "$before" "$(files_made)"
    on_host nginx -t -q
    host_answers
}

@test "no systemd: a service that does not answer ends a restart before the next instance is taken down" {
    need_plain_host
    local before
    before=$(on_host cat /run/cgi-message/app-2.pid)
    # It passes the check of the settings, and then is silent.
    on_host sh -c 'mv /usr/sbin/cgi-app /usr/sbin/cgi-app.kept
        printf "#!/bin/sh\n[ \"\$1\" = -t ] || exec sleep 1000\n" >/usr/sbin/cgi-app && chmod 0755 /usr/sbin/cgi-app'
    run on_host cgi-message restart
    on_host mv /usr/sbin/cgi-app.kept /usr/sbin/cgi-app
    expect_status 1
    expect_match '^cgi-message: app-1 does not answer; /var/log/cgi-message/app-1.log says: [^'$'\n'']*$' "$output"
    expect_equal "$before" "$(on_host cat /run/cgi-message/app-2.pid)"
    on_host cgi-message restart
    host_answers
}

@test "no systemd: restart under 64 clients: no call fails; each may open as many files as before" {
    need_plain_host
    local most
    expect_no_loss_to_64 on_host sh -c 'ulimit -Sn 256; cgi-message restart'
    most=$(on_host sh -c 'ulimit -Hn')
    expect_match "^Max open files +$((most < 65536 ? most : 65536)) " \
        "$(on_host grep 'open files' "/proc/$(plain_pid app-1)/limits")"
}

@test "no systemd: without its user it does not start, and says so in one line; an upgrade does not start what was stopped" {
    need_plain_host
    local before
    # While it runs: what runs goes on.
    before=$(on_host cat /run/cgi-message/app-1.pid)
    on_host sh -c 'cp /etc/passwd /tmp/passwd && sed -i /^cgi-message:/d /etc/passwd'
    run on_host cgi-message restart
    on_host sh -c 'cat /tmp/passwd >/etc/passwd'
    expect_status 1
    expect_match '^cgi-message: there is no user cgi-message; make it: [^'$'\n'']*$' "$output"
    expect_equal "$before" "$(on_host cat /run/cgi-message/app-1.pid)"
    host_answers
    on_host cgi-message stop
    on_host userdel cgi-message
    run on_host cgi-message start
    expect_status 1
    expect_match '^cgi-message: there is no user cgi-message; make it: [^'$'\n'']*$' "$output"
    host_installs --reinstall /packages/first.deb
    expect_equal '' "$(on_host ls -A /run/cgi-message)"
    on_host cgi-message start
    on_host nginx -s reload
    wait_until 10 host_answers
}

# upgrade : to the newer package, but for nginx's reload, which is the package nginx's own work, when all else is done
upgrade() {
    on_host dpkg -i --no-triggers /packages/newer.deb >"$BATS_TEST_TMPDIR/dpkg" 2>&1
}

# plain_worker COLOUR : of app's first instance
plain_worker() {
    if [[ $1 == green ]]; then plain_pid app-green-1; else plain_pid app-1; fi
}

@test "no systemd: a canary: another build gets the calls it was given, also after stop and start, until an upgrade brings it; none of 64 clients' fails" {
    need_plain_host
    expect_canary plain_worker
    on_host cgi-message stop
    on_host cgi-message start
    expect_equal 100 "$(canaries again)"
    expect_canary_ends plain_worker
}

@test "no systemd: what route, start and stop refuse, they refuse with one line, and nothing changes" {
    need_plain_host
    expect_refusals
}

@test "no systemd: an upgrade restarts each instance and loses no call of 64 clients; its reload of nginx none of one" {
    need_plain_host
    local before
    before=$(on_host cat /run/cgi-message/app-1.pid)
    expect_no_loss_to_64 upgrade
    expect_no_loss on_host dpkg --triggers-only --pending
    expect_equal 99 "$(on_host dpkg-query -f '${Version}' -W cgi-message)"
    expect_no_match "^$before$" "$(on_host cat /run/cgi-message/app-1.pid)"
    expect_equal 4 "$(on_host sh -c 'grep -l "^multiwatch" /proc/[0-9]*/comm | wc -l')" "supervisors"
}

@test "no systemd: purge stops it, takes all away that it ever wrote, and nginx goes on" {
    need_plain_host
    on_host cgi-message start app green /packages/cgi-app
    on_host apt-get purge -y --autoremove cgi-message >"$BATS_TEST_TMPDIR/apt" 2>&1
    run diff "$TMP/host.before" <(files_of_host)
    expect_equal '' "$output" "files before and after"
    run on_host getent passwd cgi-message
    expect_status 2
    run on_host getent group cgi-message
    expect_status 2
    expect_equal '' "$(on_host sh -c 'grep -lE "^(cgi-|multiwatch)" /proc/[0-9]*/comm' || true)"
    on_host nginx -t -q
    on_host curl -s http://127.0.0.1/ | grep 'Welcome to nginx'
}

# ---- a host that systemd has booted ----

# unit_pid UNIT : of the worker under its multiwatch
unit_pid() {
    on_host sh -c 'read -r pid _ <"/proc/$(systemctl show -p MainPID --value "$1")/task/$(systemctl show -p MainPID --value "$1")/children"
        echo "$pid"' sh "$1"
}

# expect_units_run : all of them, and nothing on the host has failed
expect_units_run() {
    local unit
    for unit in cgi-app@1 cgi-app@2 cgi-transform@1 cgi-transform@2 cgi-message.target; do
        expect_equal active "$(on_host systemctl is-active "$unit")" "$unit"
    done
    expect_equal '' "$(on_host systemctl list-units --failed --plain --no-legend)"
}

@test "systemd: installed, all instances run; with the site turned on, /api answers" {
    need_systemd_host
    host_installs /packages/first.deb
    expect_units_run
    on_host ln -s ../sites-available/cgi-message /etc/nginx/sites-enabled/
    on_host systemctl reload nginx
    wait_until 10 host_answers
}

@test "systemd: after a reboot, too" {
    need_systemd_host
    docker restart -t 0 "$HOST" >/dev/null 3>&-
    wait_until 30 has_booted
    wait_until 10 host_answers
    expect_units_run
}

@test "systemd: a worker has no capability, no way to new ones, a filter of system calls, a network and users of its own" {
    need_systemd_host
    local pid status name
    for name in cgi-app@1 cgi-transform@2; do
        pid=$(unit_pid "$name")
        expect_equal "${name%@*}" "$(on_host cat "/proc/$pid/comm")"
        status=$(on_host cat "/proc/$pid/status")
        expect_match $'NoNewPrivs:\t1\nSeccomp:\t2' "$status"
        for set in Prm Eff Bnd Amb; do expect_match "Cap$set:"$'\t'"0+"$'\n' "$status"; done
        for set in net user ipc mnt; do
            [[ $(on_host readlink "/proc/1/ns/$set") != "$(on_host readlink "/proc/$pid/ns/$set")" ]]
        done
        expect_equal "$(on_host id -u cgi-message)" "$(on_host stat -c %u "/proc/$pid")"
    done
}

@test "systemd: a worker sees nothing that it could write to but its own folder and a /tmp of its own" {
    need_systemd_host
    run on_host nsenter -m -t "$(unit_pid cgi-app@1)" sh -c 'touch /usr/x; touch /etc/x; touch /var/x; touch /run/x'
    expect_equal 4 "$(grep -c 'Read-only file system' <<<"$output")" "$output"
    on_host nsenter -m -t "$(unit_pid cgi-app@1)" sh -c 'touch /run/cgi-message/app-1/x && rm /run/cgi-message/app-1/x'
}

@test "systemd: nothing that a service does is refused by its sandbox: no warning, and it runs as SCHED_BATCH" {
    need_systemd_host
    local lines policies
    on_host curl -s -o /dev/null --data-binary @/usr/bin/bash http://127.0.0.1:8080/api
    lines=$(on_host journalctl -b --no-pager -o cat -u 'cgi-*' | grep '^{')
    expect_match '"message":"serving with' "$lines"
    expect_no_match '"level":"(warning|error)"' "$lines"
    policies=$(on_host sh -c 'for t in /proc/$0/task/*; do cut -d" " -f41 $t/stat; done' "$(unit_pid cgi-app@1)" | sort)
    expect_equal $'0\n0\n3' "$policies" "of the dispatcher's thread, the status's, and the worker's"
}

@test "systemd: status tells how each instance and nginx fare" {
    need_systemd_host
    host_answers
    expect_host_status unit_pid cgi-app@1
    expect_equal 'cgi-message 660' "$(on_host stat -c '%U %a' /run/cgi-message/app-1/status)"
}

# is_in_journal SERVICE REGEX
is_in_journal() {
    on_host sh -c 'journalctl -b --no-pager -o cat -t "cgi-$0-1" -t "cgi-$0-2" | grep -qE "$1"' "$1" "$2"
}

@test "systemd: one request can be followed by its id through the access log and the journal" {
    need_systemd_host
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

# expect_all_replaced COMMAND... : after it, no unit is the same process
expect_all_replaced() {
    local before
    before=$(on_host systemctl show -p MainPID 'cgi-*.service')
    "$@"
    expect_equal '' "$(comm -12 <(grep '=[1-9]' <<<"$before" | sort) <(on_host systemctl show -p MainPID 'cgi-*.service' | sort))"
}

@test "systemd: each unit restarted in turn under 64 clients: no call fails; so with cgi-message restart" {
    need_systemd_host
    expect_all_replaced expect_no_loss_to_64 on_host sh -c \
        'for unit in cgi-app@1 cgi-app@2 cgi-transform@1 cgi-transform@2; do systemctl restart "$unit"; done'
    expect_all_replaced expect_no_loss_to_64 on_host cgi-message restart
}

@test "systemd: a unit has not started before its service answers" {
    need_systemd_host
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

# is_replaced UNIT OLD-PID
is_replaced() {
    local now
    now=$(unit_pid "$1") && [[ -n $now && $now != "$2" ]]
}

@test "systemd: a worker that dies is replaced under the same unit, socket and supervisor" {
    need_systemd_host
    local before main
    before=$(unit_pid cgi-transform@1) main=$(on_host systemctl show -p MainPID cgi-transform@1)
    on_host sh -c 'kill -KILL "$0"' "$before"
    wait_until 10 is_replaced cgi-transform@1 "$before"
    expect_equal "$main" "$(on_host systemctl show -p MainPID cgi-transform@1)"
    host_answers
}

@test "systemd: a bad setting fails the one unit that is restarted, with a line in the journal; the others go on" {
    need_systemd_host
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

# unit_worker COLOUR : of app's first instance
unit_worker() {
    if [[ $1 == green ]]; then unit_pid cgi-app-green@1; else unit_pid cgi-app@1; fi
}

@test "systemd: a canary: another build gets the calls it was given, in the same sandbox, also after a reboot, until an upgrade brings it; none of 64 clients' fails" {
    need_systemd_host
    expect_canary unit_worker
    expect_match $'NoNewPrivs:\t1\nSeccomp:\t2' "$(on_host cat "/proc/$(unit_worker green)/status")"
    docker restart -t 0 "$HOST" >/dev/null 3>&-
    wait_until 30 has_booted
    wait_until 10 host_answers
    expect_equal 100 "$(canaries booted)"
    expect_canary_ends unit_worker
    expect_units_run
}

@test "systemd: what route, start and stop refuse, they refuse with one line, and nothing changes" {
    need_systemd_host
    expect_refusals
    expect_units_run
}

@test "systemd: an upgrade restarts each instance and loses no call of 64 clients; its reload of nginx none of one" {
    need_systemd_host
    local before
    before=$(unit_pid cgi-app@1)
    expect_no_loss_to_64 upgrade
    expect_no_loss on_host dpkg --triggers-only --pending
    expect_no_match "^$before$" "$(unit_pid cgi-app@1)"
}

@test "systemd: stop ends all, start brings all back" {
    need_systemd_host
    on_host cgi-message stop
    expect_equal inactive "$(on_host systemctl is-active cgi-app@1 || true)"
    on_host cgi-message start
    wait_until 10 host_answers
}

@test "systemd: purge leaves no unit, no process and no user, and nginx goes on" {
    need_systemd_host
    on_host cgi-message start app green /packages/cgi-app
    on_host apt-get purge -y --autoremove cgi-message >"$BATS_TEST_TMPDIR/apt" 2>&1
    expect_equal '' "$(on_host systemctl list-units --all --plain --no-legend 'cgi-*')"
    expect_equal '' "$(on_host sh -c 'find / /run -xdev \( -name "cgi-*" -o -name "*compose*" \) -not -path "/var/lib/dpkg/*"')"
    run on_host getent passwd cgi-message
    expect_status 2
    expect_equal active "$(on_host systemctl is-active nginx)"
    on_host nginx -t -q
}
