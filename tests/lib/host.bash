# shellcheck shell=bash
# shellcheck disable=SC2016,SC2153,SC2154 # $ is for the host; bats' `run` sets what it sets, setup_suite.bash HOSTS
# A host of its own, for tests: the package, and containers that have it, with systemd and without. A file says
# `load ../lib/host`, after helpers and containers; a test begins with `host plain` or the like, and teardown() is end_host.
# Each test has a fresh one, so tests run alone and in any order. tests/host/setup_suite.bash says where what they share is.

# need_usual_build : for setup(): skip the test where it would only do again what another build has shown
need_usual_build() {
    [[ -z ${SANITIZE:-} ]] || skip "what is installed is the usual build"
}

# make_install COMMAND [VARIABLE=VALUE...] : make install or uninstall, of what is built
make_install() {
    make -s -C "$ROOT" BUILD="$BUILD_DIR" "$@" 3>&-
}

# ---- the package ----

files_of_checkout() {
    find "$ROOT" -path "$ROOT/build" -prune -o -path "$ROOT/.git" -prune -o -print | sort
}

# need_package : make deb, once: $HOSTS/packages has first.deb, newer.deb (version 99, with another build of app), that build;
# before and after, in $HOSTS, say what was in the checkout
need_package() {
    (flock 9 && { [[ -e $HOSTS/after ]] || make_packages; }) 9>"$HOSTS/package.lock"
}

make_packages() {
    files_of_checkout >"$HOSTS/before" &&
        make -s -C "$ROOT" deb BUILD="$HOSTS" 3>&- >/dev/null &&
        mkdir "$HOSTS/packages" &&
        cp "$HOSTS"/deb/cgi-message_*.deb "$HOSTS/packages/first.deb" &&
        cp "$BUILD_DIR/cgi-app" "$HOSTS/packages/cgi-app" &&
        dpkg-deb -R "$HOSTS/packages/first.deb" "$HOSTS/tree" &&
        install -m 0755 "$BUILD_DIR/cgi-app" "$HOSTS/tree/usr/sbin/cgi-app" &&
        sed -i 's/^Version: .*/Version: 99/' "$HOSTS/tree/DEBIAN/control" &&
        dpkg-deb --root-owner-group -b "$HOSTS/tree" "$HOSTS/packages/newer.deb" >/dev/null &&
        files_of_checkout >"$HOSTS/after"
}

# ---- images ----

# need_image KIND : plain, a host without systemd, or systemd, each with nginx and the package; with -bare behind it, without
# that. What the package has written when it was installed is not in an image: there, a folder does not give its files its
# group, and cannot be renamed.
need_image() {
    case $1 in
    nginx) make_base && derive nginx "$CONTAINER_BASE" 'apt-get update -qq && $INSTALL curl nginx wrk' ;;
    plain-bare) need_image nginx && derive "$1" "$HOST_IMAGES:nginx" '$INSTALL logrotate systemd-standalone-sysusers' ;;
    systemd-bare) need_image nginx && derive "$1" "$HOST_IMAGES:nginx" '$INSTALL systemd systemd-sysv' ;;
    *) need_image "$1-bare" && derive "$1" "$HOST_IMAGES:$1-bare" \
        '$INSTALL /packages/first.deb && rm -r /var/lib/cgi-message /var/log/cgi-message' ;;
    esac
}

# derive KIND IMAGE COMMAND : IMAGE after COMMAND is the image of this kind, once
derive() {
    (
        flock 9
        ! docker image inspect "$HOST_IMAGES:$1" >/dev/null 2>&1 || exit 0
        printf '%s\n' "FROM $2" 'COPY . /packages' 'ARG DEBIAN_FRONTEND=noninteractive' \
            'ARG INSTALL="apt-get install -y --no-install-recommends"' "RUN $3" |
            docker build -q -t "$HOST_IMAGES:$1" -f - "$HOSTS/packages" >"$HOSTS/$1.log" 2>&1 3>&- && exit
        tail -n 20 "$HOSTS/$1.log" >&2
        exit 1
    ) 9>"$HOSTS/image.lock"
}

# ---- a host ----

# host KIND : a fresh one, of such an image; nginx runs, and /api answers where the package is. Where there is no container
# engine, or systemd does not boot in one, the test is skipped.
host() {
    need_containers
    need_package
    need_image "$1"
    HOST=$HOST_IMAGES-$BATS_SUITE_TEST_NUMBER
    case $1 in
    plain*) begin_plain "$1" ;;
    systemd*)
        need_systemd
        begin_systemd "$1"
        wait_until 30 has_booted
        ;;
    esac
    [[ $1 != *-bare ]] || return 0
    on_host cgi-message configure
    begin_serving
}

# start_host NAME [OPTION...] IMAGE [COMMAND...] : a container that ends with end_host; SYS_PTRACE: for program_of
start_host() {
    HOST=$1
    docker run -d --name "$HOST" --cap-add SYS_PTRACE -v "$HOSTS/packages:/packages:ro" \
        -v "$ROOT/tests/lib:/tests:ro" "${@:2}" >/dev/null 3>&-
}

# /full: a disk for a test of full ones
begin_plain() {
    start_host "$HOST" --init --tmpfs /full:size=64k,nr_inodes=16 "$HOST_IMAGES:$1" sleep infinity
    on_host service nginx start >/dev/null
}

# With what systemd wants of a container, and no more; it needs SYS_PTRACE, too: else it cannot set up PrivateUsers= beside
# ProtectProc=. Of the cgroups it has a folder of its own, in which it finds the one it needs: it makes /sys/fs/cgroup
# read-only, which must not be this machine's.
begin_systemd() {
    local cgroups=()
    [[ ! -d /sys/fs/cgroup/systemd ]] ||
        cgroups=(--tmpfs /sys/fs/cgroup -v /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd)
    start_host "$HOST" --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_NICE \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp "${cgroups[@]}" "$HOST_IMAGES:$1" /sbin/init
}

# need_systemd : that of a host without the package tells whether it can boot here; once
need_systemd() {
    if [[ ! -e $HOSTS/boots ]]; then
        need_image systemd-bare
        begin_systemd systemd-bare
        if wait_until 30 has_booted; then echo yes; else echo no; fi >"$HOSTS/boots"
        end_host
    fi
    [[ $(<"$HOSTS/boots") == yes ]] || skip "systemd does not boot in a container here"
}

# has_booted : also when a unit has failed
has_booted() {
    [[ $(on_host systemctl is-system-running 2>&1) == @(running|degraded) ]]
}

reboot_host() {
    docker restart -t 0 "$HOST" >/dev/null 3>&-
    wait_until 30 has_booted
    wait_until 20 host_answers
}

end_host() {
    [[ -z ${HOST:-} ]] || docker rm -f "$HOST" >/dev/null 2>&1
}

# on_host COMMAND... : as root in the container
on_host() {
    docker exec -e DEBIAN_FRONTEND=noninteractive "$HOST" "$@" 3>&-
}

# on_host_stdin COMMAND... : the same, with this shell's standard input
on_host_stdin() {
    docker exec -i "$HOST" "$@" 3>&-
}

# host_installs PACKAGE... : by apt; what it says is shown when it fails
host_installs() {
    on_host apt-get install -y --no-install-recommends "$@" >"$BATS_TEST_TMPDIR/apt" 2>&1 || {
        tail -n 20 "$BATS_TEST_TMPDIR/apt" >&2
        return 1
    }
}

# begin_serving : the site turned on, and all started; systemd has done that
begin_serving() {
    on_host ln -s ../sites-available/cgi-message /etc/nginx/sites-enabled/
    on_host nginx -t -q
    on_host test -d /run/systemd/system || on_host cgi-message start
    on_host nginx -s reload
    wait_until 20 host_answers
}

# upgrade : to the newer package, but for nginx's reload, which is the package nginx's own work, when all else is done
upgrade() {
    on_host dpkg -i --no-triggers /packages/newer.deb >"$BATS_TEST_TMPDIR/dpkg" 2>&1
}

# set_setting [LINE] : the only one in the host's settings; without LINE, none
set_setting() {
    on_host sh -c 'sed -i "/^[^#]/d" /etc/default/cgi-message && printf "%s\n" "$1" >>/etc/default/cgi-message' sh "${1:-}"
}

# ---- what is there ----

# host_answers_at URL : the sample (containers.bash), rightly, over nginx
host_answers_at() {
    is_sample_answer "$(on_host curl -sk --max-time 5 -d "$SAMPLE_REQUEST" "$1/api")"
}

host_answers() {
    host_answers_at http://127.0.0.1:8080
}

# files_of_host : all paths but apt's and dpkg's own state, the copy that useradd keeps, and what is no disk
files_of_host() {
    on_host find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/lib/dpkg -o -path /var/lib/apt -o \
        -path /var/cache -o -path /var/log/apt -o -path /root -o -path /etc/shadow- \) -prune -o -print | sort
}

# files_made : of configure, with their sums
files_made() {
    on_host sh -c 'find /var/lib/cgi-message -type f -exec sha256sum {} + | sort'
}

# supervisor_of INSTANCE : the pid of its multiwatch; worker_of INSTANCE : of the worker under it
supervisor_of() {
    on_host sh -c 'if [ -d /run/systemd/system ]; then systemctl show -p MainPID --value "cgi-${0%-*}@${0##*-}"
        else cat "/run/cgi-message/$0.pid"; fi' "$1"
}

worker_of() {
    on_host sh -c 'read -r pid _ <"/proc/$0/task/$0/children"; echo "$pid"' "$(supervisor_of "$1")"
}

# program_of PID : what it runs
program_of() {
    on_host sha256sum "/proc/$1/exe" | cut -d ' ' -f 1
}

# expect_units_run : all of them, and nothing on the host has failed
expect_units_run() {
    local unit
    for unit in cgi-app@1 cgi-app@2 cgi-transform@1 cgi-transform@2 cgi-message.target; do
        expect_equal active "$(on_host systemctl is-active "$unit")" "$unit"
    done
    expect_equal '' "$(on_host systemctl list-units --failed --plain --no-legend)"
}

# ids_of PATTERN FILE... : the request ids of the lines with PATTERN, sorted
ids_of() {
    on_host sh -c 'grep -h "$0" "$@" | sed -E "s/.*\"request_id\":\"([^\"]*)\".*/\1/" | sort' "$@"
}

# has_lines COUNT PATTERN FILE...
has_lines() {
    (($(ids_of "${@:2}" | wc -l) >= $1))
}

# refuse STATUS REGEX COMMAND... : on the host; it fails with this status and one line that matches
refuse() {
    run on_host "${@:3}"
    expect_status "$1" || { echo "of: ${*:3}" >&2; return 1; }
    expect_equal 1 "${#lines[@]}" "lines of ${*:3}: $output" || return
    expect_match "^cgi-message: $2" "$output" "of ${*:3}"
}

# ---- no call is lost ----

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
