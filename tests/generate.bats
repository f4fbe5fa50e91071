#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# scripts/generate: what `services` and settings.tsv say, in the files that other tools read whole. Each test has a copy of what
# it reads and writes.
# needs: ecs-test containers
# sanitizers: none

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/ecs

setup() {
    copy=$BATS_TEST_TMPDIR/copy
    mkdir -p "$copy/tests/lib"
    cp -r "$ROOT"/{services,sample,scripts,host,nginx,kubernetes,cgi-common,docs,Dockerfile,*.yml} "$copy"
    cp -r "$ROOT/tests/ecs" "$copy/tests"
    cp "$ROOT/tests/lib/pod.py" "$copy/tests/lib"
}

generate() {
    "$copy/scripts/generate" "$@"
}

# hashes : of all files of the copy
hashes() {
    (cd "$copy" && find . -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
}

# expect_refusal WORDS : the last `run` failed with this one line
expect_refusal() {
    expect_status 1 && expect_equal "generate: $1" "$output"
}

# small_services : the copy has two
small_services() {
    printf '%s\n' 'app 9000 2 128 128 clients /' 'other 9001 2 128 128 nginx /other' >"$copy/services"
}

# add_services NAME... : to the copy
add_services() {
    local name port=9100
    for name; do
        echo "$name $port 2 128 128 nginx /$name" >>"$copy/services"
        port=$((port + 1))
    done
}

# ---- what is stale ----

@test "nothing in this checkout is stale, and to generate it changes no byte" {
    local before option
    before=$(hashes)
    for option in '' --check; do
        # shellcheck disable=SC2086 # none, or one
        run generate $option
        expect_status 0
        expect_equal '' "$output"
    done
    expect_equal "$before" "$(hashes)"
}

@test "a file that lost a line of each of its blocks is stale: --check names it and writes nothing, generate restores it" {
    local file good=$BATS_TEST_TMPDIR/good bad=$BATS_TEST_TMPDIR/bad count=0
    while read -r file; do
        cp "$copy/$file" "$good"
        awk '{ if (!dropped || /end of generated/) print; dropped = / generated: / }' "$good" >"$bad"
        run ! cmp -s "$good" "$bad"
        cp "$bad" "$copy/$file"
        run generate --check
        expect_refusal "stale: $file; ./scripts/generate writes them"
        cmp "$copy/$file" "$bad"
        expect_equal "wrote $file" "$(generate)"
        cmp "$copy/$file" "$good"
        count=$((count + 1))
    done < <(cd "$copy" && grep -rl --include='*.yml' --include=operations.md --include=settings ' generated: ' . | sed 's|^\./||')
    expect_equal 11 "$count"
}

@test "a change of services, or of settings.tsv, is stale in each file that tells of it" {
    sed -i '/^app /s/128  128/256  192/' "$copy/services"
    run generate --check
    expect_refusal 'stale: docker-compose.yml, docker-compose.override.yml, docker-compose.ecs.yml, docker-compose.fargate.yml, ecs-params.yml, ecs-params.fargate.yml, kubernetes/base/cgi.yml and cloudformation.yml; ./scripts/generate writes them'
    cp "$ROOT/services" "$copy"
    sed -i '/^UPSTREAM_TIMEOUT/s/\t5\t/\t7\t/' "$copy/scripts/lib/settings.tsv"
    run generate --check
    expect_equal 'generate: stale: docker-compose.yml, docker-compose.ecs.yml, docker-compose.fargate.yml, docs/operations.md and host/settings; ./scripts/generate writes them' "${lines[0]}"
    expect_equal 'generate: cloudformation.yml: UpstreamTimeout has no "Default: 7"; scripts/lib/settings.tsv says otherwise' "${lines[1]}"
    expect_equal 2 "${#lines[@]}"
}

# ---- what stops it ----

# A line a case: a file, sed's script that breaks its markers, and what is said.
@test "a marker that is missing, doubled or unknown is one line that names it, and nothing is written" {
    local file change expected before
    sed -i '/^app /s/128  128/256  192/' "$copy/services"
    while IFS='|' read -r file change expected; do
        sed -i "$change" "$copy/$file"
        before=$(hashes)
        run generate
        expect_refusal "$expected"
        expect_equal "$before" "$(hashes)" "$change"
        cp "$ROOT/$file" "$copy/$file"
    done <<'CASES'
ecs-params.yml|/generated: ecs-order/d|ecs-params.yml: an "end of generated" has no "generated: NAME" before it
ecs-params.yml|/generated: ecs-order/,/end of/d|ecs-params.yml has no line "generated: ecs-order"; git diff ecs-params.yml says where it was
ecs-params.yml|0,/end of generated/{/end of generated/d}|ecs-params.yml: "generated: ecs-order" has no "end of generated" before the next block
ecs-params.yml|$!N;/end of generated\nrun/{s/.*\n//};P;D|ecs-params.yml: "generated: ecs-services" has no "end of generated" after it
kubernetes/base/cgi.yml|/end of generated/a\            # generated: pod-addresses (x)\n            # end of generated|kubernetes/base/cgi.yml has two lines "generated: pod-addresses"; one block of them is to go
kubernetes/base/cgi.yml|s/generated: pod-services/generated: pod-servises/|kubernetes/base/cgi.yml has no line "generated: pod-services"; git diff kubernetes/base/cgi.yml says where it was
docs/operations.md|/end of generated/a<!-- generated: more (x) -->\n<!-- end of generated -->|docs/operations.md has a line "generated: more", and no such block; it has settings-table
CASES
    rm "$copy/host/settings"
    run generate
    expect_refusal 'there is no host/settings, which has blocks of scripts/generate'
}

@test "when the disk is full after some of the files, none has changed, and no draft is left" {
    local before
    sed -i '/^app /s/128  128/256  192/' "$copy/services"
    before=$(hashes)
    run bash -c 'ulimit -c 0; ulimit -f 16; exec "$1"' x "$copy/scripts/generate" # 16 KiB: cloudformation.yml has more, and comes last
    expect_refusal 'cloudformation.yml.new cannot be written; nothing has changed'
    expect_equal "$before" "$(hashes)"
}

# A line a case: what the file `services` has as its last line, and what is said of it.
@test "a bad line of services is refused by one line that names it, and nothing is written" {
    local line expected before
    while IFS='|' read -r line expected; do
        grep -E '^(app|transform) ' "$ROOT/services" >"$copy/services" # the sums in what it says are of these
        printf '%s' "$line" >>"$copy/services" # and no newline
        before=$(hashes)
        run generate
        expect_refusal "services: $expected"
        expect_equal "$before" "$(hashes)" "$line"
    done <<'CASES'
Newcomer 9100 2 128 128 nginx /newcomer|"Newcomer" is no name of a service; one has 1 to 20 small letters
newcomer2 9100 2 128 128 nginx /newcomer|"newcomer2" is no name of a service; one has 1 to 20 small letters
abcdefghijklmnopqrstu 9100 2 128 128 nginx /newcomer|"abcdefghijklmnopqrstu" is no name of a service; one has 1 to 20 small letters
nginx 9100 2 128 128 nginx /newcomer|"nginx" has a meaning of its own here, or in YAML; choose another name
task 9100 2 128 128 nginx /newcomer|"task" has a meaning of its own here, or in YAML; choose another name
on 9100 2 128 128 nginx /newcomer|"on" has a meaning of its own here, or in YAML; choose another name
app 9100 2 128 128 nginx /newcomer|app is there twice
newcomer 9100 2 128 128 nginx|newcomer wants seven words: name, port, instances, CPU, memory, callers, path
newcomer 9100 2 128 128 nginx /newcomer more|newcomer wants seven words: name, port, instances, CPU, memory, callers, path
newcomer 09000 2 128 128 nginx /newcomer|the port of newcomer is "09000"; set it to one from 1024 to 65535
newcomer 80 2 128 128 nginx /newcomer|the port of newcomer is "80"; set it to one from 1024 to 65535
newcomer many 2 128 128 nginx /newcomer|the port of newcomer is "many"; set it to one from 1024 to 65535
newcomer 9000 2 128 128 nginx /newcomer|the port of newcomer is 9000, which another has; set it to a free one
newcomer 9113 2 128 128 nginx /newcomer|the port of newcomer is 9113, which another has; set it to a free one
newcomer 9100 0 128 128 nginx /newcomer|the instances of newcomer are "0"; set them to 1 to 64
newcomer 9100 2 0.5 128 nginx /newcomer|the CPU units of newcomer are "0.5"; set them to 1 to 16384
newcomer 9100 2 128 128m nginx /newcomer|the memory of newcomer is "128m"; set it to 32 to 65536 MiB
newcomer 9100 2 128 128 everybody /newcomer|the callers of newcomer are "everybody"; clients and nginx can be
newcomer 9100 2 128 128 nginx newcomer|the path of newcomer is "newcomer"; it begins with / and has letters, digits and /._~-
newcomer 9100 2 128 128 nginx /_health|the path of newcomer is /_health; /api, /form and what begins with /_ are of nginx/ itself
newcomer 9100 2 128 128 clients /|the path of newcomer is /, which another has
newcomer 9100 2 16000 128 nginx /newcomer|with nginx they want 16512 CPU units and 896 MiB, and Fargate has no such task; lower some of them
CASES
    echo '# nothing' >"$copy/services"
    run generate
    expect_refusal 'services: no service is in it'
}

@test "a word that is wrong, empty, repeated or too many is refused by one line, with 2, by each script that is for containers" {
    local script words expected arguments choice="${SERVICES[*]}"
    choice="${choice// /, } and nginx are"
    while IFS='|' read -r script words expected; do
        eval "arguments=($words)"
        run "$ROOT/scripts/$script" "${arguments[@]}"
        expect_status 2
        expect_equal "$script: $expected" "$output" "$script $words"
    done <<CASES
generate|--chek|"--chek" is no option; --check is
generate|''|"" is no option; --check is
generate|--check --check|"--check" is one word too many; --help says what is taken
images||build, push or list is missing; --help says what is taken
images|''|"" is no command; build, push and list are
images|pull|"pull" is no command; build, push and list are
images|build nothing|"nothing" is no image; $choice
images|push ''|"" is no image; $choice
images|list app app|"app" is there twice; once is enough
rollout||a service is missing; --help says what is taken
rollout|''|"" is no service; ${choice/, ${SERVICES[-1]} and nginx/ and ${SERVICES[-1]}}
rollout|nginx|"nginx" is no service; ${choice/, ${SERVICES[-1]} and nginx/ and ${SERVICES[-1]}}
rollout|app app|"app" is one word too many; --help says what is taken
CASES
}

# ---- what is written by hand, and has to agree ----

# A line a case: a file, sed's script, and what is said of it.
@test "the man page of the services and the stack's parameters agree with settings.tsv, or --check says where not" {
    local file change expected
    while IFS='|' read -r file change expected; do
        sed -i "$change" "$copy/$file"
        run generate --check
        expect_refusal "$file: $expected; scripts/lib/settings.tsv says otherwise"
        cp "$ROOT/$file" "$copy/$file"
    done <<'CASES'
host/service.8|/^.It Ev THREADS/d|ENVIRONMENT has no THREADS
host/service.8|s/1048576/104857/|the default of MAX_BODY_BYTES is not 1048576
host/service.8|/^.It Ev SANDBOX/,/^.It Ev STATUS/s/^.Cm on$/.Cm off/|the default of SANDBOX is not on
cloudformation.yml|s/^  Threads:/  Thread:/|there is no parameter Threads
cloudformation.yml|/^  LogLevel:/,/Default/s/info/debug/|LogLevel has no "Default: info"
cloudformation.yml|/^  MaxBodyBytes:/,/MaxValue/s/MaxValue: .*/MaxValue: 5/|MaxBodyBytes has no "MaxValue: 1073741824"
cloudformation.yml|/^  UpstreamTimeout:/,/MinValue/s/MinValue: .*/MinValue: 0/|UpstreamTimeout has no "MinValue: 1"
CASES
}

@test "the services themselves have the bounds of settings.tsv" {
    local name least most owner value
    while IFS=$'\t' read -r name least most _ owner _; do
        [[ $owner == services || $owner == all ]] && [[ $least != - ]] || continue
        for value in $((least - 1)) $((most + 1)); do
            run env "$name=$value" "$BUILD_DIR/cgi-app" -t
            expect_equal "cgi-app: $name is \"$value\"; set it to a whole number from $least to $most" "$output"
        done
        env "$name=$most" "$BUILD_DIR/cgi-app" -t
    done < <(grep -v '^#' "$ROOT/scripts/lib/settings.tsv")
}

# A line a case: a file, sed's script, and what is said of it.
@test "what takes time to end agrees with times.sh, or --check says where not" {
    local file change expected
    while IFS='|' read -r file change expected; do
        sed -i "$change" "$copy/$file"
        run generate --check
        expect_refusal "$expected"
        cp "$ROOT/$file" "$copy/$file"
    done <<'CASES'
cgi-common/responder/dispatcher.c|s/DRAIN_MS = 20/DRAIN_MS = 30/|cgi-common/responder/dispatcher.c has no "DISPATCHER_DRAIN_MS = 20 * 1000,"; scripts/lib/times.sh says otherwise
host/service.unit|s/^TimeoutStopSec=25/TimeoutStopSec=20/|host/service.unit has no "TimeoutStopSec=25"; scripts/lib/times.sh says otherwise
docs/host.md|s/worker_shutdown_timeout 20s/worker_shutdown_timeout 10s/|docs/host.md has no "worker_shutdown_timeout 20s;"; scripts/lib/times.sh says otherwise
docker-compose.yml|s/stop_grace_period: 25s/stop_grace_period: 10s/|stale: docker-compose.yml; ./scripts/generate writes them
kubernetes/base/cgi.yml|s/PeriodSeconds: 55/PeriodSeconds: 40/|stale: kubernetes/base/cgi.yml; ./scripts/generate writes them
cloudformation.yml|/^  StopTimeout:/,/Default/s/25/20/|stale: cloudformation.yml; ./scripts/generate writes them
CASES
}

@test "another drain of nginx, or of the services, is in all that waits for it" {
    need_aws
    sed -i 's/^NGINX_DRAIN_SECONDS=20 /NGINX_DRAIN_SECONDS=40 /' "$copy/scripts/lib/times.sh"
    generate >/dev/null
    expect_equal "45s 45s 45s" "$(sed -n 's/.*stop_grace_period: //p' "$copy/docker-compose.yml" | head -n 3 | paste -sd ' ')"
    expect_equal 75 "$(sed -n 's/.*terminationGracePeriodSeconds: //p' "$copy/kubernetes/base/cgi.yml" | head -n 1)"
    expect_equal '' "$(python "$copy/tests/lib/pod.py" "$copy"/{kubernetes,docker-compose,docker-compose.override}.yml 2>&1)" pod.py
}

# ---- other services ----

# compose_config FILE... : of the copy, as docker-compose takes it
compose_config() {
    (cd "$copy" && AWS_REGION=eu-west-1 COMPOSE_FILE=$(IFS=:; echo "$*") docker-compose config)
}

# python WORDS... : with what tests/ecs/requirements.txt names
python() {
    "$BUILD_DIR/aws/bin/python" "$@"
}

# expect_valid : the files of the copy are taken by each of the checkers that are here
expect_valid() {
    local kind file
    if command -v docker-compose >/dev/null; then
        compose_config docker-compose.yml docker-compose.override.yml >/dev/null
        for file in ecs fargate; do compose_config "docker-compose.$file.yml" >/dev/null; done
    fi
    for kind in ec2 fargate; do expect_equal '' "$(python "$copy/tests/ecs/files.py" check "$kind" "$copy" 2>&1)" "$kind"; done
    expect_equal '' "$(python "$copy/tests/lib/pod.py" "$copy"/{kubernetes,docker-compose,docker-compose.override}.yml 2>&1)" pod.py
    expect_equal '' "$("$BUILD_DIR/aws/bin/cfn-lint" "$copy/cloudformation.yml" 2>&1)" cfn-lint
}

# task FILTER : what jq gives of the task definition of the copy's stack
task() {
    python "$copy/tests/ecs/template.py" resources | jq -c ".TaskDefinition.Properties | $1"
}

@test "a third service: docker-compose, ECS's rules, Kubernetes and CloudFormation take what is written" {
    need_aws
    add_services newcomer
    expect_match '^wrote docker-compose.yml, .* and host/settings$' "$(generate)"
    generate --check
    expect_valid
    expect_equal '["newcomer",128,128,["CMD","ask-health","9100"]]' \
        "$(task '.ContainerDefinitions[-1] | [.Name, .Cpu, .Memory, .HealthCheck.Command]')"
    expect_equal '{"Name":"NEWCOMER_ADDR","Value":"127.0.0.1:9100"}' \
        "$(task '.ContainerDefinitions[0].Environment[] | select(.Name == "NEWCOMER_ADDR")')"
    expect_equal "${SERVICES[*]} newcomer" "$(task '.ContainerDefinitions[0].DependsOn[].ContainerName' | tr -d '"' | paste -sd ' ')"
    # what all services have, this one has, too
    expect_equal true "$(task '.ContainerDefinitions | map([.Environment, .LogConfiguration, .User]) | .[1] == .[-1]')"
    grep -qx '#NEWCOMER_INSTANCES=2' "$copy/host/settings"
    grep -q '^| .NEWCOMER_INSTANCES. ' "$copy/docs/operations.md"
    # and without it, all is as it was
    cp "$ROOT/services" "$copy"
    generate >/dev/null
    diff -r -x __pycache__ "$ROOT/host" "$copy/host"
    cmp "$ROOT/cloudformation.yml" "$copy/cloudformation.yml"
}

# expect_room ROOT LIMIT CALLS : what a worker of nginx may want with so many descriptors, and so many calls at once, it may have
expect_room() {
    local wanted connections
    # shellcheck disable=SC2016 # for the other shell
    read -r wanted connections < <(bash -c 'set -euo pipefail; ulimit -n "$2"; source "$1/scripts/lib/words.sh"
        source "$1/scripts/lib/services.sh"; source "$1/scripts/lib/settings.sh"; RUN_DIR=/tmp/r MAX_CALLS=$3; settings_load
        services=${#SERVICES[@]} part=$((NGINX_WORKERS > 1 ? MAX_CLIENTS * 6 / 5 / NGINX_WORKERS : MAX_CLIENTS))
        calls=$((part < MAX_CALLS ? part : MAX_CALLS))
        echo $((part + services * calls + services * KEPT_CONNECTIONS)) "$WORKER_CONNECTIONS"' x "$@")
    ((wanted <= connections && connections + 64 <= $2)) || expect_equal "$connections" "$wanted" "wanted, with ${*:2}"
}

@test "a worker of nginx has connections for its part of MAX_CLIENTS, for MAX_CALLS of them to each service, and those kept" {
    local limit calls
    for limit in 256 1024 4096; do
        for calls in 1 64 1000 16000; do expect_room "$ROOT" "$limit" "$calls"; done
    done
}

# connections WORKERS : of each, with 65536 descriptors on a machine of so many processors
connections() {
    # shellcheck disable=SC2016 # for the other shell
    bash -c 'set -euo pipefail; source "$1/scripts/lib/words.sh"; source "$1/scripts/lib/services.sh"
        source "$1/scripts/lib/settings.sh"; DESCRIPTORS=65536; worker_connections "$2"; echo "$WORKER_CONNECTIONS"' x "$ROOT" "$1"
}

@test "the connections of all nginx workers, which nginx allocates at its start, fit into 64 MiB whatever the machine" {
    local workers each
    for workers in 1 2 3 8 64 256; do
        each=$(connections "$workers")
        ((each >= 600 && each <= 65536 - 64 && each * workers * 432 <= 64 << 20)) || expect_equal 'a fit' "$each of each of $workers"
    done
}

@test "eight services: all files are valid, and the sums hold: Fargate's size, nginx's descriptors" {
    need_aws
    small_services
    add_services one two three four five six
    generate >/dev/null
    expect_valid
    expect_equal '[2048,4096,9]' "$(task '[.Cpu, .Memory, (.ContainerDefinitions | length)]')"
    local limit
    for limit in 1024 4096; do expect_room "$copy" "$limit" 64; done
}

# A line a case: CPU and memory of a third service, and the smallest of Fargate's tasks that holds it, nginx and the two.
@test "the size of a task is the smallest that Fargate has for what is in it" {
    local cpu memory expected
    while read -r cpu memory expected; do
        small_services
        echo "newcomer 9100 2 $cpu $memory nginx /newcomer" >>"$copy/services"
        generate >/dev/null
        expect_equal "$expected" "$(sed -nE 's/^ +(cpu|mem)_limit: "([0-9]+)"$/\2/p' "$copy/ecs-params.fargate.yml" | paste -sd ' ')" \
            "$cpu CPU, $memory MiB"
        expect_equal "$expected" "$(sed -nE '/^  Task(Cpu|Memory):/,/Default/s/.*Default: //p' "$copy/cloudformation.yml" | paste -sd ' ')"
    done <<'CASES'
1 128 1024 2048
512 128 1024 2048
513 128 2048 4096
128 1280 1024 2048
128 1281 1024 3072
128 7424 1024 8192
128 7425 2048 9216
5000 128 8192 16384
5000 17000 8192 20480
15872 65536 16384 73728
CASES
}
