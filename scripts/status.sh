# How services fare: what each tells on its status socket, and what is known of nginx, as a table or as JSON. Sourced after
# scripts/lib.sh and sets.sh, by scripts/status and by cgi-message on a host.
# shellcheck shell=bash

# ask SOCKET : the JSON that an instance tells; nothing when it does not
ask() {
    REQUEST_METHOD=GET SCRIPT_NAME=/_status timeout 2 cgi-fcgi -bind -connect "$1" 2>/dev/null | sed '1,/^\r*$/d' || true
}

# service_status NAME SOCKET SET : its object. Of a set that is not to run any more it drains, if it answers at all.
service_status() {
    local told state=draining
    ((INSTANCES[$3] == 0)) || state=serving
    told=$(ask "$2")
    jq -c --arg name "$1" --arg state "$state" --arg colour "${3#*-}" --argjson share "$(share_of "$3")" \
        '{name: $name, state: (if . then $state else "silent" end)} + . + {colour: $colour, share: $share}' <<<"${told:-null}"
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
    jq -r '["", "state", "colour", "share", "pid", "uptime", "memory", "threads", "busy", "connections", "requests", "errors"],
        (.[] | [.name, .state, .colour, .share, .pid, .uptime, (if .memory then "\(.memory / 1048576 * 10 | round / 10)M" else null end),
            .threads, .busy, .connections, .requests, .errors]) | map(. // "-") | @tsv' |
        awk -F '\t' '{ printf "%-17s %-8s %-6s %5s %7s", $1, $2, $3, $4, $5; for (i = 6; i <= NF; i++) printf " %11s", $i; print "" }'
}

# show_status [--json] : the objects on standard input, one array or a table of them. Fails if one does not answer that should.
show_status() {
    local all
    all=$(jq -cs .)
    if [[ ${1:-} == --json ]]; then say "$all"; else table <<<"$all"; fi
    jq -e 'all(.state == "serving" or .state == "draining")' <<<"$all" >/dev/null
}
