# nginx's configuration: the files in nginx/ with the settings filled in, those in nginx/each/ once for each service, and how a
# running nginx takes it over. Sourced after settings.sh, by the scripts, nginx/entrypoint in the container, and cgi-message on
# a host.
# shellcheck shell=bash

# make_certificate : a self-signed pair, unless TLS_CERT names one
make_certificate() {
    [[ -z ${TLS_CERT:-} ]] || return 0
    TLS_CERT=$RUN_DIR/tls/cert.pem TLS_KEY=$RUN_DIR/tls/key.pem
    openssl x509 -in "$TLS_CERT" -noout -checkend 86400 >/dev/null 2>&1 && [[ -r $TLS_KEY ]] && return 0
    # A leaf: who trusts it trusts this server, and nobody whom its key has signed. Without openssl.cnf, which adds CA:TRUE.
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 -subj /CN=localhost \
        -config <(printf '[req]\ndistinguished_name=name\n[name]\n') -addext 'basicConstraints=critical,CA:FALSE' \
        -addext 'keyUsage=critical,digitalSignature' -addext 'extendedKeyUsage=serverAuth' \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' \
        -keyout "$TLS_KEY" -out "$TLS_CERT" 2>/dev/null) || die "openssl cannot make a self-signed pair"
}

# What stands where an nginx upstream has no server, since it wants one at least: "down" is not called.
NO_SERVER='server 127.0.0.1:9 down;'

# server_lines WEIGHT ADDRESS... : lines of an upstream, each address twice. One that failed three times in a row (frozen, or its
# machine gone; one slow call is no reason) is left out for 2 s; then one call tries it. As a backup it stays: backups are called
# when all are left out, which may be over by now, as a worker that died is back in a moment.
server_lines() {
    local address
    for address in "${@:2}"; do
        say "server $address weight=$1 max_fails=3 fail_timeout=2s;"
        say "server $address weight=$1 max_fails=0 backup;"
    done
    (($# > 1)) || say "$NO_SERVER"
}

# status_lines ADDRESS... : likewise, of status sockets. They are called so seldom that 2 s would be over at the next call.
status_lines() {
    local address
    for address; do say "server $address max_fails=0;"; done
    (($#)) || say "$NO_SERVER"
}

# What stands for a service in nginx/each/*.conf, by its name.
declare -A CALL=() SERVERS=() BLUE_SERVERS=() GREEN_SERVERS=() STATUS_SERVERS=() TRIES=() TIMEOUT_MS=()
declare -A ASKED=() # for its health, by /_health; empty: it is not

# one_set SERVICE ADDRESS... : where a service has no colours, all of it is blue, and is asked itself how it fares
one_set() {
    CALL[$1]=cgi-$1
    ASKED[$1]=$1
    SERVERS[$1]=$(server_lines 1 "${@:2}")
    BLUE_SERVERS[$1]=${SERVERS[$1]}
    GREEN_SERVERS[$1]=$(server_lines 1)
    STATUS_SERVERS[$1]=$(status_lines "${@:2}")
    set_tries "$1" $(($# - 1))
    set_timeout "$1" $(($# - 1))
}

# set_tries SERVICE COUNT : a call is made once for each instance, not for each line of server_lines: one that ends whoever
# answers it shall not end each of them twice
set_tries() {
    TRIES[$1]=$(($2 > 1 ? $2 : 1))
}

# set_timeout SERVICE COUNT : two instances in a row take as long as a lone one
set_timeout() {
    TIMEOUT_MS[$1]=$((UPSTREAM_TIMEOUT * ($2 > 1 ? 500 : 1000)))
}

# ---- filling in ----

# fill_line TEXT : with the value of NAME where it has ${NAME}, in $filled. Once: a value is no text to be filled in again.
fill_line() {
    local rest=$1 name
    filled=
    while [[ $rest =~ \$\{([A-Z_]+)\} ]]; do
        name=${BASH_REMATCH[1]}
        filled+=${rest%%"\${$name}"*}${!name}
        rest=${rest#*"\${$name}"}
    done
    filled+=$rest
}

# fill FILE : a file of nginx/ with the settings filled in, in $text. nginx looks for a relative include beside its main file,
# which on a host with other sites is not ours.
fill() {
    local line filled
    text=
    while IFS= read -r line; do
        fill_line "$line"
        [[ ! $filled =~ ^(\ *include\ +)([a-z].*) ]] || filled=${BASH_REMATCH[1]}$RUN_DIR/nginx/${BASH_REMATCH[2]}
        text+=$filled$'\n'
    done <"$ROOT/nginx/$1"
}

# fill_to FILE DESTINATION
fill_to() {
    local text
    fill "$1"
    # In a process of its own: a limit of the size of files (ulimit -f) ends who goes over it.
    { [[ -d ${2%/*} ]] || mkdir -p -- "${2%/*}"; (printf %s "$text" >"$2"); } 2>/dev/null ||
        die "$2 cannot be written; is the disk full?"
}

# fill_each SERVICE : nginx/each/*.conf, for it
# shellcheck disable=SC2034 # fill looks them up by name
fill_each() {
    local file SERVICE=$1
    local SERVICE_CALL=${CALL[$1]} SERVICE_SERVERS=${SERVERS[$1]} SERVICE_BLUE_SERVERS=${BLUE_SERVERS[$1]} \
        SERVICE_GREEN_SERVERS=${GREEN_SERVERS[$1]} SERVICE_STATUS_SERVERS=${STATUS_SERVERS[$1]} \
        SERVICE_TRIES=${TRIES[$1]} SERVICE_TIMEOUT_MS=${TIMEOUT_MS[$1]}
    local SERVICE_LOCATION="= ${SERVICE_PATH[$1]}" SERVICE_CALLERS_ONLY='internal;'
    if [[ ${SERVICE_CALLERS[$1]} == clients ]]; then
        SERVICE_LOCATION=${SERVICE_PATH[$1]} SERVICE_CALLERS_ONLY='include snippets/admission.conf;'
    fi
    for file in "$ROOT"/nginx/each/*.conf; do
        fill_to "each/${file##*/}" "$RUN_DIR/nginx/each/$1/${file##*/}"
    done
}

# listen_lines PORT [OPTIONS] : on the address BIND. The kernel's net.core.somaxconn cuts the backlog; 4096 is its default. :: is all
# addresses of both families, in a line each: on one socket for both, 127.0.0.1 would be ::ffff:127.0.0.1 in the log.
listen_lines() {
    local address=$BIND
    [[ $BIND != *:* ]] || address=[$BIND]
    [[ $BIND != :: ]] || printf '%s ' "listen 0.0.0.0:$1${2:+ $2} backlog=4096;"
    printf '%s ' "listen $address:$1${2:+ $2} backlog=4096;"
}

# has_http2_directive : nginx is 1.25.1 or newer
has_http2_directive() {
    [[ $(nginx -v 2>&1) =~ /([0-9]+)\.([0-9]+)\.([0-9]+) ]] &&
        ((BASH_REMATCH[1] * 1000000 + BASH_REMATCH[2] * 1000 + BASH_REMATCH[3] >= 1025001))
}

# tls_lines PORT [OPTIONS] : the same with TLS and HTTP/2, which is an option there, or a directive
tls_lines() {
    if has_http2_directive; then
        listen_lines "$1" "ssl${2:+ $2}"
        say 'http2 on;'
    else
        listen_lines "$1" "ssl http2${2:+ $2}"
    fi
}

# front_lines : set the names that stand in nginx/ for what may be in front; they are empty where nothing is set
# shellcheck disable=SC2034 # fill looks them up by name
front_lines() {
    local word words
    read -ra words <<<"${TRUSTED_PROXIES:-}"
    for word in "${words[@]}"; do TRUSTED_PROXIES_LINES+="set_real_ip_from $word; "; done
    ((${#words[@]} == 0)) || TRUSTED_PROXIES_LINES+='real_ip_recursive on;'
    read -ra words <<<"${PIN_ADDRESSES/#none/}"
    for word in "${words[@]}"; do PIN_ADDRESSES_LINES+="$word 1; "; done
    [[ -z ${PROXY_HTTP_PORT:-} ]] || PROXIED_LISTEN+=$(listen_lines "$PROXY_HTTP_PORT" proxy_protocol)
    [[ -z ${PROXY_HTTPS_PORT:-} ]] || PROXIED_LISTEN+=$(tls_lines "$PROXY_HTTPS_PORT" proxy_protocol)
    [[ -z $PROXIED_LISTEN ]] || PROXIED_INCLUDE='include proxied.conf;'
    read -ra words <<<"${CORS_ORIGIN:-}"
    for word in "${words[@]}"; do
        if [[ $word == '*' ]]; then CORS_ORIGINS+='~. *; '; else CORS_ORIGINS+="$word \$http_origin; "; fi
    done
    ((${#words[@]} == 0)) || { CORS_INCLUDE='include cors.conf;' CORS_HEADERS='include snippets/cors.conf;' \
        CORS_PREFLIGHT="if (\$cgi_cors_preflight) { return 204; }"; }
    ((HSTS_SECONDS == 0)) || { HSTS_MAP="map \$https \$cgi_hsts { on max-age=$HSTS_SECONDS; default ''; }" \
        HSTS_HEADER="add_header Strict-Transport-Security \$cgi_hsts always;"; }
    ((CLIENT_RATE == 0)) || { CLIENT_INCLUDE='include clients.conf;' \
        CLIENT_LIMIT="limit_req zone=cgi-clients burst=$CLIENT_RATE nodelay; limit_req_status 429; limit_req_log_level info;"; }
}

# metrics_lines : the same for Prometheus
# shellcheck disable=SC2034 # fill looks them up by name
metrics_lines() {
    [[ -n ${METRICS_LISTEN:-} ]] || return 0
    METRICS_INCLUDE='include metrics.conf;' METRICS_LISTENS="listen $METRICS_LISTEN"
    [[ $METRICS_LISTEN != '[::]:'* ]] || METRICS_LISTENS+=' ipv6only=off'
    METRICS_LISTENS+=';'
}

# render_nginx MODULE_DIR : fill the settings, and what stands in CALL and those beside it, into nginx's files, in
# $RUN_DIR/nginx. Returns 1 if it cannot be written.
# shellcheck disable=SC2034,SC2153 # fill looks them up by name; SERVICES is of services.sh
render_nginx() {
    local file service MODULE_DIR=$1 USER_DIRECTIVE='' HTTP_LISTEN='' HTTPS_LISTEN='' APP_CALL=${CALL[app]} HEALTH_TAGS='' \
        CALLED_SERVICE='' \
        CONNECT_TIMEOUT_MS=$((UPSTREAM_TIMEOUT * 100)) ANSWER_BYTES=$((MAX_BODY_BYTES + 65536)) LOG_BUFFER=64k LOGPIPE_MODULE='' \
        BODY_BUFFER_BYTES=$((MAX_BODY_BYTES < 1048576 ? MAX_BODY_BYTES : 1048576)) \
        TRUSTED_PROXIES_LINES='' PROXIED_LISTEN='' PROXIED_INCLUDE='' CORS_ORIGINS='' CORS_INCLUDE='' CORS_HEADERS='' \
        CORS_PREFLIGHT='' HSTS_MAP='' HSTS_HEADER='' METRICS_LISTENS='' METRICS_INCLUDE='' \
        CLIENT_INCLUDE='' CLIENT_LIMIT='' PIN_ADDRESSES_LINES=''
    # As root, too, all runs as who started it: nginx must reach the sockets, and the checkout may be in /root.
    ((EUID != 0)) || USER_DIRECTIVE='user root;'
    HTTP_LISTEN=$(listen_lines "$HTTP_PORT") HTTPS_LISTEN=$(tls_lines "$HTTPS_PORT")
    front_lines
    metrics_lines
    # In a container the log is a pipe, where what two workers write stays apart up to PIPE_BUF; a line is shorter (log.conf).
    [[ ! -e $RUN_DIR/log/access.log || -f $RUN_DIR/log/access.log ]] ||
        { LOG_BUFFER=4096 LOGPIPE_MODULE="load_module $MODULE_DIR/ngx_http_logpipe_module.so;"; }
    for service in "${SERVICES[@]}"; do [[ ${SERVICE_CALLERS[$service]} != nginx ]] || : "${CALLED_SERVICE:=$service}"; done
    for service in "${SERVICES[@]}"; do [[ -z ${ASKED[$service]} ]] || HEALTH_TAGS+="<!--# include virtual=\"/_health/$service\" -->"; done
    for file in "$ROOT"/nginx/{*,snippets/*}.conf; do
        fill_to "${file#"$ROOT/nginx/"}" "$RUN_DIR/nginx/${file#"$ROOT/nginx/"}"
    done
    for service in "${SERVICES[@]}"; do fill_each "$service"; done
}

# refusal SAID : why nginx does not take its configuration, from what it said; of METRICS_LISTEN, whose port is no other's
refusal() {
    local said port=${METRICS_LISTEN:-:none}
    port=${port##*:}
    said=$(grep -m 1 -F '[emerg]' <<<"$1") || said=${1%%$'\n'*} # warnings may stand before it
    case $said in
    *":$port failed "* | *":$port\" of the \"listen\" directive"*)
        say "METRICS_LISTEN is \"$METRICS_LISTEN\"; nginx cannot listen there: $said" ;;
    *) say "nginx refuses its configuration: $said" ;;
    esac
}

# listen_refusal REASON : the same, with the setting that it comes from, where that is an address or a port
listen_refusal() {
    local name
    case $1 in
    METRICS_LISTEN*) say "$1" ;;
    *'bind() to '*' failed (13: '*)
        for name in HTTP_PORT HTTPS_PORT PROXY_HTTP_PORT PROXY_HTTPS_PORT; do
            [[ $1 != *":${!name:-none} failed "* ]] || say "$name is ${!name}, which is for root alone; set it to 1024 or more"
        done
        ;;
    *'bind()'* | *'socket()'* | *' of the "listen" directive'*) say "BIND is \"$BIND\"; nginx cannot listen there: ${1#*: }" ;;
    *) say "$1" ;;
    esac
}

# check_nginx : die unless nginx takes the configuration
check_nginx() {
    local said
    said=$(nginx -t -q -e stderr -c "$RUN_DIR/nginx/nginx.conf" 2>&1) || die "$(listen_refusal "$(refusal "$said")")"
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
