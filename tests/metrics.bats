#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# What /_metrics counts, and through what it counts on; and the alerts and the dashboard made of it. metrics-access.bats has who
# may read it.

load lib/helpers
load lib/stack

STACK_NOISE='no live upstreams|upstream (prematurely closed|timed out)|connect\(\) to unix:|compose: |too large body'

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" UPSTREAM_TIMEOUT=2 MAX_BODY_BYTES=5000
    scrape
    cp "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/before"
}

teardown() {
    end_stack
}

scrape() {
    curl -sS --fail --max-time 5 -o "$BATS_TEST_TMPDIR/page" --unix-socket "$RUN_DIR/metrics.sock" http://localhost/_metrics
}

# value SERIES [FILE] : the sum of the series that begin with this, an extended regular expression
value() {
    grep -E "^$1" "${2:-$BATS_TEST_TMPDIR/page}" | awk '{ sum += $NF } END { print sum + 0 }'
}

# has_risen COUNT SERIES : since the test began. A request is counted a moment after its client has the answer, so wait_until
# this.
has_risen() {
    scrape && (($(value "$2") - $(value "$2" "$BATS_TEST_TMPDIR/before") == $1))
}

# risen COUNT SERIES : waits for it, and shows the page if it does not come
risen() {
    wait_until 5 has_risen "$@" && return
    grep -vE '_bucket|^#' "$BATS_TEST_TMPDIR/page" >&2
    return 1
}

# names SERVICE : of its instances
names() {
    local file
    for file in "$RUN_DIR/$1"-*.pid; do basename "$file" .pid; done
}

# reload [SED-SCRIPT FILE...] : after a change of nginx's files, until the old workers take no request any more
reload() {
    local nginx workers
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true
    (($# == 0)) || (cd "$RUN_DIR/nginx" && sed -i -E "$@")
    kill -HUP "$nginx"
    wait_until 10 all_ended "${workers[@]}"
}

all_ended() {
    local pid
    for pid; do is_ended "$pid" || return 1; done
}

@test "the page is in Prometheus's format, as promtool wants it; it is GET's and HEAD's; what its server is asked is not counted" {
    post_sample
    request_metrics GET /_metrics
    expect_reply 200
    expect_equal 'text/plain; version=0.0.4; charset=utf-8' "$(header content-type)"
    run promtool check metrics <<<"$body"
    expect_status 0
    expect_equal '' "$output"
    request_metrics HEAD /_metrics --head
    expect_reply 200
    request_metrics POST /_metrics
    expect_problem 405
    request GET /_metrics
    expect_problem 404
    risen 2 'cgi_http_requests_total' # the sample, and what the edge was asked
}

@test "each request is counted once, by its status, also what nginx itself refuses" {
    local status
    post_sample
    request GET /
    post '{"message": 5}'
    request GET /nowhere
    request GET /api
    post "$(printf '{"message": "%6000s"}' '')"
    expect_problem 413
    printf 'nonsense\r\n\r\n' | python3 "$ROOT/tests/lib/http.py" raw "$HTTP_PORT" >/dev/null
    risen 7 'cgi_http_requests_total'
    risen 2 'cgi_http_requests_total\{status="200"'
    risen 2 'cgi_http_requests_total\{status="400"'
    for status in 404 405 413; do risen 1 "cgi_http_requests_total\{status=\"$status\""; done
    risen 7 'cgi_http_request_duration_seconds_count'
}

@test "each call of a service is counted once, by service, server and status" {
    local name i
    for i in 1 2 3 4 5 6 7 8; do post_sample; done
    post '{"message": 5}'
    risen 9 'cgi_upstream_requests_total\{service="app"'
    risen 8 'cgi_upstream_requests_total\{service="app",.*,status="200"'
    risen 1 'cgi_upstream_requests_total\{service="app",.*,status="400"'
    risen 8 'cgi_upstream_requests_total\{service="transform"'
    risen 8 'cgi_upstream_requests_total\{service="transform",.*,status="200"'
    for name in $(names app) $(names transform); do
        (($(value "cgi_upstream_requests_total\{service=\"${name%%-*}\",server=\"$name\",") > 0))
    done
}

@test "transform gone: one request of 502, and each call that was tried; app's are none the worse" {
    # shellcheck disable=SC2046 # words
    end_instance $(names transform)
    post_sample
    expect_problem 502
    risen 1 'cgi_http_requests_total\{status="502"'
    risen 4 'cgi_upstream_requests_total\{service="transform",.*,status="502"' # two servers; the call is made twice
    risen 1 'cgi_upstream_requests_total\{service="app",.*,status="200"'
    expect_equal 0 "$(value 'cgi_upstream_requests_total\{service="app",.*,status="5')"
}

@test "no server that could be called: counted under the server none" {
    reload 's/^( *server .*transform.*);$/\1 down;/' each/transform/upstreams.conf
    post_sample
    expect_problem 502
    risen 2 'cgi_upstream_requests_total\{service="transform",server="none",status="502"' # the call is made twice
}

@test "times: a bucket holds those before it; the last is the count, and that the sum of the statuses; 2 s are 2 s" {
    # shellcheck disable=SC2046 # words
    signal_workers STOP $(names transform)
    post_sample
    # shellcheck disable=SC2046
    signal_workers CONT $(names transform)
    expect_problem 504
    risen 1 'cgi_http_request_duration_seconds_count'
    risen 0 'cgi_http_request_duration_seconds_bucket\{le="1"'
    risen 1 'cgi_http_request_duration_seconds_bucket\{le="10"'
    risen 2 'cgi_upstream_requests_total\{service="transform",.*,status="504"'
    local sum
    sum=$(value 'cgi_http_request_duration_seconds_sum')
    [[ $sum =~ ^([2-9]\.|1\.9) ]] || expect_equal 2 "$sum" seconds
    for i in {1..20}; do post_sample; done
    risen 21 'cgi_http_requests_total'
    # of each histogram's labels: the buckets rise, +Inf and the count are the statuses' sum
    awk '
        function labels() { gsub(/(,?(le|status)="[^"]*"|^[^{]*|[{}])/, "", series); return series }
        /^#/ { next }
        { name = $1; sub(/{.*/, "", name); series = $1; if (!index(series, "{")) series = "{}"; at = labels() }
        name ~ /^cgi_http/ { at = "requests" }
        name ~ /_bucket$/ { if ($2 < last[at]) exit 1; last[at] = $2 }
        name ~ /_count$/ { count[at] = $2 }
        name ~ /^cgi_.*_requests_total$/ { statuses[at] += $2 }
        END {
            for (at in statuses) if (count[at] != statuses[at] || last[at] != statuses[at]) { print at; exit 1 }
            exit length(statuses) != 5 || length(count) != 5
        }' "$BATS_TEST_TMPDIR/page"
}

@test "the counts outlive a reload and an nginx worker; who leaves is gone from the page, and goes on where it was" {
    local i name nginx workers
    for i in 1 2 3 4; do post_sample; done
    risen 4 'cgi_http_requests_total'
    name=$(names transform | tail -n 1)
    cp "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/before"
    reload "s/^( *)(server .*$name\.sock.*)/\1#\2/" each/transform/{upstreams,colours}.conf
    risen 0 'cgi_http_requests_total'
    expect_equal 0 "$(value ".*server=\"$name\"")"
    post_sample
    reload 's/^( *)#(server)/\1\2/' each/transform/{upstreams,colours}.conf
    risen 1 'cgi_http_requests_total'
    risen 0 "cgi_upstream_requests_total\{service=\"transform\",server=\"$name\""
    nginx=$(<"$RUN_DIR/nginx.pid")
    read -ra workers <"/proc/$nginx/task/$nginx/children" || true
    kill -TERM "${workers[@]}" # nginx starts others, as when they die
    wait_until 10 all_ended "${workers[@]}"
    risen 1 'cgi_http_requests_total'
}

# are_under_way COUNT : so many requests, beside the one for the page
are_under_way() {
    scrape && (($(value 'nginx_connections\{state="writing"') == $1 + 1))
}

# is_busy : dozens of requests are under way
is_busy() {
    scrape && (($(value 'nginx_connections\{state="writing"') > 30))
}

# is_soon : one of a few scrapes takes less than 100 ms; all of them, only where the machine has nothing else to do
is_soon() {
    local i time
    for i in 1 2 3 4 5; do
        time=$(curl -sS --fail -o /dev/null --max-time 5 -w '%{time_total}' \
            --unix-socket "$RUN_DIR/metrics.sock" http://localhost/_metrics)
        [[ $time != 0.0* ]] || return 0
    done
    expect_equal 'less than 0.1 s' "$time"
}

@test "answered within 100 ms: while every worker of the services is in a request, and while nginx has all it can do" {
    local i pids=()
    # shellcheck disable=SC2046 # words
    signal_workers STOP $(names app) $(names transform)
    for i in 1 2 3 4 5 6 7 8; do
        curl -sS -o "$BATS_TEST_TMPDIR/answer-$i" --max-time 30 -d "$SAMPLE_REQUEST" "$URL/api" 3>&- &
        pids+=($!)
    done
    wait_until 2 are_under_way 8
    is_soon
    [[ -z $(ls "$BATS_TEST_TMPDIR"/answer-* 2>/dev/null) ]]
    # shellcheck disable=SC2046
    signal_workers CONT $(names app) $(names transform)
    wait "${pids[@]}"
    wrk -t1 -c64 -d2 -s "$ROOT/tests/lib/post.lua" "$URL/api" >/dev/null 3>&- &
    wait_until 2 is_busy
    is_soon
    wait $!
}

# ---- what is made of it ----

@test "status --prometheus: of each instance what the page cannot know, with the page's labels, also while one is frozen" {
    local name frozen serving
    post_sample
    post_sample
    serving=$(($("$ROOT/scripts/status" --json | jq '[.[] | select(.colour)] | length') - 1))
    frozen=$(names app | head -n 1)
    signal_workers STOP "$frozen"
    run "$ROOT/scripts/status" --prometheus
    signal_workers CONT "$frozen"
    expect_status 1
    printf '%s\n' "$output" >"$BATS_TEST_TMPDIR/page"
    expect_equal 0 "$(value "cgi_server_up\{service=\"app\",server=\"$frozen\"")"
    expect_equal "$serving" "$(value "cgi_server_up\{")"
    expect_equal "$serving" "$(value cgi_server_threads)"
    expect_equal 0 "$(value cgi_server_busy_threads)"
    (($(value cgi_server_resident_memory_bytes) > 1000000))
    run promtool check metrics <"$BATS_TEST_TMPDIR/page"
    expect_status 0
    grep -oE 'service="[a-z]+",server="[^"]+"' "$BATS_TEST_TMPDIR/page" | sort -u >"$BATS_TEST_TMPDIR/told"
    scrape
    grep -oE 'service="[a-z]+",server="[^"]+"' "$BATS_TEST_TMPDIR/page" | sort -u | diff "$BATS_TEST_TMPDIR/told" -
}

# queries : the dashboard's, as Grafana sends them, one a line
queries() {
    # shellcheck disable=SC2016 # Grafana's names
    jq -r '.panels[].targets[]?.expr' "$ROOT/monitoring/dashboard.json" | sed 's/\$__rate_interval/1m/g; s/\$instance/.*/g'
}

@test "the alerts are raised by what they are for and by nothing else; Prometheus takes its file and the dashboard's queries" {
    local query i=0
    run promtool test rules "$ROOT/tests/cases/alerts.yml"
    expect_status 0
    run promtool check config "$ROOT/monitoring/prometheus.yml"
    expect_status 0
    {
        printf 'groups:\n  - name: dashboard\n    rules:\n'
        while read -r query; do printf "      - {record: a:b%d, expr: '%s'}\n" "$((i += 1))" "$query"; done < <(queries)
    } >"$BATS_TEST_TMPDIR/rules.yml"
    run promtool check rules "$BATS_TEST_TMPDIR/rules.yml"
    expect_status 0
    expect_match ' 1[0-9] rules found' "$output"
}

@test "each metric that an alert or the dashboard asks for is on the page" {
    local name
    post_sample
    scrape
    while read -r name; do
        grep -qE "^$name(\{| )" "$BATS_TEST_TMPDIR/page" || { echo "not on the page: $name" >&2; return 1; }
    done < <(grep -ohE '(cgi|nginx)_[a-z_]+' <(queries) "$ROOT/monitoring/alerts.yml" | sort -u)
}
