#!/usr/bin/env bats
# shellcheck shell=bats
# The sandbox of a process: what a handler that tries gets, what a service's description opens, and what is said where
# the kernel has none. unit/sandboxed.c is the service, one attempt a path.

load lib/helpers

setup() {
    # Their runtimes open files, map executable memory and start a program, so these builds have no sandbox (sandbox.c).
    [[ -z ${SANITIZE:-} ]] || skip "a sanitizer's build has no sandbox"
    unset SANDBOX # not by lib/helpers: scripts/coverage sets it
    SOCKET="$BATS_TEST_TMPDIR/socket"
    export SANDBOXED_FILE="$BATS_TEST_TMPDIR/file" SANDBOXED_SOCKET="$SOCKET"
    echo "a line" >"$SANDBOXED_FILE"
    # shellcheck disable=SC2034 # read by end_services: an attempt that fails is logged, as is a 500
    SERVICE_NOISE='"level":"error".*"message":"(/[a-z0-9-]+: [A-Z]+|answered 500, .*)"\}$'
}

teardown() {
    end_services
}

# start_sandboxed [VARIABLE=VALUE...] [WRAPPER...]
start_sandboxed() {
    launch sandboxed "$SOCKET" env "$@" spawn-fcgi -s "$SOCKET" -b 4096 -n -- "$BUILD_DIR/tests/sandboxed"
}

# attempt PATH : prints "worked", or the status and the error's name
attempt() {
    local reply
    reply=$(call "$SOCKET" GET "$1" --param HTTP_X_REQUEST_ID="try${1//\//-}")
    case $reply in
    *'Status: 200 OK'*'it worked') echo worked ;;
    *) sed -nE 's/^Status: ([0-9]+).*/\1/p; s/.*"detail":"([A-Z]+)".*/\1/p' <<<"$reply" | paste -sd ' ' ;;
    esac
}

# expect_attempts EXPECTED PATH...
expect_attempts() {
    local path
    for path in "${@:2}"; do
        expect_equal "$1" "$(attempt "$path")" "$path"
    done
}

# in_every_thread PID FIELD : of /proc/PID/task/*/status, each value once
in_every_thread() {
    sed -nE "s/^$2:\s*//p" "/proc/$1/task/"*/status | sort -u
}

warnings() {
    grep -c '"level":"warning"' "$BATS_TEST_TMPDIR/sandboxed.log" || true
}

USUAL=(/open-to-read /open-another /open-to-write /read-a-line /fork /connect-tcp /connect-unix /map-code /make-memory-code
    /raise-a-limit /signal-the-parent)

# ---- what is refused ----

@test "files, processes, sockets, code: each attempt is a logged 500, and the same process answers the next" {
    start_sandboxed THREADS=2
    local path pid=${SERVICE_PID[sandboxed]}
    expect_attempts '500 EPERM' /connect-tcp /connect-unix /map-code /make-memory-code /io-uring /fork /raise-a-limit \
        /signal-the-parent
    # fork() of glibc is clone; open() is openat, which the filter refuses before Landlock would
    expect_attempts '500 EPERM' /open-to-read /open-another /open-to-write /read-a-line
    for path in "${USUAL[@]}"; do
        grep -q "\"pid\":$pid,\"request_id\":\"try-${path#/}\",\"message\":\"$path: EPERM\"" "$BATS_TEST_TMPDIR/sandboxed.log" ||
            { echo "not logged: $path" >&2; return 1; }
        grep -q "\"request_id\":\"try-${path#/}\",\"message\":\"answered 500" "$BATS_TEST_TMPDIR/sandboxed.log"
    done
    expect_equal 0 "$(warnings)" warnings
}

@test "the calls of another processor mode, which have other numbers, are refused, and do not kill" {
    REQUEST_METHOD=GET SCRIPT_NAME=/32-bits SANDBOX=off "$BUILD_DIR/tests/sandboxed" 2>/dev/null | grep -q worked ||
        skip "this kernel takes no calls of 32 bits"
    start_sandboxed
    expect_attempts '500 EPERM' /32-bits
    expect_attempts worked /thread
}

@test "of more than 60 system calls that a handler has no use for, none is let through" {
    start_sandboxed
    expect_equal '' "$(call "$SOCKET" GET /let-through | sed '1,/^\r$/d')" 'let through'
}

@test "SANDBOX=off: each of these attempts works, each of these system calls is let through" {
    start_sandboxed SANDBOX=off
    expect_attempts worked "${USUAL[@]}"
    local name through
    through=$(call "$SOCKET" GET /let-through | sed '1,/^\r$/d')
    # Not bpf and its like: whether the kernel lets these through is the machine's affair.
    for name in execve execveat openat openat2 renameat2 unlinkat socket connect bind listen ioctl ptrace process_vm_readv \
        memfd_create unshare setns personality seccomp pkey_mprotect shutdown setsockopt prlimit64 clone clone3; do
        grep -qx "$name" <<<"$through" || { echo "not let through: $name" >&2; return 1; }
    done
}

@test "what handlers may always do: start a thread" {
    start_sandboxed
    expect_attempts worked /thread
}

@test "abort() still ends the process, by SIGABRT" {
    start_sandboxed prlimit --core=0
    local status=0
    run call "$SOCKET" GET /abort
    await_service sandboxed 5 || status=$?
    expect_equal 134 "$status" "exit status"
}

# ---- what a service's description opens ----

@test "readable: this file can be opened to read, with open() and stdio, not to write, and no other" {
    start_sandboxed SANDBOXED=read
    expect_attempts worked /open-to-read /read-a-line
    expect_attempts '500 EPERM' /open-to-write /connect-unix /fork
    expect_attempts '500 EACCES' /open-another
}

@test "readable: a folder stands for all below" {
    start_sandboxed SANDBOXED=read SANDBOXED_FILE=/etc
    expect_attempts worked /open-to-read /open-another
    expect_attempts '500 EPERM' /open-to-write
}

@test "openat without a readable path: Landlock refuses each file" {
    start_sandboxed SANDBOXED=open
    expect_attempts '500 EACCES' /open-to-read /open-another /open-to-write
}

@test "a system call by name: clone and wait4 let a handler fork, and do nothing else" {
    start_sandboxed SANDBOXED=fork
    expect_attempts worked /fork /thread
    expect_attempts '500 EPERM' /open-to-read /connect-unix
}

@test "a name that is no system call, a path that is not there: refused at start with one line that names it" {
    run timeout 10 env SANDBOXED=unknown spawn-fcgi -s "$SOCKET" -n -- "$BUILD_DIR/tests/sandboxed"
    expect_status 1
    expect_equal 1 "${#lines[@]}" "lines: $output"
    expect_match '"level":"error".*"message":"cannot start: \\"opennat\\" in the service.s description is no system call"' "$output"
    run timeout 10 env SANDBOXED=read SANDBOXED_FILE=/not/there spawn-fcgi -s "$SOCKET" -n -- "$BUILD_DIR/tests/sandboxed"
    expect_status 1
    expect_equal 1 "${#lines[@]}" "lines: $output"
    expect_match '"level":"error".*"message":"cannot start: /not/there, which handlers are to read: No such file' "$output"
}

# ---- the services ----

@test "app and transform: every thread has both filters, and none with SANDBOX=off" {
    local name
    for name in app transform; do
        start_service "$name" "$SOCKET" THREADS=3 STATUS_SOCKET="$SOCKET.status"
        expect_equal 5 "$(find "/proc/${SERVICE_PID[$name]}/task" -mindepth 1 -maxdepth 1 | wc -l)" "threads of $name"
        expect_equal 2 "$(in_every_thread "${SERVICE_PID[$name]}" Seccomp)" "$name: Seccomp"
        expect_equal 1 "$(in_every_thread "${SERVICE_PID[$name]}" NoNewPrivs)" "$name: NoNewPrivs"
        stop_service "$name"
        start_service "$name" "$SOCKET" SANDBOX=off THREADS=3 STATUS_SOCKET="$SOCKET.status"
        expect_equal 0 "$(in_every_thread "${SERVICE_PID[$name]}" Seccomp)" "$name: Seccomp"
        expect_equal 0 "$(in_every_thread "${SERVICE_PID[$name]}" NoNewPrivs)" "$name: NoNewPrivs"
        stop_service "$name"
    done
}

@test "the status has the process's memory, though nothing can be opened any more" {
    start_service transform "$SOCKET" STATUS_SOCKET="$SOCKET.status"
    local told
    told=$(call "$SOCKET.status" GET /_status | sed '1,/^\r$/d' | jq .memory)
    ((told > 100000)) || { echo "memory: $told" >&2; return 1; }
}

@test "one CGI request is answered in the sandbox, too" {
    run env REQUEST_METHOD=GET SCRIPT_NAME=/open-to-read "$BUILD_DIR/tests/sandboxed"
    expect_match 'Status: 500' "$output"
    expect_match '"detail":"EPERM"' "$output"
    run env SANDBOX=off REQUEST_METHOD=GET SCRIPT_NAME=/open-to-read "$BUILD_DIR/tests/sandboxed"
    expect_match 'Status: 200' "$output"
}

@test "a SANDBOX that is neither on nor off is refused with one line that names it" {
    local bad
    for bad in yes OFF 0 "on "; do
        run env SANDBOX="$bad" "$BUILD_DIR/cgi-app" -t
        expect_status 2
        expect_equal "cgi-app: SANDBOX is \"$bad\"; set it to on or off" "$output"
    done
    for good in on off ''; do
        run env SANDBOX="$good" "$BUILD_DIR/cgi-app" -t
        expect_status 0
    done
}

# ---- a kernel, or a container engine, without ----

# start_without ERRNO CALLS : where these system calls fail so
start_without() {
    start_sandboxed "$BUILD_DIR/tests/refusing" "$@"
}

LANDLOCK=landlock_create_ruleset,landlock_add_rule,landlock_restrict_self
ENOSYS=38 EPERM=1

@test "without Landlock: one warning, and the filter of system calls alone" {
    start_without $ENOSYS $LANDLOCK
    expect_equal 1 "$(warnings)" warnings
    grep -q '"message":"the sandbox is without Landlock (Function not implemented): ' "$BATS_TEST_TMPDIR/sandboxed.log"
    expect_attempts '500 EPERM' /open-to-read /open-to-write /fork /connect-unix
}

@test "without Landlock a readable path still opens reading only" {
    start_sandboxed SANDBOXED=read "$BUILD_DIR/tests/refusing" $ENOSYS $LANDLOCK
    expect_attempts worked /open-to-read
    expect_attempts '500 EPERM' /open-to-write
}

@test "without seccomp: one warning, and Landlock alone" {
    start_without $EPERM seccomp
    expect_equal 1 "$(warnings)" warnings
    grep -q '"message":"the sandbox is without seccomp (' "$BATS_TEST_TMPDIR/sandboxed.log"
    expect_attempts '500 EACCES' /open-to-read /open-to-write
    expect_attempts worked /connect-unix
}

@test "without both: one warning that names both, and the service serves" {
    start_without $ENOSYS $LANDLOCK,seccomp
    expect_equal 1 "$(warnings)" warnings
    grep -qE '"message":"the sandbox is without seccomp \(.*\) and Landlock \(.*\): ' "$BATS_TEST_TMPDIR/sandboxed.log"
    expect_attempts worked /open-to-read
}
