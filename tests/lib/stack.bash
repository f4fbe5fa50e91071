# shellcheck shell=bash
# A whole copy of the system for tests: scripts/run with ports and a RUN_DIR of its own, calls to it, its processes.
# A bats file says `load lib/helpers` and `load lib/stack`, starts a stack in setup_file() or in a test, and ends it in
# teardown_file() or teardown(). Settings of the copy are given as VARIABLE=VALUE.

# The one place that says what the services compute: the file `sample`. Sets SAMPLE_REQUEST, and SAMPLE_ANSWER, jq's filter.
# shellcheck source=scripts/lib/http.sh
source "$ROOT/scripts/lib/http.sh"
# shellcheck source=scripts/lib/sample.sh
source "$ROOT/scripts/lib/sample.sh"

# free_port : a port that nothing listens on, below the kernel's range for outgoing connections
free_port() {
    python3 "$ROOT/tests/lib/http.py" free-port
}

# start_stack DIR [VARIABLE=VALUE...] : start a copy with RUN_DIR=DIR; sets RUN_DIR, HTTP_PORT, HTTPS_PORT, URL
start_stack() {
    export RUN_DIR=$1 HTTP_PORT HTTPS_PORT URL
    HTTP_PORT=$(free_port)
    HTTPS_PORT=$(free_port)
    URL=http://127.0.0.1:$HTTP_PORT
    env "${@:2}" "$ROOT/scripts/run" -d </dev/null 3>&- || return
}

# end_stack : stop the copy. Fails if that fails, or a log holds what it must not.
end_stack() {
    local failed=0
    "$ROOT/scripts/stop" 3>&- || failed=1
    logs_are_clean || failed=1
    return "$failed"
}

STACK_NOISE='^$' # lines that a file expects in nginx's error log

# Those of calls to an instance that was killed or has ended. nginx or compose makes such a call again.
# shellcheck disable=SC2034 # for the tests
NOISE_OF_KILLED='no live upstreams|upstream prematurely closed|connect\(\) to unix:|(recv|writev|sendfile)\(\) failed'

# logs_are_clean : no sanitizer report anywhere, nothing unexpected in nginx's error log
logs_are_clean() {
    local unexpected
    unexpected=$(grep -ahE 'Sanitizer|runtime error:|\[(alert|emerg|crit)\]' "$RUN_DIR"/log/*.log | head -n 5)
    unexpected+=$(grep -ahE '\[error\]' "$RUN_DIR/log/error.log" | grep -aEv "$STACK_NOISE" | head -n 5)
    [[ -z $unexpected ]] && return
    printf 'unexpected in the logs:\n%s\n' "$unexpected" >&2
    return 1
}

# refuses_connections : nginx has closed its port, as the first thing of its stop
refuses_connections() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$HTTP_PORT") 2>/dev/null
}

# request METHOD PATH [CURL OPTION...] : one call; sets code, head, body. Its files end with the test.
request() {
    local out=$BATS_TEST_TMPDIR/reply
    # shellcheck disable=SC2034 # for the test
    code=$(curl -sS --max-time 30 -X "$1" -D "$out.head" -o "$out.body" -w '%{http_code}' "${@:3}" "$URL$2") ||
        return
    # shellcheck disable=SC2034
    head=$(tr -d '\r' <"$out.head") body=$(tr -d '\0' <"$out.body")
}

# request_metrics METHOD PATH [CURL OPTION...] : the same of the server for Prometheus
request_metrics() {
    URL=http://localhost request "$@" --unix-socket "$RUN_DIR/metrics.sock"
}

# raw FORMAT [PORT] : send bytes as they stand; sets code, head, body
raw() {
    local reply
    # shellcheck disable=SC2059 # the format is the request
    reply=$(printf "$1" | python3 "$ROOT/tests/lib/http.py" raw "${2:-$HTTP_PORT}" | tr -d '\r')
    # shellcheck disable=SC2034
    code=$(sed -nE '1s/^HTTP[^ ]* ([0-9]+).*/\1/p' <<<"$reply")
    head=${reply%%$'\n\n'*} body=${reply#*$'\n\n'}
}

# header NAME : the values of a header of the last reply, one a line
header() {
    sed -nE "s/^$1: (.*)$/\1/Ip" <<<"$head"
}

# post BODY [CURL OPTION...] : POST it to /api
post() {
    request POST /api --data-binary "$1" "${@:2}"
}

# post_sample [CURL OPTION...] : POST the sample's request to /api
post_sample() {
    post "$SAMPLE_REQUEST" "$@"
}

# expect_reply CODE [REGEX] : of the last request; REGEX is looked for in its body
expect_reply() {
    # shellcheck disable=SC2154
    [[ $code == "$1" && $body =~ ${2:-} ]] && return
    printf 'reply\n  expected: %s %s\n  actual:   %s %s\n%s\n' "$1" "${2:-}" "$code" "$body" "$head" >&2
    return 1
}

# expect_sample : the last reply is a 200, and the right answer to the sample
expect_sample() {
    expect_reply 200 || return
    is_sample_answer "$body" && return
    printf 'answer to the sample\n  expected: %s\n  actual:   %s\n' "$SAMPLE_ANSWER" "$body" >&2
    return 1
}

# expect_problem CODE [REGEX] : the last reply is problem+json with this status; REGEX is looked for in its detail
expect_problem() {
    expect_reply "$1" || return
    expect_equal application/problem+json "$(header content-type)" "Content-Type" || return
    local detail
    detail=$(python3 "$ROOT/tests/lib/http.py" problem "$1" <<<"$body") || return
    expect_match "${2:-.}" "$detail" "detail"
}

# multiwatch_of INSTANCE : the pid of its multiwatch; worker_of INSTANCE : of the worker under it
multiwatch_of() {
    cat "$RUN_DIR/$1.pid"
}

worker_of() {
    local pid
    pid=$(multiwatch_of "$1")
    tr -d ' ' <"/proc/$pid/task/$pid/children"
}

# is_ended PID : it does not run any more; a zombie does not
is_ended() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    [[ $stat == *") Z "* ]]
}

# signal_workers SIGNAL INSTANCE... : after a STOP, none of their threads goes on
signal_workers() {
    local name pid
    for name in "${@:2}"; do
        pid=$(worker_of "$name")
        kill "-$1" "$pid"
        [[ $1 != STOP ]] || wait_until 5 is_frozen "$pid"
    done
}

# is_frozen PID : each of its threads is stopped; one of them takes the signal, and until it does, the others go on
is_frozen() {
    ! grep -hqvE '^[0-9]+ \(.*\) T ' "/proc/$1/task/"*/stat
}

# end_instance INSTANCE... : drain it and do not replace it
end_instance() {
    local name pid
    for name; do
        pid=$(multiwatch_of "$name")
        kill -TERM "$pid"
        wait_until 10 is_ended "$pid"
    done
}

is_healthy() {
    [[ $(curl -s -o /dev/null --max-time 5 -w '%{http_code}' "$URL/_health") == 200 ]]
}

# logs_elsewhere FILE : no worker of nginx has it open
logs_elsewhere() {
    local nginx pid workers
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true # the line has no end
    for pid in "${workers[@]}"; do ! readlink "/proc/$pid/fd/"* | grep -qxF "$1" || return 1; done
}

# flush_log : the access log has all that was answered before, whichever worker of nginx has it
flush_log() {
    local log=$RUN_DIR/log/access.log
    mv "$log" "$log.before"
    kill -USR1 "$(<"$RUN_DIR/nginx.pid")"
    wait_until 10 logs_elsewhere "$log.before" || return
    cat "$log.before" "$log" >"$log.all"
    cat "$log.all" >"$log" # in its place: nginx has it open
    rm "$log.before" "$log.all"
}

# is_in_log REGEX FILE : nginx writes its access log with up to a second's delay, so wait_until this
is_in_log() {
    grep -qE "$1" "$RUN_DIR/log/$2"
}
