#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031 # each test is a subshell; what it sets ends with it
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or there for here
# A third service, as a stranger adds it: scripts/new-service, its tag in app's frame, and then all that the first two can. In a
# copy of the checkout, which serves while the tests run.
# needs: deb ecs-test containers
# sanitizers: none

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/stack
load lib/copy
load lib/load
load lib/ecs

setup_file() {
    ! grep -q '^probe ' "$ROOT/services" || skip "this checkout has a probe already"
    make_copy "$BATS_FILE_TMPDIR/copy"
    tree_of "$ROOT" >"$BATS_FILE_TMPDIR/before"
    "$ROOT/scripts/new-service" probe >"$BATS_FILE_TMPDIR/said"
    tree_of "$ROOT" >"$BATS_FILE_TMPDIR/after"
    put_tag probe
    start_stack "$BATS_FILE_TMPDIR/r"
}

setup() {
    use_copy "$BATS_FILE_TMPDIR/copy"
}

teardown_file() {
    [[ -d $BATS_FILE_TMPDIR/copy ]] || return 0
    use_copy "$BATS_FILE_TMPDIR/copy"
    STACK_NOISE=$NOISE_OF_KILLED end_stack # one test kills workers
}

# A test may have changed the routes.
teardown() {
    [[ ! -e $BATS_TEST_TMPDIR/green ]] || {
        "$ROOT/scripts/route" probe blue
        "$ROOT/scripts/stop" probe green
    }
}

# put_tag NAME : into app's frame, as new-service says
put_tag() {
    sed -i "s|,\\\\\"rand\\\\\":\";|,\\\\\"$1\\\\\":<!--# include virtual=\\\\\"/$1\\\\\" -->&|" "$ROOT/cgi-app/handler.c"
    grep -q "virtual=.\"/$1" "$ROOT/cgi-app/handler.c"
}

# changed_files : by the new service, but for its own
changed_files() {
    diff "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after" | sed -n 's/^[<>] [0-9a-f]*  //p' | sort | uniq -"$1"
}

start_green() {
    touch "$BATS_TEST_TMPDIR/green"
    "$ROOT/scripts/start" probe green 3>&-
}

# ---- what it makes ----

@test "new-service makes three files and one line, and what generate makes of the line; it says what is next" {
    expect_equal './cgi-probe/handler.c ./cgi-probe/main.c ./tests/probe.bats' "$(changed_files u | paste -sd ' ')"
    run diff <(git -C "$BATS_TEST_DIRNAME/.." show ":services" 2>/dev/null || cat "$BATS_TEST_DIRNAME/../services") "$ROOT/services"
    expect_equal '> probe' "$(grep '^[<>]' <<<"$output" | cut -c1-7)"
    run "$ROOT/scripts/generate" --check
    expect_status 0
    expect_equal "$(grep -rlE 'generated.*(scripts/generate|services)' "$ROOT" --include='*.yml' | sort)" \
        "$(changed_files d | grep '\.yml$' | sed "s|^\.|$ROOT|" | sort)" "files that are generated, and those that changed"
    expect_match 'virtual=\\"/probe\\"' "$(<"$BATS_FILE_TMPDIR/said")"
}

@test "a name that is bad or taken, and a broken generate, leave all as it was" {
    local before name
    before=$(tree_of "$ROOT")
    for name in probe app nginx common Probe pro-be a1 '' "$(printf 'a%.0s' {1..21})"; do
        run "$ROOT/scripts/new-service" "$name"
        expect_status 2
        expect_equal 1 "${#lines[@]}" "lines for \"$name\": $output"
    done
    run "$ROOT/scripts/new-service" run # there is a tests/run.bats
    expect_status 1
    printf '#!/bin/sh\necho "generate: it fails" >&2; exit 1\n' >"$ROOT/scripts/generate.new"
    mv "$ROOT/scripts/generate" "$ROOT/scripts/generate.kept"
    mv "$ROOT/scripts/generate.new" "$ROOT/scripts/generate"
    chmod +x "$ROOT/scripts/generate"
    run "$ROOT/scripts/new-service" other
    mv "$ROOT/scripts/generate.kept" "$ROOT/scripts/generate"
    expect_status 1
    expect_match 'nothing has changed' "$output"
    expect_equal "$before" "$(tree_of "$ROOT")" "files"
}

@test "its own test passes" {
    run env -u BATS_RUN_TMPDIR BUILD_DIR="$BUILD_DIR" bats "$ROOT/tests/probe.bats" 3>&-
    expect_status 0
    expect_equal '1..3' "${lines[0]}"
}

# ---- what it is asked ----

@test "the answer is composed of all three, and each has its part in status, health and metrics" {
    post '{"message": "añ"}'
    expect_reply 200
    expect_equal 'message probe rand añ' "$(jq -r '(keys_unsorted | join(" ")) + " " + .probe' <<<"$body")"
    run "$ROOT/scripts/status"
    expect_status 0
    expect_match 'probe-blue-2 +serving' "$output"
    request GET /_health
    expect_reply 200 '^\{"status":"pass","version":"[0-9.]+"\}$'
    request_metrics GET /_metrics
    expect_reply 200 'cgi_upstream_requests_total\{service="probe",server="probe-blue-1",status="200"\}'
    request POST /probe --data-binary '{"message": "a"}'
    expect_reply 404
}

@test "a second set of it starts, is asked by its header, gets requests by route, and replaces the first by upgrade" {
    start_green
    post '{"message": "a"}' -H 'X-Probe-Colour: green' -H 'X-Request-ID: pinned'
    expect_reply 200 '"probe":"a"'
    wait_until 10 is_in_log '"request_id":"pinned".*probe-green' access.log
    "$ROOT/scripts/route" probe green
    "$ROOT/scripts/stop" probe blue
    run "$ROOT/scripts/route" show
    expect_match 'probe-green +2 instances +100 of 100' "$output"
    run "$ROOT/scripts/upgrade" --step 1 probe 3>&-
    expect_status 0
    expect_match 'probe-blue +2 instances +100 of 100' "$output"
    rm "$BATS_TEST_TMPDIR/green" # upgrade has ended it
}

@test "its workers killed with -9 under load: no request fails" {
    local i
    cat >"$ROOT/tests/lib/probe.lua" <<'LUA'
wrk.method = "POST"
wrk.body = '{"message": "hello, my friends"}'
function response(status, headers, body)
    if status == 200 and not body:find('"probe":"hello, my friends"', 1, true) then print("wrong answer: " .. body) end
end
LUA
    begin_load probe
    for i in 1 2 1 2 1 2; do
        wait_until 10 both_serve # a call that meets dead workers four times in its life is lost
        signal_workers KILL "probe-blue-$i"
    done
    end_load
}

both_serve() {
    "$ROOT/scripts/ask-health" "$RUN_DIR/probe-blue-1.sock" && "$ROOT/scripts/ask-health" "$RUN_DIR/probe-blue-2.sock"
}

@test "without it the system is not healthy, and what needs it is a 502" {
    start_stack "$BATS_TEST_TMPDIR/r"
    end_instance probe-blue-1 probe-blue-2
    request GET /_health
    expect_problem 503
    post '{"message": "a"}'
    expect_problem 502
    STACK_NOISE="$NOISE_OF_KILLED|auth request unexpected status: 502" end_stack
}

@test "where the system runs already: it is started, routed to and put into the answer, and nothing fails meanwhile" {
    local copy=$BATS_TEST_TMPDIR/copy
    cp -a "$ROOT" "$copy"
    use_copy "$copy"
    start_stack "$BATS_TEST_TMPDIR/r"
    "$ROOT/scripts/new-service" late >/dev/null
    "$ROOT/scripts/route" app blue # nobody has started it yet
    is_healthy
    "$ROOT/scripts/start" late blue 3>&-
    "$ROOT/scripts/route" late blue
    put_tag late
    "$ROOT/scripts/upgrade" --step 0 app 3>&-
    post '{"message": "x"}'
    expect_reply 200 '"late":"x"'
    is_healthy
    run "$ROOT/scripts/route" show
    expect_match 'late-blue +2 instances +100 of 100' "$output"
    end_stack
}

# ---- where it is installed, and what other tools read ----

@test "make install puts its program, its units and its part of nginx where those of the others are" {
    local here=$BATS_TEST_TMPDIR/here
    make -s -C "$ROOT" BUILD="$BUILD_DIR" install DESTDIR="$here" PREFIX=/usr UNITDIR=/lib/systemd/system 3>&-
    diff <(cd "$here" && find . -name '*transform*' | sed 's/transform/probe/g' | sort) \
        <(cd "$here" && find . -name '*probe*' | sort) >&2
    grep -q 'cgi-probe@1.service' "$here/lib/systemd/system/cgi-message.target"
    grep -q 'probe' "$here/usr/share/cgi-message/services"
}

@test "the Debian package has it" {
    [[ -z ${SANITIZE:-} ]] || skip "what is installed is the usual build"
    run "$ROOT/scripts/deb" "$BATS_TEST_TMPDIR/deb" 3>&-
    expect_status 0
    run dpkg-deb --contents "${lines[-1]}"
    expect_match '/usr/sbin/cgi-probe' "$output"
    expect_match '/lib/systemd/system/cgi-probe@\.service' "$output"
}

@test "docker-compose, ecs-cli's rules, Kubernetes' and CloudFormation's checkers take the files with it" {
    need_aws
    # The copy's own tests of these files.
    run env -u BATS_RUN_TMPDIR BUILD_DIR="$BUILD_DIR" bats "$ROOT/tests/ecs/files.bats" 3>&-
    expect_status 0
    run env -u BATS_RUN_TMPDIR BUILD_DIR="$BUILD_DIR" bats "$ROOT/tests/generate.bats" 3>&-
    expect_status 0
}

# ---- many ----

@test "eight services: they run, are asked for their health, get routes and upgrades; the sums hold" {
    local copy=$BATS_TEST_TMPDIR/copy name
    cp -a "$ROOT" "$copy"
    use_copy "$copy"
    for name in a bb ccc green abcdefghijklmnopqrst; do
        "$ROOT/scripts/new-service" "$name"
        put_tag "$name"
    done
    sed -i 's|^bb .*nginx .*|bb 9004 2 128 128 clients /bb|' "$ROOT/services"
    "$ROOT/scripts/generate"
    start_stack "$BATS_TEST_TMPDIR/r"
    post '{"message": "x"}'
    expect_reply 200
    expect_equal '["x","x","x","x","x","x"]' "$(jq -c '[.probe, .a, .bb, .ccc, .green, .abcdefghijklmnopqrst]' <<<"$body")"
    request POST /bb --data-binary '{"message": "x"}' # which services says is for clients
    expect_reply 200 '^"x"$'
    request POST /ccc --data-binary '{"message": "x"}'
    expect_problem 404
    expect_equal 16 "$("$ROOT/scripts/status" --json | jq '[.[] | select(.colour == "blue" and .state == "serving")] | length')"
    "$ROOT/scripts/start" abcdefghijklmnopqrst green 3>&-
    "$ROOT/scripts/route" abcdefghijklmnopqrst blue=50 green=50
    "$ROOT/scripts/route" abcdefghijklmnopqrst blue
    "$ROOT/scripts/stop" abcdefghijklmnopqrst green
    run "$ROOT/scripts/upgrade" --step 0 green ccc 3>&-
    expect_status 0
    # What each worker of nginx may open holds what the settings let in, and what is kept to each of the eight.
    # shellcheck source=/dev/null
    (source "$RUN_DIR/settings" && ((WORKER_CONNECTIONS <= DESCRIPTORS && 8 * KEPT_CONNECTIONS <= DESCRIPTORS / 8)))
    end_instance green-green-1 green-green-2
    request GET /_health
    expect_problem 503
    STACK_NOISE="$NOISE_OF_KILLED|auth request unexpected" end_stack
}

@test "no script names transform, which any service may replace; the assembly does, and words for people" {
    run git -C "$BATS_TEST_DIRNAME/.." grep -nw transform -- scripts host nginx Makefile ':!*.8'
    expect_equal '' "$(grep -Ev '^[^:]+:[0-9]+:\s*(#|//|/?\*)|^nginx/assembly.conf:' <<<"$output")"
}
