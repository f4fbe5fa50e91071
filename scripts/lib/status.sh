# How services fare: what each tells on its status socket, and what is known of nginx, as a table or as JSON. Sourced after
# sets.sh and http.sh, by scripts/status and by cgi-message on a host.
# shellcheck shell=bash

# ask_status SOCKET : the JSON that an instance tells; nothing when it does not. cgi-fcgi sends its whole environment as params.
ask_status() {
    env -i PATH="$PATH" REQUEST_METHOD=GET SCRIPT_NAME=/_status timeout -s KILL 2 cgi-fcgi -bind -connect "$1" 2>/dev/null |
        sed '1,/^\r*$/d' || true
}

# service_status NAME SOCKET SET : its object. Of a set that is not to run any more it drains, if it answers at all.
service_status() {
    local told state=draining
    ((INSTANCES[$3] == 0)) || state=serving
    is_supervised "$1" || state=orphaned
    told=$(ask_status "$2")
    jq -c --arg name "$1" --arg state "$state" --arg colour "${3#*-}" --argjson share "$(share_of "$3")" \
        '{name: $name, state: (if . then $state else "silent" end)} + . + {colour: $colour, share: $share}' <<<"${told:-null}"
}

# nginx_process PID : a master's pid, uptime (s) and workers ("threads"); and memory, its own and its workers'
nginx_process() {
    local pids
    read -ra pids <"/proc/$1/task/$1/children" || true # the line has no end
    ps -o pid=,ppid=,etimes=,rss= -p "$1" "${pids[@]/#/-p}" | awk -v master="$1" '
        { memory += $4 * 1024 } $1 == master { uptime = $3 } $2 == master { workers++ }
        END { printf "{\"pid\":%d,\"uptime\":%d,\"threads\":%d,\"memory\":%d}\n", master, uptime, workers, memory }'
}

# nginx_counts WORD... : curl's, for its page for Prometheus: connections, requests, and those with a status from 500
nginx_counts() {
    call_http -sf --max-time 2 "$@" | awk '
        /^nginx_connections\{/ { connections += $2 } /^cgi_http_requests_total/ { requests += $2 }
        /^cgi_http_requests_total\{status="5/ { errors += $2 }
        END { if (NR) printf "{\"connections\":%d,\"requests\":%d,\"errors\":%d}\n", connections, requests, errors }'
}

# nginx_state : serving; or full: on the disk where large bodies wait there is no room, for bytes or for files
nginx_state() {
    if df --output=avail,iavail -- "$(body_folder)" 2>/dev/null | awk 'NR == 2 && ($1 == 0 || $2 == "0") { full = 1 } END { exit !full }'; then
        say full
    else
        say serving
    fi
}

# nginx_status PID [WORD...] : the object of nginx, whose master this is; no PID: it is gone. WORDS are curl's, for its page for
# Prometheus, if there is one.
nginx_status() {
    if [[ -z $1 ]]; then
        say '{"name":"nginx","state":"gone"}'
    else
        { nginx_process "$1" && { (($# == 1)) || nginx_counts "${@:2}"; }; } |
            jq -cs --arg state "$(nginx_state)" '{name: "nginx", state: $state} + add'
    fi
}

# table : in 80 columns, so spans of time have two units, and large counts four digits; --json has all of them
table() {
    jq -r '
        def tenths: . * 10 | floor / 10;
        def span: if . >= 86400 then "\(. / 86400 | floor)d\(. % 86400 / 3600 | floor)h"
            elif . >= 3600 then "\(. / 3600 | floor)h\(. % 3600 / 60 | floor)m"
            elif . >= 60 then "\(. / 60 | floor)m\(. % 60)s" else "\(.)s" end;
        def count: if . >= 1e9 then "\(. / 1e9 | tenths)G" elif . >= 1e6 then "\(. / 1e6 | tenths)M"
            elif . >= 1e5 then "\(. / 1e3 | floor)k" else . end;
        def size: . / 1048576 | if . >= 1000 then "\(. / 1024 | tenths)G" else "\(tenths)M" end;
        def filled(f): if . == null then null else f end;
        ["", "state", "set", "%", "pid", "up", "mem", "busy", "conns", "calls", "5xx"],
        (.[] | [.name, .state, .colour, .share, .pid, (.uptime | filled(span)), (.memory | filled(size)),
            "\(.busy // "-")/\(.threads // "-")", (.connections | filled(count)),
            (.requests | filled(count)), (.errors | filled(count))]) | map(. // "-") | @tsv' | align 3
}

# align LEFT : columns between tabs, each as wide as its widest cell, the first LEFT of them aligned left, the others right
align() {
    awk -F '\t' -v left="$1" '
        { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
        END {
            for (n = 1; n <= NR; n++) {
                line = ""
                for (i = 1; i <= NF; i++) line = line sprintf(i <= left ? "%-*s " : "%*s ", width[i], cell[n, i])
                sub(/ +$/, "", line)
                print line
            }
        }'
}

# The labels are those of /_metrics.
prometheus() {
    jq -r '
        def family(name; help; value):
            "# HELP \(name) \(help)", "# TYPE \(name) gauge",
            (.[] | select(.name != "nginx") | value as $value | select($value != null) |
                "\(name){service=\"\(.name | sub("-.*"; ""))\",server=\"\(.name)\"} \($value)");
        family("cgi_server_up"; "Whether it tells its status."; if .state != "silent" then 1 else 0 end),
        family("cgi_server_uptime_seconds"; "Since its process began."; .uptime),
        family("cgi_server_resident_memory_bytes"; "Of its process."; .memory),
        family("cgi_server_threads"; "That take requests."; .threads),
        family("cgi_server_busy_threads"; "That are in a request."; .busy),
        family("cgi_server_connections"; "Of nginx to it, idle ones among them."; .connections)'
}

# require_format [WORD...] : --json, --prometheus, or none
require_format() {
    (($# == 0)) || require_choice format "$1" --json --prometheus
    require_words -- "${@:2}"
}

# show_status [--json | --prometheus] : the objects on standard input, in one array, as metrics, or in a table. Fails if one
# does not answer that should.
show_status() {
    local all
    all=$(jq -cs .)
    case ${1:-} in
    --json) say "$all" ;;
    --prometheus) prometheus <<<"$all" ;;
    *) table <<<"$all" ;;
    esac
    jq -e 'all(.state == "serving" or .state == "draining")' <<<"$all" >/dev/null
}
