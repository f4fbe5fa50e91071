# nginx's configuration: the files in nginx/ with the settings filled in. Sourced after scripts/lib.sh, by scripts/run
# and by nginx/entrypoint in the container.
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

# server_lines ADDRESS... : lines of an nginx upstream
server_lines() {
    local address
    for address; do
        # max_fails=0: never taken out. A worker that died is back in a moment, and if all are out, all fails.
        say "server $address max_fails=0;"
    done
}

# render_nginx MODULE_DIR APP_COUNT TRANSFORM_COUNT : fill the settings, APP_SERVERS and TRANSFORM_SERVERS into nginx's
# files, in $RUN_DIR/nginx. The counts are of instances.
render_nginx() {
    local file names
    export RUN_DIR HTTP_PORT HTTPS_PORT TLS_CERT TLS_KEY MAX_BODY_BYTES MAX_CLIENTS UPSTREAM_TIMEOUT MODULE_DIR \
        USER_DIRECTIVE LISTEN DUAL_STACK DESCRIPTORS WORKER_CONNECTIONS KEPT_CONNECTIONS \
        APP_TIMEOUT_MS TRANSFORM_TIMEOUT_MS CONNECT_TIMEOUT_MS APP_SERVERS TRANSFORM_SERVERS
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
        mkdir -p -- "$RUN_DIR/nginx/${file%/*}"
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
