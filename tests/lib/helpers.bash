# shellcheck shell=bash
# The words that all bats files share: where things are, waiting, expecting, starting a service and ending it.
# A bats file says `load lib/helpers`, and `teardown() { end_services; }` if it starts any.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
BUILD_DIR="$(realpath -m -- "${BUILD_DIR:-$ROOT/build}")"
export ROOT BUILD_DIR PYTHONDONTWRITEBYTECODE=1

# A test sets what it needs; what the caller of the tests has set must not change their outcome.
unset METRICS_LISTEN THREADS MAX_BODY_BYTES MAX_BUFFERED_BYTES LOG_LEVEL REQUEST_METHOD

# Nor what curl would read: a proxy, ~/.curlrc. No function: of one in the background, $! would be the shell.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export CURL_HOME=$BATS_RUN_TMPDIR
: >"$CURL_HOME/.curlrc"

# ---- waiting ----

# wait_until SECONDS COMMAND... : run COMMAND until it succeeds; fail, naming it, after SECONDS
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || { echo "gave up waiting for: $*" >&2; return 1; }
        sleep 0.05
    done
}

# ---- expecting ----
#
# Each of these returns 0 and prints nothing when what it expects is so. Else it returns 1, which ends the test, and prints to
# standard error what it is about, what was expected and what came; helpers.bats has each of these texts. WHAT, a few words of
# the test's own, stands in the first line instead of the usual ones: say it where one line of a test checks several things.
#
#   expect_equal '200' "$code" "status of $path"
#       status of /api
#         expected: 200
#         actual:   502
#
# In a function, write `|| return` behind each but the last: one that is called with `||`, `&&` or `if` goes on otherwise.

# expect_equal EXPECTED ACTUAL [WHAT] : both are the same text, to the last byte
expect_equal() {
    [[ "$1" == "$2" ]] && return
    printf '%s\n  expected: %s\n  actual:   %s\n' "${3:-not equal}" "$1" "$2" >&2
    return 1
}

# expect_match REGEX TEXT [WHAT] : the extended REGEX matches some part of TEXT; its groups are in BASH_REMATCH then
expect_match() {
    [[ "$2" =~ $1 ]] && return
    printf '%s\n  expected a match of: %s\n  actual:              %s\n' "${3:-no match}" "$1" "$2" >&2
    return 1
}

# expect_no_match REGEX TEXT [WHAT] : the extended REGEX matches no part of TEXT
expect_no_match() {
    # shellcheck disable=SC2319 # the condition's: 2 says that REGEX is none
    [[ "$2" =~ $1 ]] || (($? == 2)) || return 0
    printf '%s\n  expected no match of: %s\n  actual:               %s\n' "${3:-a match}" "$1" "$2" >&2
    return 1
}

# expect_status EXPECTED : the command of the last `run` ended with it. Shows what the command printed, too.
expect_status() {
    # shellcheck disable=SC2154 # bats' `run` sets both
    [[ "$1" == "$status" ]] && return
    # shellcheck disable=SC2154
    printf 'exit status\n  expected: %s\n  actual:   %s\nit printed:\n%s\n' "$1" "$status" "$output" >&2
    return 1
}

# ---- services ----

# service_list : all that there are, as messages name them: "app and transform"
service_list() {
    awk '/^[a-z]/ { list = list (list ? ", " : "") $1 } END { print list }' "$ROOT/services" | sed 's/\(.*\), /\1 and /'
}

declare -gA SERVICE_PID=()    # of what runs, by name
SERVICE_LOGS=()               # of all that ever ran in this test
SERVICE_NOISE='^$'            # lines that a test expects in a log beside the service's own

# call SOCKET METHOD PATH [--body TEXT | --body -] [--param NAME=VALUE]... : one FastCGI call; prints the CGI response
call() {
    python3 "$ROOT/tests/lib/fcgi.py" call "$@"
}

is_ready() {
    python3 "$ROOT/tests/lib/fcgi.py" ready "$1" 2>/dev/null
}

# is_listening SOCKET : somebody does; a socket's file is there a moment earlier
is_listening() {
    python3 "$ROOT/tests/lib/fcgi.py" listens "$1"
}

# start_service NAME SOCKET [VARIABLE=VALUE...] [WRAPPER...] : start cgi-NAME on SOCKET and wait until it answers
start_service() {
    launch "$1" "$2" env "${@:3}" spawn-fcgi -s "$2" -b 4096 -n -- "$BUILD_DIR/cgi-$1"
}

# start_supervised NAME SOCKET [VARIABLE=VALUE...] : the same under multiwatch, as scripts/run has it
start_supervised() {
    launch "$1" "$2" env "${@:3}" spawn-fcgi -s "$2" -b 4096 -n -- \
        "$(command -v multiwatch)" -f 1 -r 1000000 -t 1 -- "$BUILD_DIR/cgi-$1"
}

# launch NAME SOCKET COMMAND... : in the background, its stderr to $BATS_TEST_TMPDIR/NAME.log
launch() {
    local log="$BATS_TEST_TMPDIR/$1.log"
    "${@:3}" </dev/null 2>>"$log" 3>&- &
    SERVICE_PID[$1]=$!
    SERVICE_LOGS+=("$log")
    wait_until 10 is_ready "$2" || { cat "$log" >&2; return 1; }
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

# await_service NAME SECONDS : wait until it ends by itself; returns its exit status
await_service() {
    local pid="${SERVICE_PID[$1]}"
    wait_until "$2" is_gone "$pid" || return
    unset "SERVICE_PID[$1]"
    wait "$pid"
}

# stop_service NAME : ask it to drain; returns its exit status
stop_service() {
    kill -TERM "${SERVICE_PID[$1]}"
    await_service "$1" 25
}

# end_services : for teardown. Fails if one has died, does not end well, or left something unexpected in its log.
end_services() {
    local name failed=0
    for name in "${!SERVICE_PID[@]}"; do
        if is_gone "${SERVICE_PID[$name]}"; then
            echo "cgi-$name has died" >&2
            failed=1
        elif ! stop_service "$name"; then
            echo "cgi-$name did not end with 0 after SIGTERM" >&2
            kill -KILL "${SERVICE_PID[$name]:-}" 2>/dev/null
            failed=1
        fi
    done
    for name in "${SERVICE_LOGS[@]}"; do
        log_is_clean "$name" || failed=1
    done
    return "$failed"
}

# log_is_clean FILE : nothing but the service's own lines below level error, and never a sanitizer's report
log_is_clean() {
    local own='^\{"time":.*"level":"(debug|info|warning)".*\}$' unexpected
    unexpected="$(grep -Ev "$own" "$1" | grep -Ev "$SERVICE_NOISE")"
    unexpected+="$(grep -E 'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:' "$1")"
    [[ -z "$unexpected" ]] && return
    printf 'unexpected in %s:\n%s\n' "${1##*/}" "$unexpected" >&2
    return 1
}
