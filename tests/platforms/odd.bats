#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# shellcheck disable=SC2016 # for the bash that is called
# Odd environments: each works, or is refused before anything starts, by one line that names the thing and the next step.

load ../lib/helpers
load ../lib/stack

setup() {
    [[ -z ${SANITIZE:-} ]] || skip "these are of the scripts"
    export RUN_DIR=$BATS_TEST_TMPDIR/r HTTP_PORT HTTPS_PORT
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port)
    URL=http://127.0.0.1:$HTTP_PORT
}

teardown() {
    "$ROOT/scripts/stop" 3>&-
}

# need_namespaces : skip the test where this user can make none
need_namespaces() {
    APART=(unshare -mn)
    ((EUID == 0)) || APART=(unshare -rmn)
    "${APART[@]}" true 2>/dev/null || skip "no namespaces can be made here"
}

# expect_one_line LINE : the last `run` failed with this alone, and nothing was started
expect_one_line() {
    expect_equal "$1" "$output" || return
    ((status != 0)) || return
    expect_equal '' "$(find "$BATS_TEST_TMPDIR" -name '*-blue-*.pid')" "started"
}

# expect_serves COMMAND... : it starts a copy, which answers
expect_serves() {
    "$@" 3>&- || return
    post_sample || return
    expect_sample || return
    end_stack
}

@test "closed standard input, output and error, or no PATH: a copy starts, and answers" {
    expect_serves bash -c 'exec "$1" -d <&- >&- 2>&-' - "$ROOT/scripts/run"
    expect_serves env -u PATH "$ROOT/scripts/run" -d
}

@test "IPv6 is off: BIND=:: and ::1 are refused with what to set" {
    local address
    need_namespaces
    for address in :: ::1; do
        run "${APART[@]}" env BIND="$address" "$ROOT/scripts/run" -d 3>&-
        expect_one_line "run: BIND is \"$address\"; there is no IPv6 here, so set it to 0.0.0.0 or another address of IPv4"
    done
}

@test "a port of root's for an ordinary user: the message names the port's setting" {
    local name
    need_namespaces
    for name in HTTP_PORT HTTPS_PORT; do
        run "${APART[@]}" setpriv --bounding-set=-net_bind_service \
            env BIND=0.0.0.0 "$name"=80 "$ROOT/scripts/run" -d 3>&-
        expect_one_line "run: $name is 80, which is for root alone; set it to 1024 or more"
    done
}

@test "a port for proxies that something else has: the message names the port's setting" {
    local port=$HTTP_PORT
    RUN_DIR=$RUN_DIR.other "$ROOT/scripts/run" -d 3>&-
    HTTP_PORT=$(free_port) HTTPS_PORT=$(free_port) TRUSTED_PROXIES=127.0.0.1 PROXY_HTTP_PORT=$port run "$ROOT/scripts/run" -d 3>&-
    RUN_DIR=$RUN_DIR.other "$ROOT/scripts/stop" 3>&-
    expect_one_line "run: PROXY_HTTP_PORT is $port; something listens there already, so set it to a free port"
}

@test "a folder from which nothing can be executed, as RUN_DIR or BUILD_DIR: the message names it" {
    local name expected
    need_namespaces
    mkdir "$BATS_TEST_TMPDIR/noexec"
    for name in RUN_DIR BUILD_DIR; do
        run "${APART[@]}" bash -c 'mount -t tmpfs -o noexec none "$1" && exec env "$2=$1/x" "$3" -d' \
            - "$BATS_TEST_TMPDIR/noexec" "$name" "$ROOT/scripts/run" 3>&-
        expected="$name is \"$BATS_TEST_TMPDIR/noexec/x\"; what lies there cannot be executed (a mount with noexec)"
        expect_one_line "run: $expected, so set it to another folder"
    done
}

@test "a checkout that is read-only: the message names BUILD_DIR, then RUN_DIR; with both elsewhere a copy starts" {
    local read_only='mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && ip link set lo up && exec "$@"'
    need_namespaces
    run "${APART[@]}" bash -c "$read_only" - "$ROOT" env -u BUILD_DIR "$ROOT/scripts/run" -d 3>&-
    expect_one_line "run: BUILD_DIR is \"$ROOT/build\"; it cannot be written to, so set it to a folder where you can write"
    cp -r "$BUILD_DIR" "$BATS_TEST_TMPDIR/build"
    run "${APART[@]}" bash -c "$read_only" - "$ROOT" env -u RUN_DIR BUILD_DIR="$BATS_TEST_TMPDIR/build" "$ROOT/scripts/run" -d 3>&-
    expect_one_line "run: RUN_DIR is \"$ROOT/run\"; it cannot be written to, so set it to a folder where you can write"
    "${APART[@]}" bash -c "$read_only" - "$ROOT" env BUILD_DIR="$BATS_TEST_TMPDIR/build" "$ROOT/scripts/run" -d 3>&-
}

@test "a checkout in a path with a space, a BUILD_DIR with one: scripts and make refuse them with one line" {
    local copy="$BATS_TEST_TMPDIR/a checkout" why='make wants a path without spaces'
    mkdir "$copy"
    cp -r "$ROOT"/{Makefile,scripts,services,sample} "$copy"
    for command in run test; do
        run env -u BUILD_DIR "$copy/scripts/$command" 3>&-
        expect_one_line "$command: this checkout is in \"$copy\"; $why and other signs, so move it"
        BUILD_DIR="$copy/b" run "$ROOT/scripts/$command" 3>&-
        expect_one_line "$command: BUILD_DIR is \"$copy/b\"; $why and other signs, so set it to one"
    done
    run make -C "$copy" --no-print-directory BUILD="$BATS_TEST_TMPDIR/b"
    expect_one_line "${output%%\**}*** CURDIR is \"$copy\"; $why, so move this checkout, or set BUILD.  Stop."
}

@test "a limit of 64 descriptors: the message names it" {
    run bash -c 'ulimit -n 64 && exec "$1" -d' - "$ROOT/scripts/run" 3>&-
    expect_one_line 'run: the limit of descriptors is 64, which is too low for nginx; raise it to 1024 (ulimit -Hn)'
}

@test "a clone with core.autocrlf: no line of it ends otherwise" {
    git clone -q -c core.autocrlf=true "$ROOT" "$BATS_TEST_TMPDIR/clone"
    expect_equal '' "$(git -C "$BATS_TEST_TMPDIR/clone" ls-files --eol | awk '$1 != "i" substr($2, 2)')"
}

@test "Turkish, where [a-z] has no i: make has all its targets, and all services" {
    local copy=$BATS_TEST_TMPDIR/copy
    [[ -e /usr/share/i18n/locales/tr_TR ]] || skip "Debian's package locales is not installed"
    mkdir -p "$copy/locale"
    localedef -i tr_TR -f UTF-8 "$copy/locale/tr_TR.UTF-8"
    printf 'shift 9000 2 128 128 clients /\n' >"$copy/services"
    export LOCPATH=$copy/locale LANG=tr_TR.UTF-8
    unset LC_ALL
    expect_match ' lint .* install ' "$(make -C "$ROOT" --no-print-directory help | tr -s '\n' ' ')"
    expect_match '-Icgi-shift' "$(make -s -C "$copy" -f "$ROOT/Makefile" BUILD="$copy/build" dialect)"
}
