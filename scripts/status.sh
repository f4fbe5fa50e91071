# How services fare: what each tells on its status socket, and what is known of nginx, as a table or as JSON. Sourced after
# scripts/lib.sh, by scripts/status and by cgi-message on a host.
# shellcheck shell=bash

# ask SOCKET : the JSON that an instance tells; nothing when it does not
ask() {
    REQUEST_METHOD=GET SCRIPT_NAME=/_status timeout 2 cgi-fcgi -bind -connect "$1" 2>/dev/null | sed '1,/^\r*$/d' || true
}

# service_status NAME SOCKET : its object
service_status() {
    local told
    told=$(ask "$2")
    jq -c --arg name "$1" '{name: $name, state: (if . then "serving" else "silent" end)} + .' <<<"${told:-null}"
}

# nginx_status PID : likewise, of this master; none: it is gone. Memory is that of the master and its workers.
nginx_status() {
    local pids
    [[ -n $1 ]] || {
        say '{"name":"nginx","state":"gone"}'
        return
    }
    read -ra pids <"/proc/$1/task/$1/children" || true # the line has no end
    ps -o pid=,ppid=,etimes=,rss= -p "$1" "${pids[@]/#/-p}" | awk -v master="$1" '
        { memory += $4 * 1024 } $1 == master { uptime = $3 } $2 == master { workers++ }
        END { printf "{\"name\":\"nginx\",\"state\":\"serving\",\"pid\":%d,\"uptime\":%d,\"threads\":%d,\"memory\":%d}\n",
                  master, uptime, workers, memory }'
}

table() {
    jq -r '["", "state", "pid", "uptime", "memory", "threads", "busy", "connections", "requests", "errors"],
        (.[] | [.name, .state, .pid, .uptime, (if .memory then "\(.memory / 1048576 * 10 | round / 10)M" else null end),
            .threads, .busy, .connections, .requests, .errors]) | map(. // "-") | @tsv' |
        awk -F '\t' '{ printf "%-13s %-8s", $1, $2; for (i = 3; i <= NF; i++) printf " %11s", $i; print "" }'
}

# show_status [--json] : the objects on standard input, one array or a table of them. Fails unless all are serving.
show_status() {
    local all
    all=$(jq -cs .)
    if [[ ${1:-} == --json ]]; then say "$all"; else table <<<"$all"; fi
    jq -e 'all(.state == "serving")' <<<"$all" >/dev/null
}
