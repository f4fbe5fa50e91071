# What cgi-message starts on a host: its instances, how they start and end, with systemd and without it, and what nginx is told
# of them. One of the two platforms (scripts/lib/platform.sh). Sourced after nginx.sh and sets.sh.
#
# Blue is what is installed: app-1 is the unit cgi-app@1, in /run/cgi-message/app-1. Green is another build beside it:
# app-green-1 is cgi-app-green@1, in /run/cgi-message/app-green-1, of the program /var/lib/cgi-message/bin/app-green/cgi-app.
# shellcheck shell=bash

NAME=cgi-message # of the user, and of each folder
SOCKETS=/run/$NAME
RUN_DIR=/var/lib/$NAME
# shellcheck disable=SC2034 # for routing.sh
TOOL='cgi-message '

instances_of() {
    local i
    for ((i = 1; i <= ${INSTANCES[$1]:-0}; i++)); do say "${1%-blue}-$i"; done
}

sockets_of() {
    local name
    for name in $(instances_of "$1"); do say "unix:$SOCKETS/$name/${2/sock/socket}"; done
}

# instances : all that are to run
instances() {
    local set
    for set in $(all_sets); do instances_of "$set"; done
}

# set_of NAME : whose instance it is
set_of() {
    local set=${1%-*}
    [[ $set == *-green ]] || set+=-blue
    say "$set"
}

# program_of SET
program_of() {
    local program=cgi-${1%-*}
    if [[ $1 == *-green ]]; then say "$RUN_DIR/bin/$1/$program"; else say "$PROGRAMS/$program"; fi
}

# Where its program came from, and what tells it from others.
build_of() {
    local program
    program=$(program_of "$1")
    if [[ $1 == *-green ]]; then cat "${program%/*}/build"; else build_name "$program" "$program"; fi
}

has_systemd() {
    [[ -d /run/systemd/system ]]
}

# started : the names of the instances that were started, one a line
started() {
    local file sets=("${SERVICES[@]}" "${SERVICES[@]/%/-green}")
    sets=("${sets[@]/#/cgi-}")
    if has_systemd; then
        systemctl list-units --plain --no-legend "${sets[@]/%/@*.service}" |
            sed -nE 's/^cgi-([a-z-]+)@([^ ]+)\.service .*/\1-\2/p'
    else
        for file in "$SOCKETS"/*.pid; do
            [[ ! -e $file ]] || basename "$file" .pid
        done
    fi
}

answer() {
    local name
    for name; do "$ROOT/scripts/ask-health" "$SOCKETS/$name/socket" 2>/dev/null || return 1; done
}

# log_file NAME : without systemd
log_file() {
    say "/var/log/$NAME/$1.log"
}

log_of() {
    if has_systemd; then say "journalctl -t cgi-$1"; else log_file "$1"; fi
}

# multiwatch tells of each try
last_words() {
    if has_systemd; then journalctl -q -o cat -n 50 -t "cgi-$1"; else tail -n 50 "$(log_file "$1")"; fi |
        grep -Ev '^(Spawning c|C)hild\[' | tail -n 1
}

# ---- without systemd ----

# 2755: what is made in it is group adm's, who reads logs on Debian.
make_log_folder() {
    install -d -m 2755 -g adm "/var/log/$NAME"
}

# check_logs NAME... : before anything is taken down, as it could not come back
check_logs() {
    local name
    make_log_folder
    for name; do
        (umask 027 && : >>"$(log_file "$name")") 2>/dev/null || die "$(log_file "$name") cannot be written to; is the disk full?"
    done
}

# daemon NAME OPTION... : start-stop-daemon for it. A pid alone proves nothing: the number may be another process's by now.
daemon() {
    start-stop-daemon --quiet --oknodo --pidfile "$SOCKETS/$1.pid" --user "$NAME" --name multiwatch "${@:2}"
}

# launch NAME : returns before it serves
# shellcheck disable=SC2154 # turn is the lock of cgi-message; what is started must not hold it
launch() {
    install -d -m 0755 "$SOCKETS"
    install -d -m 0750 -o "$NAME" -g "$NAME" "$SOCKETS/$1"
    STATUS_SOCKET=$SOCKETS/$1/status daemon "$1" --start --background --make-pidfile --chuid "$NAME" --umask 077 \
        --output "$(log_file "$1")" --startas "$ROOT/scripts/serve" -- "$SOCKETS/$1/socket" 0660 \
        "$(program_of "$(set_of "$1")")" {turn}<&-
}

# is_launched NAME : its pid is multiwatch's, as daemon wants it, or nobody's; for a moment others have it (scripts/serve)
is_launched() {
    local pid command
    { read -r pid <"$SOCKETS/$1.pid" && read -r command <"/proc/$pid/comm"; } 2>/dev/null || return 0
    [[ $command != @(start-stop-daem|serve|spawn-fcgi) ]]
}

# is_supervised NAME : a worker of it that dies is replaced
is_supervised() {
    if has_systemd; then systemctl is-active --quiet "$(unit_of "$1")"; else daemon "$1" --status; fi
}

# end_orphans NAME : those that are left of an instance without a supervisor
end_orphans() {
    local workers
    mapfile -t workers < <(workers_at "$SOCKETS/$1/status" "cgi-${1%%-*}")
    ((${#workers[@]})) || return 0
    kill "${workers[@]}" 2>/dev/null || true
    wait_until "$STOP_SECONDS" have_ended "${workers[@]}" || kill -KILL "${workers[@]}" 2>/dev/null || true
}

# have_ended PID...
have_ended() {
    ! kill -0 "$@" 2>/dev/null
}

start_one() {
    is_supervised "$1" || end_orphans "$1" # else its socket would be theirs
    launch "$1"
    wait_until "$START_SECONDS" answer "$1" || die "$1 does not answer; $(log_of "$1") says: $(last_words "$1")"
}

stop_one() {
    wait_until 5 is_launched "$1" || true
    daemon "$1" --stop --remove-pidfile --retry "TERM/$STOP_SECONDS/KILL/5"
    end_orphans "$1"
    rm -rf -- "${SOCKETS:?}/$1"
}

start_all() {
    local name names
    mapfile -t names < <(instances)
    check_logs "${names[@]}"
    for name in "${names[@]}"; do start_one "$name"; done
}

stop_all() {
    local name
    for name in $(started); do stop_one "$name"; done
}

# spares : the name of one more instance of each set that was started, one a line; nginx does not know it
spares() {
    started | sed -E 's/-[0-9]+$/-0/' | sort -u
}

# try_all : a spare of each set starts, answers and ends. So what comes after those that run can start, before one is taken down.
try_all() {
    local name said
    for name in $(spares); do
        check_logs "$name"
        launch "$name"
        said=
        wait_until "$START_SECONDS" answer "$name" || said=$(last_words "$name" || say nothing)
        stop_one "$name"
        [[ -z $said ]] || die "another ${name%-0} does not answer; $(log_file "$name") says: $said; nothing has changed"
        rm -f -- "$(log_file "$name")"
    done
}

# Each by itself; then what is new, if there are to be more.
restart_all() {
    local name
    # shellcheck disable=SC2046 # a word each
    check_logs $(instances)
    try_all
    for name in $(started); do
        stop_one "$name"
        [[ $'\n'$(instances)$'\n' != *$'\n'"$name"$'\n'* ]] || start_one "$name"
    done
    start_all
}

# ---- with systemd ----

# unit_of NAME : app-1 is cgi-app@1.service
unit_of() {
    say "cgi-${1%-*}@${1##*-}.service"
}

# ask_systemd NAME VERB UNIT
ask_systemd() {
    local said
    said=$(systemctl "$2" "$3" 2>&1) || die "$1 does not $2: ${said%%$'\n'*} See journalctl -u $3"
}

# The target has started when its units have, or have failed: it only wants them.
start_units() {
    local name
    ask_systemd "$NAME" start "$NAME.target"
    for name in $(started); do
        answer "$name" || die "$name does not answer; see journalctl -u $(unit_of "$name")"
    done
}

# try_units : as try_all
try_units() {
    local name unit said
    for name in $(spares); do
        unit=$(unit_of "$name")
        said=
        systemctl start "$unit" 2>/dev/null || said=$(last_words "$name" || say "it says nothing")
        systemctl stop "$unit"
        systemctl reset-failed "$unit" 2>/dev/null || true # one that has not failed is unknown by now
        [[ -z $said ]] || die "another ${name%-0} does not start: $said; see journalctl -u $unit; nothing has changed"
    done
}

# A unit that has been restarted answers.
restart_units() {
    local name
    try_units
    for name in $(started); do ask_systemd "$name" restart "$(unit_of "$name")"; done
    start_units
}

# ---- a set of another build ----

# take_program SET PROGRAM : a copy of it is the set's
take_program() {
    local program
    program=$(program_of "$1")
    install -D -m 0755 -- "$2" "$program" && build_name "$program" "$(realpath -- "$2")" >"${program%/*}/build"
}

# Also after the next boot.
start_set() {
    local i names=() units=()
    take_program "$1" "$3" || return 1
    for ((i = 1; i <= $2; i++)); do names+=("$1-$i") units+=("$(unit_of "$1-$i")"); done
    if has_systemd; then
        systemctl --quiet add-wants "$NAME.target" "${units[@]}"
        systemctl --no-block start "${units[@]}"
    else
        check_logs "${names[@]}"
        for i in "${names[@]}"; do launch "$i"; done
    fi
}

end_set() {
    local name names units=()
    mapfile -t names < <(started | grep "^$1-")
    for name in "${names[@]}"; do
        if has_systemd; then units+=("$(unit_of "$name")"); else stop_one "$name"; fi
    done
    if ((${#units[@]})); then
        rm -f -- "${units[@]/#//etc/systemd/system/$NAME.target.wants/}"
        systemctl daemon-reload
        systemctl stop "${units[@]}"
        systemctl reset-failed "${units[@]}" 2>/dev/null || true # those that have not failed are unknown by now
    fi
    rm -rf -- "${RUN_DIR:?}/bin/$1"
}

# ---- nginx ----

# What nginx.conf says takes the place of the limit of descriptors, of which settings.sh makes MAX_CLIENTS. More than this host
# allows nginx cannot have either.
take_nginx_limit() {
    local connections
    connections=$(nginx -T 2>/dev/null | sed -nE 's/^\s*worker_connections\s+([0-9]+)\s*;.*/\1/p' | head -n 1) || true
    ulimit -n "${connections:-512}" 2>/dev/null || true
}

# name_missing_timeout : nginx.conf is the host's, and so is its decision; Debian's says nothing
name_missing_timeout() {
    local said
    said=$(nginx -T 2>/dev/null) || true
    [[ $said =~ (^|$'\n')[[:blank:]]*worker_shutdown_timeout[[:blank:]] ]] ||
        complain "nginx.conf sets no worker_shutdown_timeout, so after a reload an old worker stays as long as its slowest client; \
set it, like ${NGINX_DRAIN_SECONDS}s"
}

# In a subshell: a limit that was lowered cannot always be raised again. Debian's nginx finds its modules itself.
render_sets() (
    take_nginx_limit
    load_settings
    make_certificate
    render_services ''
)

# The pid file is that of Debian's nginx.
nginx_pid() {
    local pid
    { read -r pid </run/nginx.pid; } 2>/dev/null && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == nginx ]] && say "$pid"
}

# nginx -t does not see who has a port already; the next start of nginx would fail, with all other sites. And on a port of another
# site clients would get the page. By the port alone: 0.0.0.0 and an address exclude each other, too.
refuse_busy_metrics() {
    local port
    [[ -n ${METRICS_LISTEN:-} ]] || return 0
    ! grep -qsF -e "listen $METRICS_LISTEN;" -e "listen $METRICS_LISTEN ipv6only" "$RUN_DIR/nginx/metrics.conf" || return 0 # ours
    printf -v port %04X "${METRICS_LISTEN##*:}"
    ! grep -qsE "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 ||
        die "METRICS_LISTEN is $METRICS_LISTEN; something listens on that port already, so set it to a free one"
}

test_nginx() {
    nginx -t -q
}

nginx_error() {
    tail -n 1 /var/log/nginx/error.log
}

# As nginx was built to, if nginx.conf says nothing else.
body_folder() {
    local folder
    folder=$(nginx -T 2>/dev/null | sed -nE 's/^\s*client_body_temp_path\s+([^ ;]+).*/\1/p' | head -n 1) || true
    say "${folder:-/var/lib/nginx}"
}
