# The settings of settings.tsv: filled in, checked before anything starts, kept for who changes the running copy later. Sourced
# after words.sh and services.sh.
# shellcheck shell=bash

# shellcheck source=scripts/lib/times.sh
source "$ROOT/scripts/lib/times.sh"
# shellcheck source=scripts/lib/workers.sh
source "$ROOT/scripts/lib/workers.sh"

SETTING_NAMES=()
declare -A LEAST=() MOST=() DEFAULT=() OWNER=() MEANING=() # of each, by its name; "-" where there is none

# load_table : settings.tsv, and the number of instances of each service, which comes from `services`
load_table() {
    local name least most default owner meaning service
    while IFS=$'\t' read -r name least most default owner meaning; do
        [[ $name != '#'* ]] || continue
        SETTING_NAMES+=("$name")
        LEAST[$name]=$least MOST[$name]=$most DEFAULT[$name]=$default OWNER[$name]=$owner MEANING[$name]=$meaning
    done <"$ROOT/scripts/lib/settings.tsv"
    for service in "${SERVICES[@]}"; do
        name=${service^^}_INSTANCES
        SETTING_NAMES+=("$name")
        LEAST[$name]=1 MOST[$name]=64 DEFAULT[$name]=${SERVICE_INSTANCES[$service]} OWNER[$name]=host
        MEANING[$name]="processes of $service, each on a socket of its own"
    done
}

load_table

# list_settings : a line each, for --help
list_settings() {
    local name
    for name in "${SETTING_NAMES[@]}"; do
        printf '  %-20s %-13s  %s\n' "$name" "${DEFAULT[$name]/#-/}" "${MEANING[$name]}"
    done
}

# instances_setting SERVICE : how many instances it is to have
instances_setting() {
    local name=${1^^}_INSTANCES
    say "${!name}"
}

# require_number NAME LEAST MOST
require_number() {
    local value=${!1}
    if ! [[ $value =~ ^[0-9]{1,12}$ ]] || ((10#$value < $2 || 10#$value > $3)); then
        die "$1 is \"$value\"; set it to a whole number from $2 to $3"
    fi
    printf -v "$1" %d "$((10#$value))" # 08 is eight, also for the next reader
}

# Where a running copy keeps its things; all of it can be deleted when it is stopped.
settings_run_dir() {
    local longest
    RUN_DIR=$(realpath -m -- "${RUN_DIR:-$ROOT/run}")
    [[ $RUN_DIR =~ ^[A-Za-z0-9/._@%+-]+$ ]] ||
        die "RUN_DIR is \"$RUN_DIR\"; nginx's configuration wants it of letters, digits and /._@%+- only"
    longest=$(printf '%s\n' "${SERVICES[@]/%/-green-64.status}" | awk '{ if (length > most) most = length } END { print most + 1 }')
    ((${#RUN_DIR} + longest <= 107)) ||
        die "RUN_DIR is too long (${#RUN_DIR} bytes); a unix socket's path may have 107, so set it to one of at most $((107 - longest))"
}

# What a worker of nginx may open: its own (logs, listening sockets, epoll); files, in which large bodies wait (limits.conf);
# connections. nginx allocates those of a worker at its start, used or not.
OWN_DESCRIPTORS=64
FILES_PART=8                     # one descriptor of so many
CONNECTION_BYTES=432             # ngx_connection_t and two ngx_event_t
CONNECTIONS_MEMORY=$((64 << 20)) # of all workers; a container of nginx has 512 MiB

# And what its connections are for: idle ones kept to the services, no more than there can be calls (MAX_CALLS); of each request
# under way the client's; and of MAX_CALLS of them one to each service. Also clients with no request under way, as many as
# there is room: so the limit of descriptors says how many, not MAX_CLIENTS. Where there is no room, nginx closes idle clients
# first.
KEPT_PART=8 # one connection of so many

# worker_connections WORKERS : how many each may have, of the descriptors; those of all have to fit into memory, too
worker_connections() {
    local most=$((CONNECTIONS_MEMORY / CONNECTION_BYTES / $1))
    WORKER_CONNECTIONS=$(((DESCRIPTORS - OWN_DESCRIPTORS) * (FILES_PART - 1) / FILES_PART))
    ((WORKER_CONNECTIONS <= most)) || WORKER_CONNECTIONS=$most
}

# requests_of_worker : how many its connections are enough for
requests_of_worker() {
    local each=${#SERVICES[@]} free # a service each
    free=$((WORKER_CONNECTIONS - each * KEPT_CONNECTIONS))
    if ((free > (each + 1) * MAX_CALLS)); then say $((free - each * MAX_CALLS)); else say $((free / (each + 1))); fi
}

# What the workers let in together. Clients are not shared out evenly: one worker may have a fifth more than its part.
settings_clients() {
    local one most
    DESCRIPTORS=$(ulimit -Hn)
    [[ $DESCRIPTORS != unlimited ]] && ((DESCRIPTORS < 65536)) || DESCRIPTORS=65536
    worker_connections "$NGINX_WORKERS"
    KEPT_CONNECTIONS=$((WORKER_CONNECTIONS / KEPT_PART / ${#SERVICES[@]}))
    ((KEPT_CONNECTIONS <= MAX_CALLS)) || KEPT_CONNECTIONS=$MAX_CALLS
    one=$(requests_of_worker)
    most=$((NGINX_WORKERS > 1 ? one * NGINX_WORKERS * 5 / 6 : one))
    ((most > 0)) || die "the limit of descriptors is $DESCRIPTORS, which is too low for nginx; raise it to 1024 (ulimit -Hn)"
    : "${MAX_CLIENTS:=$((most < 8192 ? most : 8192))}"
    require_number MAX_CLIENTS "${LEAST[MAX_CLIENTS]}" "${MOST[MAX_CLIENTS]}"
    ((MAX_CLIENTS <= most)) ||
        die "MAX_CLIENTS is \"$MAX_CLIENTS\"; set it to at most $most, or raise the limit of $DESCRIPTORS descriptors (ulimit -Hn; worker_connections, where nginx is the host's)"
}

# What nginx keeps in memory: at least one answer of the longest (nginx.sh has ANSWER_BYTES).
settings_held() {
    : "${MAX_HELD_BYTES:=$((2 * MAX_BODY_BYTES > 134217728 ? 2 * MAX_BODY_BYTES : 134217728))}"
    require_number MAX_HELD_BYTES $((MAX_BODY_BYTES + 65536)) "${MOST[MAX_HELD_BYTES]}"
}

# why_bad_pair CERTIFICATES KEY : the setting that nginx could not serve, and why; nothing when it can. A chain may be cut off.
why_bad_pair() {
    local public
    if ! { openssl crl2pkcs7 -nocrl -certfile "$1" && public=$(openssl x509 -in "$1" -noout -pubkey); } >/dev/null 2>&1; then
        say 'TLS_CERT holds no certificate in PEM form'
    elif [[ $(openssl pkey -in "$2" -pubout -passin pass: 2>/dev/null) != "$public" ]]; then
        say 'TLS_KEY is not the key of TLS_CERT'
    fi
}

settings_tls() {
    [[ -n ${TLS_CERT:-}${TLS_KEY:-} ]] || return 0
    [[ -n ${TLS_CERT:-} ]] || die "TLS_KEY is set, TLS_CERT is not; set both or none"
    [[ -n ${TLS_KEY:-} ]] || die "TLS_CERT is set, TLS_KEY is not; set both or none"
    local name
    for name in TLS_CERT TLS_KEY; do
        [[ -f ${!name} && -r ${!name} ]] || die "$name is \"${!name}\"; there is no file that can be read"
    done
    # Not what a symbolic link names today: who renews a pair often changes the link (certbot, a Secret of Kubernetes).
    TLS_CERT=$(realpath -s -- "$TLS_CERT") TLS_KEY=$(realpath -s -- "$TLS_KEY")
    local why
    why=$(why_bad_pair "$TLS_CERT" "$TLS_KEY")
    name=${why%% *}
    [[ -z $why ]] || die "$name is \"${!name}\"; it ${why#* }"
}

# settings_words NAME PATTERN WANTED : each word of the setting is as the pattern has it
settings_words() {
    local word words
    read -ra words <<<"${!1:-}"
    for word in "${words[@]}"; do
        [[ $word =~ ^($2)$ ]] || die "$1 has \"$word\"; set it to $3, with spaces between"
    done
}

# What stands in front, and who calls from a browser.
settings_front() {
    local name ports=("$HTTP_PORT" "$HTTPS_PORT")
    local address='[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[0-9]{1,3})?'
    local origin='https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?'
    settings_words TRUSTED_PROXIES "$address" 'addresses, or networks like 10.0.0.0/8'
    [[ $PIN_ADDRESSES == none ]] || settings_words PIN_ADDRESSES "$address" 'none, or addresses, or networks like 10.0.0.0/8'
    settings_words CORS_ORIGIN "\\*|$origin" '*, or origins like https://example.org'
    for name in PROXY_HTTP_PORT PROXY_HTTPS_PORT; do
        [[ -n ${!name:-} ]] || continue
        require_number "$name" "${LEAST[$name]}" "${MOST[$name]}"
        [[ " ${ports[*]} " != *" ${!name} "* ]] || die "$name is ${!name}, which is another port of nginx; set it to a free one"
        [[ -n ${TRUSTED_PROXIES:-} ]] || die "$name is set, TRUSTED_PROXIES is not; set it to the addresses of the proxies"
        ports+=("${!name}")
    done
    settings_metrics "${ports[@]}"
}

# has_ipv6 : an address of it, as ::1
has_ipv6() {
    { read -r _ </proc/net/if_inet6; } 2>/dev/null
}

# settings_bind : where nginx listens
settings_bind() {
    # shellcheck disable=SC2153 # settings_numbers has set them
    ((HTTP_PORT != HTTPS_PORT)) || die "HTTP_PORT and HTTPS_PORT are both $HTTP_PORT; set two"
    [[ $BIND =~ ^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$ ]] ||
        die "BIND is \"$BIND\"; set it to an IP address of this machine, 0.0.0.0 or :: for all"
    [[ $BIND != *:* ]] || has_ipv6 || die "BIND is \"$BIND\"; there is no IPv6 here, so set it to 0.0.0.0 or another address of IPv4"
}

# settings_metrics PORT... : those are for clients; there nginx would take the page's server for theirs, or theirs for the page's
settings_metrics() {
    local port=${METRICS_LISTEN:-}
    [[ -n $port ]] || return 0
    port=${port##*:}
    if ! [[ $METRICS_LISTEN =~ ^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]):[0-9]{1,5}$ ]] ||
        ((10#$port < 1 || 10#$port > 65535)); then
        die "METRICS_LISTEN is \"$METRICS_LISTEN\"; set it to ADDRESS:PORT or [ADDRESS]:PORT, like 127.0.0.1:9113"
    fi
    port=$((10#$port))
    [[ " $* " != *" $port "* ]] || die "METRICS_LISTEN is $METRICS_LISTEN, which is another port of nginx; set it to a free one"
    METRICS_LISTEN=${METRICS_LISTEN%:*}:$port
}

# What the services check themselves is none of ours, not even its default.
settings_numbers() {
    local name
    for name in "${SETTING_NAMES[@]}"; do
        [[ ${OWNER[$name]} != services && ${DEFAULT[$name]} != - ]] || continue
        [[ -n ${!name:-} ]] || printf -v "$name" %s "${DEFAULT[$name]}"
        [[ ${LEAST[$name]} == - ]] || require_number "$name" "${LEAST[$name]}" "${MOST[$name]}"
    done
}

# Fill in what is not set, and refuse what cannot be, before anything starts.
settings_load() {
    settings_run_dir
    settings_numbers
    export MAX_BODY_BYTES
    settings_bind
    settings_front
    settings_workers
    settings_clients
    settings_held
    settings_tls
}

# settings_check_services FOLDER : those in it check their own settings, and show that they can be executed at all
settings_check_services() {
    local service
    for service in "${SERVICES[@]}"; do
        "$1/cgi-$service" -t || exit 1
    done
}

# settings_keep : for who changes the running copy later; also what came of the limits of this shell
settings_keep() {
    local name lines=
    for name in "${SETTING_NAMES[@]}" NGINX_WORKERS DESCRIPTORS KEPT_CONNECTIONS WORKER_CONNECTIONS; do
        [[ ! -v $name ]] || lines+="export $name=${!name@Q}"$'\n'
    done
    { printf %s "$lines" >"$RUN_DIR/settings"; } 2>/dev/null ||
        die "$RUN_DIR/settings cannot be written; is the disk full?"
}

# settings_recall : those that the running copy was started with, whatever this shell has set
settings_recall() {
    settings_run_dir
    { [[ -e $RUN_DIR/settings ]] && compgen -G "$RUN_DIR/*.pid" >/dev/null; } || die "nothing runs in $RUN_DIR; ./scripts/run starts it"
    unset "${SETTING_NAMES[@]}"
    # shellcheck source=/dev/null
    source "$RUN_DIR/settings"
    settings_numbers # of a service that `services` has had since
}

# local_address [ADDRESS] : how a client on this machine calls it; of BIND
local_address() {
    local address=${1:-$BIND}
    case $address in
    0.0.0.0) say 127.0.0.1 ;;
    ::) say '[::1]' ;;
    *:*) say "[$address]" ;;
    *) say "$address" ;;
    esac
}

# metrics_address : the same of METRICS_LISTEN, with its port
metrics_address() {
    local address=${METRICS_LISTEN%:*}
    say "$(local_address "${address//[\[\]]/}"):${METRICS_LISTEN##*:}"
}

# has_listener ADDRESS:PORT : something listens there
has_listener() {
    local address=${1%:*}
    (exec 3<>"/dev/tcp/${address//[\[\]]/}/${1##*:}") 2>/dev/null
}
