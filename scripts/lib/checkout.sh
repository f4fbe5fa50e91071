# What ./scripts/run starts: the processes of a copy in RUN_DIR, how its instances start and end, and what nginx is told of
# them. One of the two platforms (platform.sh). Sourced after nginx.sh and sets.sh.
#
# In RUN_DIR, of the instance app-blue-1: app-blue-1.sock, .status (its sockets), .pid (of its multiwatch);
# bin/app-blue/cgi-app, its program, a copy: a worker that dies is replaced by one of the same build.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for routing.sh
TOOL=./scripts/               # and start, route, stop
SUPERVISOR=(serve spawn-fcgi multiwatch) # what an instance's pid is in turn

# ---- what runs ----

# is_ours PID COMMAND... : it runs, its program is one of these, and it was started for this RUN_DIR: its working folder is
# that, or was, before somebody deleted it (git clean -fdx). A pid alone proves nothing: the file may be old, and the number another process's by now.
is_ours() {
    local pid=$1 stat command
    shift
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
    [[ $stat != *") Z "* ]] && { [[ /proc/$pid/cwd -ef $RUN_DIR ]] || [[ $(readlink "/proc/$pid/cwd") == "$RUN_DIR (deleted)" ]]; } ||
        return 1
    # The kernel keeps 15 bytes of a program's name.
    for command; do [[ $stat == "$pid (${command:0:15}) "* ]] && return; done
    return 1
}

# pid_of NAME COMMAND... : the pid in $RUN_DIR/NAME.pid, if that is ours and runs one of these
pid_of() {
    local pid
    { read -r pid <"$RUN_DIR/$1.pid"; } 2>/dev/null && is_ours "$pid" "${@:2}" && say "$pid"
}

# all_ours COMMAND... : the pids of all that runs for this RUN_DIR and is one of these programs, one a line.
all_ours() {
    local pid
    for pid in /proc/[0-9]*; do
        is_ours "${pid#/proc/}" "$@" && say "${pid#/proc/}"
    done
    true
}

# all_masters : the pids of nginx's masters among them
all_masters() {
    local pid
    for pid in $(all_ours nginx); do
        ! grep -qs 'master process' "/proc/$pid/cmdline" || say "$pid"
    done
}

# ---- starting ----

pids=() # of what this script has started

# start NAME COMMAND... : in a session of its own, so that Ctrl-C reaches this script alone, which then drains; and in
# RUN_DIR, which tells whose it is (is_ours). The locks are this script's alone.
start() {
    local name=$1
    shift
    # shellcheck disable=SC2154 # scripts/run or lock_changes has opened it
    (cd "$RUN_DIR" && exec setsid "$@") </dev/null >>"$RUN_DIR/log/$name.log" 2>&1 {lock}>&- &
    pids+=($!)
}

start_instance() {
    STATUS_SOCKET=$RUN_DIR/$1.status start "$1" "$ROOT/scripts/serve" "$RUN_DIR/$1.sock" 0600 "$RUN_DIR/bin/${1%-*}/cgi-${1%%-*}"
    { say "${pids[-1]}" >"$RUN_DIR/$1.pid"; } 2>/dev/null || die "$RUN_DIR/$1.pid cannot be written; is the disk full?"
}

# is_supervised NAME : a worker of it that dies is replaced
is_supervised() {
    pid_of "$1" "${SUPERVISOR[@]}" >/dev/null
}

# end_workers NAME : those that are left of an instance without a supervisor
end_workers() {
    local workers
    mapfile -t workers < <(workers_at "$RUN_DIR/$1.status" "cgi-${1%%-*}")
    end TERM "${workers[@]}"
}

# lost_instances : the names of those that are to run and have no supervisor, one a line
lost_instances() {
    local set name
    load_sets
    for set in "${!INSTANCES[@]}"; do
        for name in $(instances_of "$set"); do is_supervised "$name" || say "$name"; done
    done
}

# start_again NAME : what its supervisor has left behind ends, and it starts again
start_again() {
    complain "$1 has lost its supervisor; it is started again"
    end_workers "$1"
    rm -f -- "$RUN_DIR/$1".{sock,status}
    start_instance "$1"
}

start_set() {
    local i bin=$RUN_DIR/bin/$1
    mkdir -p -- "$bin" && cp --remove-destination -- "$3" "$bin/" || return 1
    build_name "$3" "$(git -C "$ROOT" describe --always --dirty 2>/dev/null || say unknown)" >"$bin/build"
    for ((i = 1; i <= $2; i++)); do start_instance "$1-$i"; done
}

# ---- instances ----

instances_of() {
    local i
    for ((i = 1; i <= ${INSTANCES[$1]:-0}; i++)); do say "$1-$i"; done
}

sockets_of() {
    local name
    for name in $(instances_of "$1"); do say "unix:$RUN_DIR/$name.$2"; done
}

build_of() {
    cat "$RUN_DIR/bin/$1/build"
}

answer() {
    local name
    for name; do "$ROOT/scripts/ask-health" "$RUN_DIR/$name.sock" 2>/dev/null || return 1; done
}

log_of() {
    say "log/$1.log in $RUN_DIR"
}

# multiwatch tells of each try
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
    wait_until "$STOP_SECONDS" all_gone "$@" && return
    complain "still running after $STOP_SECONDS s, killed: $*"
    kill -KILL "$@" 2>/dev/null || true
}

end_set() {
    local file name pid ending=()
    for file in "$RUN_DIR/$1"-*.pid; do
        name=$(basename "$file" .pid)
        pid=$(pid_of "$name" "${SUPERVISOR[@]}") && ending+=("$pid")
    done
    end TERM "${ending[@]}"
    for file in "$RUN_DIR/$1"-*.pid; do end_workers "$(basename "$file" .pid)"; done
    rm -f -- "$RUN_DIR/$1"-*.{sock,status,pid}
}

# ---- nginx ----

render_sets() {
    render_services "$RUN_DIR/bin/nginx"
}

nginx_pid() {
    pid_of nginx nginx
}

test_nginx() {
    nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf"
}

nginx_error() {
    tail -n 1 "$RUN_DIR/log/error.log"
}

body_folder() {
    say "$RUN_DIR/tmp"
}

# lock_changes : one change at a time
lock_changes() {
    exec {lock}>"$RUN_DIR/changes.lock"
    flock -n "$lock" || die "another change of what runs in $RUN_DIR is under way; wait for it"
}
