# nginx's configuration: the files in nginx/ with the settings filled in, and how a running nginx takes it over. Sourced
# after scripts/lib.sh, by the scripts, by nginx/entrypoint in the container, and by host/cgi-message.
# shellcheck shell=bash

# make_certificate : a self-signed pair, unless TLS_CERT names one
make_certificate() {
    [[ -z ${TLS_CERT:-} ]] || return 0
    TLS_CERT=$RUN_DIR/tls/cert.pem TLS_KEY=$RUN_DIR/tls/key.pem
    openssl x509 -in "$TLS_CERT" -noout -checkend 86400 >/dev/null 2>&1 && [[ -r $TLS_KEY ]] && return 0
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 \
        -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        -keyout "$TLS_KEY" -out "$TLS_CERT" 2>/dev/null) || die "openssl cannot make a self-signed pair"
}

# server_lines WEIGHT ADDRESS... : lines of an nginx upstream, which wants one at least: "down" is not called.
server_lines() {
    local address
    for address in "${@:2}"; do
        # max_fails=0: never taken out. A worker that died is back in a moment, and if all are out, all fails.
        say "server $address weight=$1 max_fails=0;"
    done
    (($# > 1)) || say 'server 127.0.0.1:9 down;'
}

# one_set SERVICE ADDRESS... : where a service has no colours, all of it is blue, and is asked itself how it fares
one_set() {
    local name=${1^^}
    printf -v "${name}_CALL" %s "cgi-$1"
    shift
    printf -v "${name}_SERVERS" %s "$(server_lines 1 "$@")"
    printf -v "${name}_BLUE_SERVERS" %s "$(server_lines 1 "$@")"
    printf -v "${name}_GREEN_SERVERS" %s "$(server_lines 1)"
    printf -v "${name}_STATUS_SERVERS" %s "$(server_lines 1 "$@")"
}

# render_nginx MODULE_DIR APP_COUNT TRANSFORM_COUNT : fill the settings and the servers (APP_SERVERS and those beside it in
# one_set) into nginx's files, in $RUN_DIR/nginx. The counts are of instances. Returns 1 if it cannot be written.
render_nginx() {
    local file names
    export RUN_DIR HTTP_PORT HTTPS_PORT TLS_CERT TLS_KEY MAX_BODY_BYTES MAX_CLIENTS UPSTREAM_TIMEOUT MODULE_DIR \
        USER_DIRECTIVE LISTEN DUAL_STACK DESCRIPTORS WORKER_CONNECTIONS KEPT_CONNECTIONS \
        APP_TIMEOUT_MS TRANSFORM_TIMEOUT_MS CONNECT_TIMEOUT_MS \
        APP_CALL APP_SERVERS APP_BLUE_SERVERS APP_GREEN_SERVERS APP_STATUS_SERVERS \
        TRANSFORM_CALL TRANSFORM_SERVERS TRANSFORM_BLUE_SERVERS TRANSFORM_GREEN_SERVERS TRANSFORM_STATUS_SERVERS
    MODULE_DIR=$1
    # As root, too, all runs as who started it: nginx must reach the sockets, and the checkout may be in /root.
    USER_DIRECTIVE=
    ((EUID != 0)) || USER_DIRECTIVE='user root;'
    LISTEN=$BIND
    [[ $BIND != *:* ]] || LISTEN=[$BIND]
    DUAL_STACK=
    [[ $BIND != :: ]] || DUAL_STACK=' ipv6only=off'
    # Two instances in a row take as long as a lone one.
    APP_TIMEOUT_MS=$((UPSTREAM_TIMEOUT * ($2 > 1 ? 500 : 1000)))
    TRANSFORM_TIMEOUT_MS=$((UPSTREAM_TIMEOUT * ($3 > 1 ? 500 : 1000)))
    CONNECT_TIMEOUT_MS=$((UPSTREAM_TIMEOUT * 100))
    while IFS= read -r file; do
        mkdir -p -- "$RUN_DIR/nginx/${file%/*}" || return 1
        names=$(grep -oE '\$\{[A-Z_]+\}' "$ROOT/nginx/$file" | sort -u) || true
        # nginx looks for a relative include beside its main file, which on a host with other sites is not ours.
        { envsubst "${names:- }" <"$ROOT/nginx/$file" |
            sed -E "s#^( *include +)([a-z])#\\1$RUN_DIR/nginx/\\2#" >"$RUN_DIR/nginx/$file"; } 2>/dev/null ||
            die "$RUN_DIR/nginx/${file#./} cannot be written; is the disk full?"
    done < <(cd "$ROOT/nginx" && find . -name '*.conf')
}

# check_nginx : die unless nginx takes the configuration
check_nginx() {
    local said
    said=$(nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf" 2>&1) || case $said in
    *'bind()'* | *' of the "listen" directive'*)
        die "BIND is \"$BIND\"; nginx cannot listen there: ${said%%$'\n'*}" ;;
    *) die "nginx refuses its configuration: $said" ;;
    esac
    [[ -z $said ]] || say "$said" >&2
}

# ---- taking it over ----

# worker_titles PID... : what each calls itself; nothing for one that has gone
worker_titles() {
    local worker
    for worker; do { tr '\0' '\n' <"/proc/$worker/cmdline"; } 2>/dev/null || true; done
}

# leave WORKER... : none of them takes a request any more
leave() {
    ! worker_titles "$@" | grep -q 'worker process$'
}

# reload_nginx PID : have the master take over what is rendered. Returns once no worker takes a request by what was before;
# 1 if the master does not do it.
reload_nginx() {
    local workers
    read -ra workers <"/proc/$1/task/$1/children" || true # the line has no end
    kill -HUP "$1"
    wait_until 10 leave "${workers[@]}"
}

# has_drained PID : no worker is left that finishes what it began before a reload
has_drained() {
    local workers
    read -ra workers <"/proc/$1/task/$1/children" || true
    ! worker_titles "${workers[@]}" | grep -q 'is shutting down'
}
