# The instances of a running copy: how they start and end, and what nginx is told of them. Sourced after scripts/lib.sh,
# render.sh and sets.sh. routing.sh calls these functions; on a host, those of the same names in host/cgi-message.
#
# In RUN_DIR, of the instance app-blue-1: app-blue-1.sock, .status (its sockets), .pid (of its multiwatch);
# bin/app-blue/cgi-app, its program, a copy: a worker that dies is replaced by one of the same build.
# shellcheck shell=bash

BACKLOG=4096     # per instance; the kernel's net.core.somaxconn cuts it
DRAIN_SECONDS=25 # longer than nginx's worker_shutdown_timeout and the services' own limit, 20 s each
# shellcheck disable=SC2034 # for routing.sh
TOOL=./scripts/  # what an operator calls: this, and start, route, stop

# instances_of SET : the names of its instances, one a line
instances_of() {
    local i
    for ((i = 1; i <= ${INSTANCES[$1]:-0}; i++)); do say "$1-$i"; done
}

# build_of SET : which build it runs, as git describes it
build_of() {
    cat "$RUN_DIR/bin/$1/build"
}

# ---- starting ----

pids=() # of what this script has started

# start NAME COMMAND... : in a session of its own, so that Ctrl-C reaches this script alone, which then drains; and in
# RUN_DIR, which tells whose it is (is_ours). The lock is this script's alone.
start() {
    local name=$1
    shift
    # shellcheck disable=SC2154 # scripts/run or lock_changes has opened it
    (cd "$RUN_DIR" && exec setsid "$@") </dev/null >>"$RUN_DIR/log/$name.log" 2>&1 {lock}>&- &
    pids+=($!)
}

# spawn-fcgi opens the socket, multiwatch keeps one worker on it, however often that dies (-r).
start_instance() {
    STATUS_SOCKET=$RUN_DIR/$1.status start "$1" spawn-fcgi -s "$RUN_DIR/$1.sock" -M 0600 -b "$BACKLOG" -n -- \
        "$(command -v multiwatch)" -f 1 -r 2000000000 -t 1 -- "$RUN_DIR/bin/${1%-*}/cgi-${1%%-*}"
    { say "${pids[-1]}" >"$RUN_DIR/$1.pid"; } 2>/dev/null || die "$RUN_DIR/$1.pid cannot be written; is the disk full?"
}

# start_set SET COUNT PROGRAM : of a copy of it. Returns before they serve.
start_set() {
    local i bin=$RUN_DIR/bin/$1
    mkdir -p -- "$bin" && cp --remove-destination -- "$3" "$bin/" || return 1
    git -C "$ROOT" describe --always --dirty 2>/dev/null >"$bin/build" || say unknown >"$bin/build"
    for ((i = 1; i <= $2; i++)); do start_instance "$1-$i"; done
}

# answer NAME... : each says that it is healthy, by way of its queue
answer() {
    local name
    for name; do
        [[ -S $RUN_DIR/$name.sock ]] && REQUEST_METHOD=GET SCRIPT_NAME=/_health \
            timeout 2 cgi-fcgi -bind -connect "$RUN_DIR/$name.sock" 2>/dev/null | grep -q '"pass"' || return 1
    done
}

# log_of NAME : where it says what
log_of() {
    say "log/$1.log in $RUN_DIR"
}

# last_words NAME : the last line of an instance's log that is the service's own; multiwatch tells of each try
last_words() {
    grep -Ev '^(Spawning c|C)hild\[' "$RUN_DIR/log/$1.log" | tail -n 1
}

# ---- ending ----

# all_gone PID... : none of them runs
all_gone() {
    local pid stat
    for pid; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        [[ $stat == *") Z "* ]] || return 1
    done
}

# end SIGNAL PID... : ask, wait, insist
end() {
    local signal=$1
    shift
    (($#)) || return 0
    kill "-$signal" "$@" 2>/dev/null || true
    wait_until "$DRAIN_SECONDS" all_gone "$@" && return
    say "${0##*/}: still running after $DRAIN_SECONDS s, killed: $*" >&2
    kill -KILL "$@" 2>/dev/null || true
}

# end_set SET : drain all its instances
end_set() {
    local file name pid ending=()
    for file in "$RUN_DIR/$1"-*.pid; do
        name=$(basename "$file" .pid)
        pid=$(pid_of "$name" spawn-fcgi multiwatch) && ending+=("$pid")
    done
    end TERM "${ending[@]}"
    rm -f -- "$RUN_DIR/$1"-*.{sock,status,pid}
}

# ---- what nginx is told ----

# addresses_of SET KIND : the sockets of its instances; KIND is sock or status
addresses_of() {
    local name
    for name in $(instances_of "$1"); do say "unix:$RUN_DIR/$name.$2"; done
}

# render_sets : nginx's files by INSTANCES and WEIGHT
render_sets() {
    call_sets app
    call_sets transform
    render_nginx "$RUN_DIR/bin/nginx" "$APP_INSTANCES" "$TRANSFORM_INSTANCES"
}

nginx_pid() {
    pid_of nginx nginx
}

test_nginx() {
    nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf"
}

# nginx_error : the last that it complained of
nginx_error() {
    tail -n 1 "$RUN_DIR/log/error.log"
}

# lock_changes : one change at a time
lock_changes() {
    exec {lock}>"$RUN_DIR/changes.lock"
    flock -n "$lock" || die "another change of what runs in $RUN_DIR is under way; wait for it"
}
