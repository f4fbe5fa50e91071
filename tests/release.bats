#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# Two builds beside each other: scripts/start, route, upgrade, stop for one set; what bad input gets. Under load: load/.

load lib/helpers
load lib/stack

setup() {
    start_stack "$BATS_TEST_TMPDIR/r" UPSTREAM_TIMEOUT=60
}

teardown() {
    end_stack
}

# served : how many of the last requests to /api each set of both services has answered, "app-blue 3", a line each
served() {
    jq -r 'select(.uri == "/api" and (.request_id | startswith("n-"))) | .upstream_addr' "$RUN_DIR/log/access.log" |
        grep -oE '(app|transform)-[a-z]+' | sort | uniq -c | awk '{ print $2, $1 }'
}

# call_times COUNT [CURL OPTION...] : so many requests that `served` counts; each must be answered with 200
call_times() {
    local i
    for ((i = 0; i < $1; i++)); do
        post_sample -H "X-Request-ID: n-$i" "${@:2}"
        expect_sample
    done
    flush_log
}

forget_log() {
    : >"$RUN_DIR/log/access.log"
}

# program_of INSTANCE : what its worker runs
program_of() {
    sha256sum <"/proc/$(worker_of "$1")/exe"
}

# another_build : the path of a build whose programs are other files than those that run, and as good
another_build() {
    local dir=$BATS_TEST_TMPDIR/another
    cp -a "$BUILD_DIR" "$dir"
    strip -o "$dir/cgi-app" "$BUILD_DIR/cgi-app"
    strip -o "$dir/cgi-transform" "$BUILD_DIR/cgi-transform"
    echo "$dir"
}

# bad_build SERVICE TEXT : likewise, but its SERVICE is a shell script with this text
bad_build() {
    local dir=$BATS_TEST_TMPDIR/bad
    [[ -d $dir ]] || cp -a "$BUILD_DIR" "$dir"
    printf '#!/bin/sh\n%s\n' "$2" >"$dir/cgi-$1"
    echo "$dir"
}

# expect_as_before : the blue sets alone run, and answer
expect_as_before() {
    expect_equal 'app-blue 2 100 app-green 0 0 transform-blue 2 100 transform-green 0 0' "$(paste -sd ' ' "$RUN_DIR/sets")" sets || return
    expect_equal 'app-blue-1 app-blue-2 transform-blue-1 transform-blue-2' \
        "$(cd "$RUN_DIR" && echo *-*.pid | sed 's/\.pid//g')" "instances" || return
    [[ ! -e $RUN_DIR/nginx.before ]] || return
    post_sample && expect_sample
}

# refuse REGEX COMMAND... : it fails, with one line that matches
refuse() {
    run env "${@:2}" 3>&-
    [[ $status -ne 0 ]] || { echo "did not fail: ${*:2}" >&2; return 1; }
    expect_equal 1 "${#lines[@]}" "lines of ${*:2}: $output" || return
    expect_match "$1" "$output" "of ${*:2}"
}

# refuse_words REGEX SCRIPT WORD... : likewise, with 2: it was asked for wrongly
refuse_words() {
    refuse "^$1" "$ROOT/scripts/$2" "${@:3}" && expect_status 2
}

is_in_sets() {
    grep -qx "$1" "$RUN_DIR/sets"
}

# expect_set SET WHAT [CURL OPTION...] : app's set that answers a call with these options
expect_set() {
    call_id=$((${call_id:-0} + 1))
    post_sample -H "X-Request-ID: pin-$call_id" "${@:3}"
    expect_sample || return
    flush_log || return
    expect_equal "$1" "$(grep "\"request_id\":\"pin-$call_id\"" "$RUN_DIR/log/access.log" | grep -oE 'app-[a-z]+' | head -n 1)" "$2"
}

@test "X-App-Colour chooses a set for PIN_ADDRESSES alone, and not for what a proxy forwards; else it is ignored, whatever it says" {
    local green='X-App-Colour: green' value line proxied
    proxied=$(free_port)
    end_stack
    start_stack "$BATS_TEST_TMPDIR/pins" PIN_ADDRESSES='127.0.0.0/30 ::1' TRUSTED_PROXIES='127.0.0.3 192.0.2.0/24' \
        PROXY_HTTP_PORT="$proxied"
    "$ROOT/scripts/start" app green
    expect_set app-green 'of 127.0.0.1' -H "$green"
    expect_set app-green 'of 127.0.0.2' -H "$green" --interface 127.0.0.2
    expect_set app-blue 'of 127.0.0.9' -H "$green" --interface 127.0.0.9
    for value in nonsense red 'green, green' 'cgi-app-green' '127.0.0.1:1' "$(printf 'x%.0s' {1..2000})"; do
        expect_set app-blue "X-App-Colour: ${value:0:20}" -H "X-App-Colour: $value"
    done
    for line in 'X-Forwarded-For: 192.0.2.7' 'X-Forwarded-For: 127.0.0.1' 'X-Real-IP: 192.0.2.7' 'Forwarded: for=192.0.2.7' \
        'Via: 1.1 proxy' 'X-Forwarded-Proto: https' 'X-Forwarded-Host: x'; do
        expect_set app-blue "$line" -H "$green" -H "$line"
        expect_set app-blue "$line, from a trusted proxy" -H "$green" -H "$line" --interface 127.0.0.3
    done
    URL=http://127.0.0.1:$proxied
    expect_set app-blue 'the PROXY protocol' -H "$green" --haproxy-protocol
    end_stack
    start_stack "$BATS_TEST_TMPDIR/none" PIN_ADDRESSES=none
    "$ROOT/scripts/start" app green
    expect_set app-blue 'PIN_ADDRESSES=none' -H "$green"
}

@test "upgrade tells when nginx sends the new ones no call that chooses them, and takes all back; it calls from any PIN_ADDRESSES of loopback" {
    end_stack
    start_stack "$BATS_TEST_TMPDIR/none" PIN_ADDRESSES=none
    refuse '^upgrade: nginx does not send it .*; PIN_ADDRESSES must have an address of this machine; taken back' \
        "$ROOT/scripts/upgrade" --step 0 app
    expect_as_before
    end_stack
    start_stack "$BATS_TEST_TMPDIR/other" PIN_ADDRESSES='192.0.2.7 127.0.0.77'
    "$ROOT/scripts/upgrade" --step 0 app 3>&-
    grep -qx 'app-green 2 100' "$RUN_DIR/sets"
}

# asked_by_upgrade : it has asked app's new set at least once what it tells of itself, so that it knows each pid
asked_by_upgrade() {
    "$ROOT/scripts/status" --json | jq -e 'map(select(.colour == "green") | .requests) | add > 12' >/dev/null
}

@test "a set started beside gets no request but those that ask for it; route gives it its part; stop ends it" {
    run env BUILD_DIR="$(another_build)" "$ROOT/scripts/start" app green
    expect_status 0
    expect_equal '' "$output"
    expect_no_match "^$(program_of app-blue-1)$" "$(program_of app-green-1)"
    call_times 20
    expect_equal 'app-blue 20,transform-blue 20' "$(served | paste -sd ,)"
    forget_log
    call_times 4 -H 'X-App-Colour: green'
    expect_equal 'app-green 4,transform-blue 4' "$(served | paste -sd ,)"
    "$ROOT/scripts/route" app blue=3 green=1
    run "$ROOT/scripts/route" show
    expect_match '^app-blue +2 instances +3 of 4 +[0-9a-z-]+ [0-9a-f]{12}$' "${lines[0]}"
    expect_match '^app-green +2 instances +1 of 4 +[0-9a-z-]+ [0-9a-f]{12}$' "${lines[1]}"
    [[ ${lines[0]##* } != "${lines[1]##* }" ]] # two builds, two hashes
    run "$ROOT/scripts/status"
    expect_match '^app-green-1 +serving +green +25 ' "$(grep '^app-green-1' <<<"$output")"
    refuse 'stop: green of app still gets requests; ./scripts/route app blue' "$ROOT/scripts/stop" app green
    "$ROOT/scripts/route" app green
    forget_log
    call_times 8
    expect_equal 'app-green 8,transform-blue 8' "$(served | paste -sd ,)"
    "$ROOT/scripts/stop" app blue
    [[ ! -e $RUN_DIR/app-blue-1.sock ]]
    is_healthy
    call_times 2
    # A worker that dies comes back as what it was.
    local before
    before=$(program_of app-green-1)
    signal_workers KILL app-green-1
    wait_until 10 is_healthy
    wait_until 10 worker_runs app-green-1
    expect_equal "$before" "$(program_of app-green-1)"
    STACK_NOISE=$NOISE_OF_KILLED
}

worker_runs() {
    [[ -n $(worker_of "$1") && $(readlink "/proc/$(worker_of "$1")/exe") == */cgi-* ]]
}

@test "weights hold to one in a hundred" {
    "$ROOT/scripts/start" transform green
    "$ROOT/scripts/route" transform blue=90 green=10
    wrk -t 1 -c 8 -d 2s -s "$ROOT/tests/lib/post.lua" "$URL/api" >/dev/null 3>&-
    flush_log
    run jq -rn '[inputs | select(.method == "POST") | .upstream_addr | capture("transform-(?<c>[a-z]+)").c] |
        (100 * (map(select(. == "green")) | length) / length) | . > 9 and . < 11' "$RUN_DIR/log/access.log"
    expect_equal true "$output"
}

@test "upgrade: both services run the new build, the old one has gone, and status knows" {
    local build
    build=$(another_build)
    BUILD_DIR=$build run "$ROOT/scripts/upgrade" --step 0 3>&-
    expect_status 0
    expect_match '^app-green +2 instances 100 of 100' "${lines[0]}"
    expect_equal 2 "${#lines[@]}" "$output"
    expect_equal "$(sha256sum <"$build/cgi-app")" "$(program_of app-green-2)"
    expect_equal "$(sha256sum <"$build/cgi-transform")" "$(program_of transform-green-1)"
    expect_equal 'app-green-1 app-green-2 transform-green-1 transform-green-2' \
        "$(cd "$RUN_DIR" && echo *-*.pid | sed 's/\.pid//g')"
    run "$ROOT/scripts/status" --json
    expect_equal 'app-green-1,app-green-2,transform-green-1,transform-green-2,nginx' "$(jq -r 'map(.name) | join(",")' <<<"$output")"
    post_sample
    expect_sample
    # One service alone, and back to blue.
    run "$ROOT/scripts/upgrade" --step 0 transform 3>&-
    expect_status 0
    expect_equal 'app-blue 0 0 app-green 2 100 transform-blue 2 100 transform-green 0 0' "$(paste -sd ' ' "$RUN_DIR/sets")"
    is_healthy
}

@test "a new build that does not start, does not answer, answers wrongly or dies is taken back, and one line says why" {
    # It passes its check of the settings first, where it does more than end.
    local bad
    bad=$(bad_build transform 'echo "no libsomething.so.1" >&2; exit 127')
    refuse 'start: transform-green does not start: no libsomething.so.1' \
        BUILD_DIR="$bad" "$ROOT/scripts/start" transform green
    expect_as_before
    # shellcheck disable=SC2016 # $1 is of the program made here
    bad=$(bad_build transform '[ "$1" = -t ] && exit 0; echo "out of luck" >&2; exit 1')
    refuse 'upgrade: transform-green does not serve; log/transform-green-1.log .* says: out of luck; taken back' \
        BUILD_DIR="$bad" "$ROOT/scripts/upgrade" --step 0
    expect_as_before
    # app in transform's place is healthy, and knows no /reverse/message
    cp "$BUILD_DIR/cgi-app" "$bad/cgi-transform"
    refuse '^upgrade: a call of it was answered with: .*Bad Gateway.*; taken back' \
        BUILD_DIR="$bad" "$ROOT/scripts/upgrade" --step 0 transform
    expect_as_before
    STACK_NOISE='compose: '
}

@test "a new instance that dies while it is watched: all requests go back to the old ones" {
    "$ROOT/scripts/upgrade" --step 60 app >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    local upgrade=$!
    wait_until 30 is_in_sets 'app-green 2 0'
    wait_until 30 asked_by_upgrade
    signal_workers KILL app-green-2
    wait_until 60 is_gone "$upgrade"
    expect_match 'upgrade: app-green-2 has died; .*; taken back' "$(<"$BATS_TEST_TMPDIR/out")"
    expect_as_before
    STACK_NOISE=$NOISE_OF_KILLED
}

@test "a new build that answers a client with a 5xx while it is watched: all requests go back to the old ones" {
    [[ -z ${SANITIZE:-} ]] || skip "a sanitizer's build reserves more memory than this build may have"
    local bad
    end_stack
    start_stack "$BATS_TEST_TMPDIR/large" MAX_BODY_BYTES=50000000 UPSTREAM_TIMEOUT=60
    # Good for all but large messages: it has no memory for these.
    # shellcheck disable=SC2016 # the program's own
    bad=$(bad_build transform '[ "$1" = -t ] || ulimit -v 80000; exec '"$BUILD_DIR"'/cgi-transform "$@"')
    BUILD_DIR=$bad "$ROOT/scripts/upgrade" --step 60 transform >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    local upgrade=$!
    wait_until 30 is_in_sets 'transform-green 2 0'
    python3 -c 'print("{\"message\": \"" + "ab\u0301" * 8000000 + "\"}")' >"$BATS_TEST_TMPDIR/message"
    request POST /api --data-binary @"$BATS_TEST_TMPDIR/message" -H 'X-Transform-Colour: green'
    [[ $code == 5* ]]
    wait_until 60 is_gone "$upgrade"
    expect_match 'upgrade: transform-green-[12] has answered [0-9]+ requests with a 5xx; .*; taken back' "$(<"$BATS_TEST_TMPDIR/out")"
    expect_as_before
    STACK_NOISE='compose: |no live upstreams'
}

@test "an upgrade that is interrupted is taken back" {
    "$ROOT/scripts/upgrade" --step 60 >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    local upgrade=$!
    wait_until 30 is_in_sets 'transform-green 2 0'
    refuse 'another change of what runs .* is under way' "$ROOT/scripts/route" app blue
    kill -TERM "$upgrade"
    wait_until 30 is_gone "$upgrade"
    expect_match 'interrupted; taken back' "$(<"$BATS_TEST_TMPDIR/out")"
    expect_as_before
}

@test "a start that is interrupted ends what it has begun, and that alone" {
    local bad start
    # shellcheck disable=SC2016 # $1 is of the program made here
    bad=$(bad_build transform '[ "$1" = -t ] && exit 0; exec sleep 60')
    BUILD_DIR=$bad "$ROOT/scripts/start" transform green >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    start=$!
    wait_until 30 test -s "$RUN_DIR/transform-green-2.pid"
    kill -TERM "$start"
    wait_until 30 is_gone "$start"
    expect_equal 'start: interrupted; nothing has changed' "$(<"$BATS_TEST_TMPDIR/out")"
    expect_as_before
}

@test "an upgrade killed with -9: all goes on, the next one says what is left, and begins anew after it" {
    "$ROOT/scripts/upgrade" --step 60 transform >/dev/null 2>&1 3>&- &
    local upgrade=$!
    wait_until 30 is_in_sets 'transform-green 2 0'
    kill -KILL "$upgrade"
    wait_until 10 is_gone "$upgrade"
    post_sample
    expect_sample
    wait_until 10 changes_are_free
    refuse 'transform-green runs already; ./scripts/stop transform green' "$ROOT/scripts/upgrade"
    "$ROOT/scripts/stop" transform green
    expect_as_before
    # So early that nothing is written down yet: there are instances that nobody knows of.
    cp -r "$RUN_DIR/sets" "$BATS_TEST_TMPDIR/sets"
    "$ROOT/scripts/start" transform green 3>&-
    local before
    before=$(worker_of transform-green-1)
    cp "$BATS_TEST_TMPDIR/sets" "$RUN_DIR/sets"
    "$ROOT/scripts/upgrade" --step 0 transform 3>&-
    is_ended "$before"
    post_sample
    expect_sample
}

changes_are_free() {
    flock -n "$RUN_DIR/changes.lock" true
}

@test "wrong words: one line, status 2, and what ran goes on running (cases/words.tsv has more)" {
    refuse_words 'route: "purple" is no colour of app; blue and green are' route app purple=10
    refuse_words 'route: the weight of blue is "many"; set it to a whole number' route app blue=many
    refuse_words 'route: the weight of blue is "-1"; set it to a whole number' route app blue=-1
    refuse_words 'route: the weight of blue is ""; set it to a whole number' route app blue=
    refuse_words 'route: all weights are 0' route app blue=0 green=0
    refuse_words 'route: "blue=2" is one word too many' route app blue=1 blue=2
    refuse_words 'start: "now" is one word too many' start app green now
    refuse_words "stop: \"\" is no service; $(service_list) are" stop '' green
    refuse_words 'upgrade: "app" is there twice' upgrade --step 0 app app
    expect_as_before
}

@test "what cannot be done now: one line that says why, and what ran goes on running" {
    refuse 'green of app does not run; ./scripts/start app green' "$ROOT/scripts/route" app green
    refuse 'green of app does not run; ./scripts/start app green' "$ROOT/scripts/route" app blue=90 green=10
    refuse 'blue of app runs already' "$ROOT/scripts/start" app blue
    refuse 'nothing runs in .*/none' RUN_DIR="$BATS_TEST_TMPDIR/none" "$ROOT/scripts/route" app blue
    refuse 'nothing runs in .*/none' RUN_DIR="$BATS_TEST_TMPDIR/none" "$ROOT/scripts/upgrade"
    expect_as_before
}

@test "a change that cannot be written down is none: nginx goes on as it was" {
    "$ROOT/scripts/start" app green
    mkdir "$RUN_DIR/sets.new"
    refuse 'route: .*/sets.new cannot be written; is the disk full\?; nothing has changed' "$ROOT/scripts/route" app green
    call_times 4
    expect_equal 'app-blue 4,transform-blue 4' "$(served | paste -sd ,)"
    [[ ! -e $RUN_DIR/nginx.before ]]
    rmdir "$RUN_DIR/sets.new"
    "$ROOT/scripts/route" app green
}

@test "a broken template: nginx's reason in one line, and all stays as it was, also for the next reload" {
    "$ROOT/scripts/start" app green
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir "$tree"
    cp -r "$ROOT"/{nginx,scripts,services,sample} "$tree/"
    echo 'no_such_directive on;' >>"$tree/nginx/limits.conf"
    refuse 'route: nginx refuses its configuration: .*unknown directive "no_such_directive".*; nothing has changed' \
        "$tree/scripts/route" app green
    expect_equal 'app-green 2 0' "$(grep app-green "$RUN_DIR/sets")"
    rm "$tree/nginx/limits.conf"
    refuse 'route: nginx refuses its configuration: .*; nothing has changed' "$tree/scripts/route" app green
    kill -HUP "$(<"$RUN_DIR/nginx.pid")"
    post_sample
    expect_sample
    "$ROOT/scripts/route" app green
    call_times 4
    expect_equal 'app-green 4,transform-blue 4' "$(served | paste -sd ,)"
}
