# One measurement each, for scripts/bench: a load on one peer, its figures as one line of JSON in $BENCH_DIR/raw.jsonl.
# Sourced, after tests/bench/peers.bash.
# shellcheck shell=bash

SETTLE_SECONDS=5

# note SECTION PEER ROUND MEMBERS JSON : append a record; MEMBERS: more of them, as JSON without braces
note() {
    say "{\"section\": \"$1\", \"peer\": \"$2\", \"round\": $3, ${4:+$4, }\"result\": $5}" >>"$BENCH_DIR/raw.jsonl"
}

cpu_of() {
    python3 "$ROOT/tests/bench/processes.py" cpu "$BENCH_DIR/$1"
}

# settle PEER : wait until it has done with what the last load left behind, else begin it anew: it would run in the time
# of those that come next
settle() {
    local deadline=$((SECONDS + SETTLE_SECONDS)) before after
    before=$(cpu_of "$1")
    while ((SECONDS < deadline)); do
        sleep 0.1
        after=$(cpu_of "$1")
        awk "BEGIN { exit !($after - $before < 0.03) }" && return
        before=$after
    done
    say "$1 was still busy $SETTLE_SECONDS s after a load, and was started anew" >&2
    stop_peer "$1"
    start_peer "$1" || die "$1 did not start again"
}

# with_cpu PEER COMMAND... : what it prints, an object in JSON, with the peer's CPU seconds in that time as a member
with_cpu() {
    local before result
    before=$(cpu_of "$1")
    result=$("${@:2}")
    [[ $result == '{'*'}' ]] || die "no figures from: ${*:2}"
    say "${result%\}}, \"cpu\": $(awk "BEGIN { printf \"%.2f\", $(cpu_of "$1") - $before }")}"
    settle "$1"
}

# closed_wrk URL CONNECTIONS SECONDS BODY : as many requests as it answers, each connection one at a time
closed_wrk() {
    BODY=$4 wrk -t "$(($2 < 2 ? 1 : 2))" -c "$2" -d "$3s" --timeout 30s --latency \
        -s "$ROOT/tests/bench/post.lua" "$1" | grep '^{'
}

# closed_h2 URL CONNECTIONS SECONDS BODY : the same by HTTP/2. h2load does not come back where a server closes a connection,
# and does not say so: then fewer requests than connections are under way at the end ("idle": how many fewer).
closed_h2() {
    h2load -t 2 -c "$2" -m 1 -D "$3" -d "$4" -H 'Content-Type: application/json' "$1" | h2load_figures "$2"
}

# h2load_figures CONNECTIONS : of what h2load prints
h2load_figures() {
    awk -v connections="$1" '
        /^finished in/ { sub("s,", "", $3); seconds = $3; if (seconds ~ /m$/) seconds /= 1000 }
        /^requests:/ { failed = $10 + $12; idle = connections - ($4 - $6) }
        /^status codes:/ { good = $3; bad = $5 + $7 + $9 }
        END {
            printf "{\"requests\": %d, \"seconds\": %f, \"errors\": %d, \"idle\": %d}\n", good, seconds, failed + bad, idle
        }'
}

# why_refused SECONDS RESULT : what makes it no measurement: the generator did not ask on all connections until the end
why_refused() {
    jq -r --argjson asked "$1" 'if .requests == 0 and .errors == 0 then "nothing was asked"
        elif (.seconds // $asked) < 0.9 * $asked then "the generator stopped after \(.seconds) s of \($asked)"
        elif (.idle // 0) > 0 then "\(.idle) connections of the generator had stopped before the end"
        else empty end' <<<"$2"
}

# note_whole SECTION PEER ROUND MEMBERS SECONDS JSON : note it, unless its generator stopped early
note_whole() {
    local reason
    reason=$(why_refused "$5" "$6")
    if [[ -n $reason ]]; then
        say "refused: $1, $2, round $3${4:+, $4}: $reason" >&2
    else
        note "$1" "$2" "$3" "$4" "$6"
    fi
}

# closed_load SECTION PEER ROUND PROTOCOL CONNECTIONS SECONDS SCRIPT BYTES
closed_load() {
    local url load=closed_wrk
    case $4 in
    http/1.1) url=http://127.0.0.1:$(peer_port "$2")/api ;;
    *) url=https://127.0.0.1:$(peer_https_port "$2")/api ;;
    esac
    [[ $4 != h2 ]] || load=closed_h2
    note_whole "$1" "$2" "$3" "\"protocol\": \"$4\", \"connections\": $5, \"script\": \"$7\", \"bytes\": $8" "$6" \
        "$(with_cpu "$2" "$load" "$url" "$5" "$6" "$BENCH_DIR/messages/$7-$8.json")"
}

# open_load SECTION PEER ROUND SHARE RATE SECONDS : SHARE: of the system's capacity, in percent
open_load() {
    note_whole "$1" "$2" "$3" "\"share\": $4" "$6" "$(with_cpu "$2" "$BUILD_DIR/bench/openloop" "$(peer_port "$2")" \
        "$5" "$6" "$OPEN_CONNECTIONS" "$BENCH_DIR/messages/ascii-32.json")"
}

# start_time PEER ROUND : from the call of its commands to the first answer
start_time() {
    local begun
    stop_peer "$1"
    begun=$(date +%s%N)
    start_peer "$1" || die "$1 did not start again"
    note start "$1" "$2" '' "{\"milliseconds\": $((($(date +%s%N) - begun) / 1000000))}"
}

memory_of() {
    note memory "$1" 1 '' "$(python3 "$ROOT/tests/bench/processes.py" memory "$BENCH_DIR/$1")"
}

# capacity_of PEER : requests/s at 32 connections, the median of what was measured; empty when nothing was
capacity_of() {
    python3 "$ROOT/tests/bench/report.py" rate "$BENCH_DIR/raw.jsonl" "$1"
}

know_capacity() {
    [[ -n $(capacity_of "$1") ]] || closed_load throughput "$1" 1 http/1.1 32 "$ROUND_SECONDS" ascii 32
}
