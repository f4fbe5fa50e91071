# The peers of scripts/bench: how each is built, started behind the same edge as the system, looked at, and ended.
# Sourced by scripts/bench and tests/bench.bats, after scripts/lib/develop.sh. BENCH_DIR holds a folder for each.
# shellcheck shell=bash
# shellcheck disable=SC2030,SC2031,SC2034 # in_peer is a subshell, and what it sets is for it
#
# peers/NAME/peer.bash defines, for one peer:
#   peer_packages   Debian packages, one a line, each with the file or command that shows it is there
#   peer_build      compile what is to be compiled to $PEER_BUILD; quiet
#   peer_start      `spawn` the processes (sockets go to $PEER_DIR), and write how the edge reaches them: `upstream`,
#                   or files in $PEER_DIR/nginx
#   peer_version    one line: what it runs on
# The system itself is the peer "system": scripts/run starts it.

PEERS_DIR=$ROOT/tests/bench/peers
PEER_START_SECONDS=20
# Room for a message of 1 MiB in its JSON; the same for all peers, it is one edge.
PEER_SETTINGS=(MAX_BODY_BYTES=2097152)

# admit CLIENTS : let in so many at once, where the limit of descriptors allows it
admit() {
    local why
    if why=$( (MAX_CLIENTS=$1 && settings_load) 2>&1); then
        PEER_SETTINGS+=(MAX_CLIENTS="$1")
    else
        say "the system answers some of $1 clients with 503: $why" >&2
    fi
}

# peer_names : all of them, the system first, the limits last
peer_names() {
    printf '%s\n' system ssi rust go node php flask constant hop echo
}

# in_peer NAME FUNCTION [ARGUMENT...] : run a function with the peer's own at hand
in_peer() (
    PEER_DIR=$BENCH_DIR/$1
    PEER_SOURCE=$PEERS_DIR/$1
    PEER_BUILD=$BUILD_DIR/bench/$1
    # shellcheck source=/dev/null
    [[ $1 == system ]] || source "$PEER_SOURCE/peer.bash"
    "${@:2}"
)

# ---- words for peer.bash ----

# spawn NAME COMMAND... : a process of the peer, in a session of its own: that is how its children are found
spawn() {
    local name=$1
    shift
    setsid "$@" </dev/null >>"$PEER_DIR/log/$name.log" 2>&1 3>&- &
    say "$!" >"$PEER_DIR/$name.pid"
}

# spawn_fcgi NAME COMMAND... : on $PEER_DIR/NAME.sock, with the backlog that scripts/run gives
spawn_fcgi() {
    spawn "$1" spawn-fcgi -s "$PEER_DIR/$1.sock" -M 0600 -b 4096 -n -- "${@:2}"
}

# upstream SERVER... : the peer as nginx's upstream "peer"; by HTTP, unless to_peer says another way
upstream() {
    local server
    {
        say 'upstream peer {'
        for server; do say "    server $server max_fails=0;"; done
        say '    keepalive 2048;'
        say '}'
    } >"$PEER_DIR/nginx/each/peer/upstreams.conf"
    to_peer <<'EOF'
proxy_pass         http://peer;
proxy_http_version 1.1;
proxy_pass_request_headers off;
proxy_set_header   Host         peer;
proxy_set_header   Connection   "";
proxy_set_header   X-Request-ID $cgi_id;
EOF
}

# to_peer : the directives, from standard input, by which the edge passes a request on, in assembly.conf's place
to_peer() {
    {
        say 'location / {'
        cat
        say '}'
    } >"$PEER_DIR/nginx/assembly.conf"
}

# pass_fastcgi SERVER... : the edge calls FastCGI processes
pass_fastcgi() {
    upstream "$@"
    to_peer <<'EOF'
include       snippets/fastcgi.conf;
include       snippets/params.conf;
fastcgi_param SCRIPT_NAME $uri;
fastcgi_pass  peer;
EOF
}

# build_c NAME : peers/NAME/NAME.c on cgi-common, with the flags of the Makefile
build_c() {
    make -s -C "$ROOT" -f Makefile -f tests/bench/bench.mk BUILD="$BUILD_DIR" "$BUILD_DIR/bench/$1/$1"
}

# ---- one peer ----

# peer_lacks NAME : the packages it needs that are not there, one a line
peer_lacks() {
    local package probe
    [[ $1 != system ]] || return 0
    while read -r package probe; do
        case $probe in
        '') ;;
        /*) [[ -e $probe ]] || say "$package" ;;
        *) command -v "$probe" >/dev/null || say "$package" ;;
        esac
    done < <(in_peer "$1" peer_packages)
}

# build_peer NAME : 0, or what the compiler said
build_peer() {
    [[ $1 != system ]] || return 0
    mkdir -p -- "$BUILD_DIR/bench/$1"
    in_peer "$1" peer_build
}

peer_port() {
    sed -n 1p "$BENCH_DIR/$1.ports"
}

peer_https_port() {
    sed -n 2p "$BENCH_DIR/$1.ports"
}

# choose_ports NAME : for its edge, once
choose_ports() {
    [[ ! -e $BENCH_DIR/$1.ports ]] || return 0
    {
        python3 "$ROOT/tests/lib/http.py" free-port
        python3 "$ROOT/tests/lib/http.py" free-port
    } >"$BENCH_DIR/$1.ports"
}

# start_peer NAME : returns when it answers; 1 when it does not. The system must have been started once before.
start_peer() {
    choose_ports "$1"
    if [[ $1 == system ]]; then run_system run -d >/dev/null; else in_peer "$1" start_behind_edge "$1"; fi
    wait_until "$PEER_START_SECONDS" answers "$1"
}

# stop_peer NAME : ends what start_peer has started, if anything
stop_peer() {
    if [[ $1 == system ]]; then
        run_system stop
        return
    fi
    local file pid pids=()
    for file in "$BENCH_DIR/$1"/*.pid; do
        [[ -e $file ]] || continue
        read -r pid <"$file" || continue
        pids+=("$pid")
        kill -TERM -- "-$pid" 2>/dev/null || true
    done
    wait_until 3 have_ended "${pids[@]}" || true
    for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
    rm -f -- "$BENCH_DIR/$1"/*.pid "$BENCH_DIR/$1"/*.sock
}

have_ended() {
    local pid stat
    for pid; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        [[ $stat == *") Z "* ]] || return 1
    done
}

# run_system SCRIPT [ARGUMENT...] : scripts/run or scripts/stop for the system's own copy
run_system() {
    env "${PEER_SETTINGS[@]}" BUILD_DIR="$BUILD_DIR" RUN_DIR="$BENCH_DIR/system" HTTP_PORT="$(peer_port system)" \
        HTTPS_PORT="$(peer_https_port system)" "$ROOT/scripts/$1" "${@:2}"
}

start_behind_edge() {
    rm -rf -- "$PEER_DIR"
    mkdir -p -- "$PEER_DIR"/{log,tmp}
    export "${PEER_SETTINGS[@]}" # the limits are built of the system's code
    copy_edge "$1"
    peer_start
    local said
    said=$(nginx -t -q -e stderr -c "$PEER_DIR/nginx/nginx.conf" 2>&1) || die "nginx refuses peer $1: $said"
    spawn nginx nginx -e "$PEER_DIR/log/error.log" -c "$PEER_DIR/nginx/nginx.conf" -g 'daemon off;'
}

# copy_edge NAME : the configuration that scripts/run has rendered for the system, without its services
copy_edge() {
    local from=$BENCH_DIR/system
    [[ -e $from/nginx/assembly.conf ]] ||
        die "nginx/assembly.conf is not there any more; tests/bench/peers.bash puts the peers in its place"
    mkdir -p -- "$PEER_DIR/bin"
    cp -a -- "$from/nginx" "$from/tls" "$PEER_DIR"
    cp -a -- "$from/bin/nginx" "$PEER_DIR/bin"
    : >"$PEER_DIR/nginx/assembly.conf"
    rm -r -- "$PEER_DIR/nginx/each"
    mkdir -p -- "$PEER_DIR/nginx/each/peer" # site.conf includes each/*/upstreams.conf
    find "$PEER_DIR/nginx" -name '*.conf' -exec sed -i -e "s|$from/|$PEER_DIR/|g" \
        -e "s/:$(peer_port system)\b/:$(peer_port "$1")/g" \
        -e "s/:$(peer_https_port system)\b/:$(peer_https_port "$1")/g" {} +
}

answers() {
    [[ $(curl -s -o /dev/null --max-time 2 -w '%{http_code}' -d '{"message": "hello"}' \
        "http://127.0.0.1:$(peer_port "$1")/api") == 200 ]]
}
