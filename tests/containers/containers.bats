#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# The images, and docker-compose.yml with a real engine: built, up, scaled, killed, stopped. wrk counts what is lost.
# needs: containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/hardening

setup_file() {
    ! why_no_containers >/dev/null || return 0
    export IMAGE_TAG=test-$$ REGISTRY=local
    make_base
    "$ROOT/scripts/images" build
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR start_project "tests$$"
}

teardown_file() {
    ! why_no_containers >/dev/null || return 0
    end_project
    remove_images "$IMAGE_TAG"
}

setup() {
    need_containers
}

# What a test has started beside the project bears the test's process in its name.
teardown() {
    docker ps -aq --filter "name=-$$\$" | xargs -r docker rm -fv >/dev/null
    docker network ls -q --filter "name=-$$\$" | xargs -r docker network rm >/dev/null
}

@test "up -d: a call is answered, all become healthy, and none runs as root" {
    answers
    local service
    for service in "${IMAGES[@]}"; do
        wait_until 40 is_healthy "$(container "$service")"
        expect_equal 10001 "$(docker exec "$(container "$service")" id -u)"
    done
}

@test "the programs and modules in the images are built as hard as make's" {
    local service
    for service in "${SERVICES[@]}"; do
        docker cp "$(container "$service")":"/usr/local/bin/cgi-$service" "$BATS_TEST_TMPDIR"
    done
    docker cp "$(container nginx)":/usr/lib/nginx/modules/. "$BATS_TEST_TMPDIR"
    expect_hard "${SERVICES[@]/#/$BATS_TEST_TMPDIR/cgi-}" "$BATS_TEST_TMPDIR"/ngx_http_{compose,drain,logpipe,metrics}_module.so
}

@test "the services are less than 25 MiB above the image that they are built on" {
    local service base
    base=$(docker image inspect -f '{{.Size}}' "$CONTAINER_BASE")
    for service in "${SERVICES[@]}"; do
        (($(docker image inspect -f '{{.Size}}' "local/cgi-$service:$IMAGE_TAG") - base < 25 * 1024 * 1024))
    done
    expect_match "cgi-nginx:$IMAGE_TAG  [0-9.]+MB" "$("$ROOT/scripts/images" list)"
}

@test "the root is read-only, no program gains privileges, and no image holds a compiler" {
    local service
    for service in "${IMAGES[@]}"; do
        docker exec "$(container "$service")" grep -q $'^NoNewPrivs:\t1$' /proc/1/status
        run docker exec "$(container "$service")" touch /usr/new
        expect_match 'Read-only file system' "$output"
        run ! docker exec "$(container "$service")" sh -c 'command -v cc || command -v gcc || command -v make'
    done
}

# filters SERVICE : for system calls, that its process 1 has
filters() {
    docker exec "$(container "$1")" sed -n 's/^Seccomp_filters:\t//p' /proc/1/status
}

@test "each service has a filter for system calls of its own, beside the engine's" {
    local service
    for service in "${SERVICES[@]}"; do
        expect_equal $(($(filters nginx) + 1)) "$(filters "$service")" "$service"
        expect_no_match 'without seccomp' "$(docker logs "$(container "$service")" 2>&1)"
    done
}

# address_of CONTAINER FIELD : of its one network
address_of() {
    docker inspect -f "{{range .NetworkSettings.Networks}}{{.$2}}{{end}}" "$1"
}

# in_use [CONTAINER] : what its nginx calls
in_use() {
    docker exec "$1" cat /run/app/in-use 2>/dev/null
}

@test "the services listen on Unix sockets alone, where nginx calls them, and asks how they fare beside" {
    local service name port
    for service in "${SERVICES[@]}"; do
        name=/run/cgi/$service-$(address_of "$(container "$service")" IPAddress)
        expect_match "$service: unix:$name\.sock(, |$)" "$(in_use "$(container nginx)")"
        expect_match "server unix:$name\.status " \
            "$(docker exec "$(container nginx)" cat "/run/app/nginx/each/$service/upstreams.conf")"
        printf -v port %04X "$(awk -v name="$service" '$1 == name { print $2 }' "$ROOT/services")"
        ((16#$port > 0))
        expect_no_match ":$port 0" "$(docker exec "$(container "$service")" cat /proc/net/tcp /proc/net/tcp6)"
    done
}

@test "a service whose socket cannot be ends at once, with one line that says why" {
    run docker run --rm "local/cgi-app:$IMAGE_TAG" /run/nothing/
    expect_status 1
    expect_equal 'app: user 10001 cannot write to /run/nothing, where its socket is to be; mount a volume that it owns' "$output"
    run docker run --rm --network none "local/cgi-app:$IMAGE_TAG" /run/cgi/
    expect_status 1
    expect_equal 'app: this container has no address, for which its socket in /run/cgi/ would be named; give it a network' "$output"
}

# is_logged ID : by nginx, as a request that was answered with 200
is_logged() {
    docker logs "$(container nginx)" 2>/dev/null | grep -q "\"request_id\":\"$1\".*\"status\":200"
}

@test "the logs are JSON lines, with the request's id" {
    answers -H 'X-Request-ID: seen-42'
    wait_until 5 is_logged seen-42
    docker logs "$(container app)" 2>&1 | python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]'
}

# Its master has opened them for all workers, to append: 02000, and 04000 is O_NONBLOCK.
@test "nginx waits for none of the pipes that are its logs" {
    run docker exec "$(container nginx)" sh -c 'cd "/proc/$(cat /run/app/nginx.pid)" && for fd in fd/*; do
        case $(readlink "$fd") in pipe:*) sed -n "s/^flags:.*\(....\)$/\1/p" "fdinfo/${fd#fd/}" ;; esac; done'
    expect_equal '6001 6001' "$(grep -v '^0' <<<"$output" | tail -n 2 | xargs)"
    expect_no_match '2001' "$output"
}

@test "each container's memory is limited, and 64 clients with large messages stay below that" {
    local service limit
    wrk -t 2 -c 64 -d 4s --timeout 60s -s "$ROOT/tests/lib/post-large.lua" "$URL/api" >"$BATS_TEST_TMPDIR/wrk" 3>&-
    expect_no_failure
    while read -r service limit; do
        expect_equal "$((limit * 1024 * 1024))" \
            "$(docker inspect -f '{{.HostConfig.Memory}}' "$(container "$service")")" "limit of $service"
        expect_equal 0 "$(docker inspect -f '{{.RestartCount}}' "$(container "$service")")" "restarts of $service"
    done < <(echo nginx 512 && awk '/^[a-z]/ { print $1, $5 }' "$ROOT/services")
}

# scale COUNT : of each service; until nginx calls so many, and each answers
scale() {
    local service name options=()
    for service in "${SERVICES[@]}"; do options+=(--scale "$service=$1"); done
    compose up -d "${options[@]}"
    for service in "${SERVICES[@]}"; do
        wait_until 10 uses "$service" "$1"
        for name in $(compose_ids "$service"); do wait_until 10 answers_health "$name"; done
    done
}

@test "each service from one to three to one under load: all are used within 10 s, no request fails" {
    load_for 14 &
    scale 3
    scale 1
    wait
    expect_no_failure
}

# answers_health CONTAINER : of a service, as docker-compose.override.yml has its health check
answers_health() {
    docker exec "$1" is-healthy /run/cgi/ 2>/dev/null
}

# has_restarted CONTAINER
has_restarted() {
    (($(docker inspect -f '{{.RestartCount}}' "$1") > 0)) && [[ $(state "$1" Running) == true ]]
}

@test "one of two replicas of two services killed under load: no request fails, and it comes back" {
    scale 2
    load_for 8 &
    local name
    for name in "$(container "$CALLED" 1)" "$(container app 2)"; do
        crash "$name"
        wait_until 10 has_restarted "$name"
    done
    wait
    expect_no_failure
    scale 1
}

@test "a container that hangs: with two replicas the other answers, alone it is a 504" {
    scale 2
    docker pause "$(container "$CALLED" 1)" >/dev/null
    answers
    answers
    docker pause "$(container "$CALLED" 2)" >/dev/null
    expect_equal 504 "$(status_of_sample)"
    docker unpause "$(container "$CALLED" 1)" "$(container "$CALLED" 2)" >/dev/null
    wait_until 10 answers
    scale 1
}

# refuses : nginx in its container has closed its port
refuses() {
    ! docker exec "$(container nginx)" bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080' 2>/dev/null
}

@test "docker stop drains: requests half sent are answered, and each process ends with 0" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/half client stopper service
    python3 "$ROOT/tests/lib/http.py" half "${HTTP_PORT##*:}" 20 "$go" >"$out" 3>&- &
    client=$!
    wait_until 10 grep -q begun "$out"
    docker stop -t 25 "$(container nginx)" >/dev/null 3>&- &
    stopper=$!
    wait_until 10 refuses
    touch "$go"
    wait "$client"
    wait "$stopper"
    expect_equal 20 "$(tail -n 1 "$out")" "answered"
    for service in "${SERVICES[@]}"; do docker stop -t 25 "$(container "$service")" >/dev/null; done
    for service in "${IMAGES[@]}"; do
        expect_equal 0 "$(state "$(container "$service")" ExitCode)" "exit code of $service"
    done
    compose up -d
    wait_until 20 answers
}

is_502() {
    [[ $(status_of_sample) == 502 ]]
}

# page [OPTION...] : what Prometheus would read, by a curl in nginx's image, a container of its own in the project's network
page() {
    docker run --rm --entrypoint curl --network "${COMPOSE_PROJECT_NAME}_default" "local/cgi-nginx:$IMAGE_TAG" -sS --max-time 5 "$@"
}

@test "the page for Prometheus: on no port, unless METRICS_LISTEN is set; then in the network of the containers" {
    expect_match 'Not Found' "$(curl -sS "$URL/_metrics")"
    expect_match '"Not Found"' "$(page http://nginx:8080/_metrics)"
    expect_match cgi_http_requests_total "$(docker exec "$(container nginx)" curl -sS --unix-socket /run/app/metrics.sock http://x/_metrics)"
    METRICS_LISTEN=0.0.0.0:9113 compose up -d
    wait_until 20 answers
    expect_match cgi_http_requests_total "$(page http://nginx:9113/_metrics)"
    expect_match 'Not Found' "$(curl -sS "$URL/_metrics")"
    compose up -d
    wait_until 20 answers
}

@test "nginx, killed: its container starts again, whatever socket it has left" {
    docker exec "$(container nginx)" test -S /run/app/metrics.sock
    crash "$(container nginx)"
    wait_until 20 has_restarted "$(container nginx)"
    wait_until 20 answers
    compose up -d --force-recreate nginx # a count of 0 restarts, for the other tests
    wait_until 20 answers
}

@test "a service that is not there keeps nginx from nothing: 502, and 200 when it comes" {
    docker stop -t 25 "$(container "$CALLED")" >/dev/null
    docker restart -t 25 "$(container nginx)" >/dev/null
    wait_until 10 is_502
    compose up -d
    wait_until 20 answers
}

@test "a bad setting ends a container at once, with one line that names it" {
    run docker run --rm -e THREADS=0 "local/cgi-app:$IMAGE_TAG"
    ((status != 0))
    expect_match 'THREADS' "$output"
    run docker run --rm -e APP_ADDR=app "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_equal 'entrypoint: APP_ADDR is "app"; set it to host:port, or unix:/path' "$output"
    run docker run --rm -e MAX_BODY_BYTES=many "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_match '^entrypoint: MAX_BODY_BYTES is "many"' "$output"
    run docker run --rm --user 10002:10002 "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_equal 'entrypoint: RUN_DIR is "/run/app"; user 10002 cannot write there, so mount a volume that it owns' "$output"
}

# stranger_variables : what 130 Services of Kubernetes give to each container of their namespace, and what the engine's config.json
# can: a line each
stranger_variables() {
    local name
    for name in S{1..126} HTTP HTTPS APP NGINX; do
        printf '%s\n' "${name}_SERVICE_HOST=10.0.0.1" "${name}_SERVICE_PORT=80" "${name}_PORT=tcp://10.0.0.1:80" \
            "${name}_PORT_80_TCP=tcp://10.0.0.1:80" "${name}_PORT_80_TCP_PROTO=tcp" "${name}_PORT_80_TCP_PORT=80" \
            "${name}_PORT_80_TCP_ADDR=10.0.0.1"
    done
    printf '%s\n' SERVICE=other PORT=tcp://10.0.0.1:80 CGI_PORT=tcp://10.0.0.1:80 http_proxy=http://127.0.0.1:9 \
        HTTP_PROXY=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 all_proxy=http://127.0.0.1:9 no_proxy=example.org
}

# passes CONTAINER : its health check, as the image has it
passes() {
    [[ $(state "$1" Health.Status) == healthy ]] && docker exec "$1" is-healthy
}

@test "variables of 130 Services of Kubernetes, some called http and app, and of a proxy: each container starts and is healthy" {
    local service network=strangers-$$
    stranger_variables >"$BATS_TEST_TMPDIR/variables"
    docker network create "$network" >/dev/null
    for service in "${IMAGES[@]}"; do
        docker run -d --name "$service-$network" --network "$network" --network-alias "$service" --health-interval 1s \
            --env-file "$BATS_TEST_TMPDIR/variables" "local/cgi-$service:$IMAGE_TAG" >/dev/null
    done
    for service in "${IMAGES[@]}"; do
        wait_until 20 passes "$service-$network" || docker logs "$service-$network"
        passes "$service-$network"
    done
}

# begins_to_answer CONTAINER
begins_to_answer() {
    wait_until 10 docker exec "$1" curl -sq --noproxy '*' -o /dev/null http://127.0.0.1:8080/ || { docker logs "$1" >&2 && return 1; }
}

@test "each image runs as a user that nobody knows, in group 0, as OpenShift has it" {
    local service name=stranger-$$
    for service in "${SERVICES[@]}"; do
        docker run -d --rm --name "$name" --read-only --user 1234567:0 "local/cgi-$service:$IMAGE_TAG" >/dev/null
        wait_until 10 docker exec "$name" is-healthy || docker logs "$name" >&2
        docker rm -f "$name" >/dev/null
    done
    docker run -d --rm --name "$name" --read-only --user 1234567:0 "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    begins_to_answer "$name" || { docker rm -f "$name" && return 1; }
    expect_equal 1234567:0 "$(docker exec "$name" stat -c %u:%g /run/app/tls/key.pem)"
    docker rm -f "$name" >/dev/null
}

# workers_of_nginx OPTION... : that an nginx has in a container with these options of docker run
workers_of_nginx() {
    local name=workers-$$ count
    docker run -d --rm --name "$name" "$@" "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    begins_to_answer "$name"
    count=$(docker top "$name" -o pid,args | grep -c 'nginx: worker process$')
    docker rm -f "$name" >/dev/null
    echo "$count"
}

@test "nginx has a worker for each processor that its container may use, and no more than fit into its memory" {
    (($(nproc) > 1)) || skip "one processor shows nothing"
    expect_equal 1 "$(workers_of_nginx --cpus 0.5)" "with half a processor"
    expect_equal 1 "$(workers_of_nginx --cpuset-cpus 0)" "with one processor of the machine's"
    expect_equal 1 "$(workers_of_nginx --memory 64m)" "in 64 MiB"
    expect_equal 2 "$(workers_of_nginx --cpus 2 --memory 128m)" "with two processors and 128 MiB"
}

is_in_use() {
    [[ $(in_use "$1") == "$2" ]]
}

# is_in_use_with CONTAINER PART : what its nginx calls has this part
is_in_use_with() {
    [[ $(in_use "$1") == *"$2"* ]]
}

# names <<TEXT : what stands in for the name servers of names-$$ from now on, a script; $2 is the name that is asked for. Returns
# once it was asked.
names() {
    rm -f "$BATS_TEST_TMPDIR/names/asked"
    cat >"$BATS_TEST_TMPDIR/names/script"
    wait_until 30 test -e "$BATS_TEST_TMPDIR/names/asked"
}

@test "a name that cannot be asked for, or is answered by nothing, keeps its addresses, and the other names go on" {
    local name=names-$$ answer
    mkdir "$BATS_TEST_TMPDIR/names"
    chmod 0777 "$BATS_TEST_TMPDIR/names"
    printf '#!/bin/bash\n. /names/script\ntouch /names/asked\n' >"$BATS_TEST_TMPDIR/getent"
    chmod +x "$BATS_TEST_TMPDIR/getent"
    echo 'echo "192.0.2.1 STREAM"; echo "2001:db8::1 STREAM"; echo "192.0.2.1 DGRAM"' >"$BATS_TEST_TMPDIR/names/script"
    docker run -d --name "$name" -v "$BATS_TEST_TMPDIR/getent:/usr/local/bin/getent:ro" -v "$BATS_TEST_TMPDIR/names:/names" \
        "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    wait_until 30 is_in_use "$name" 'app: 192.0.2.1:9000 [2001:db8::1]:9000, transform: 192.0.2.1:9001 [2001:db8::1]:9001'
    for answer in 'touch /names/asked; exit 2' ':' 'touch /names/asked; kill -SEGV $$' 'touch /names/asked; sleep 60'; do
        names <<<"$answer"
        names <<<"[[ \$2 != transform ]] || { $answer; exit; }; echo '192.0.2.2 STREAM'"
        wait_until 30 is_in_use "$name" 'app: 192.0.2.2:9000, transform: 192.0.2.1:9001 [2001:db8::1]:9001'
        names <<<"[[ \$2 != transform ]] || { $answer; exit; }; echo '192.0.2.3 STREAM'"
        wait_until 30 is_in_use "$name" 'app: 192.0.2.3:9000, transform: 192.0.2.1:9001 [2001:db8::1]:9001'
    done
    expect_no_match none "$(docker logs "$name" 2>&1)"
    names <<<'touch /names/asked; sleep 60'
    docker stop -t 25 "$name" >/dev/null
    expect_equal 0 "$(state "$name" ExitCode)" "exit code of one that was stopped while it asked"
}

# Else a client's message goes to whoever has that name there.
@test "a name is absolute: in a search domain, too, no other host of that name is called" {
    local network=search-$$
    docker network create "$network" >/dev/null
    docker run -d --name "stranger-$network" --network "$network" --network-alias app.corp.test "local/cgi-app:$IMAGE_TAG" >/dev/null
    docker run -d --name "nginx-$network" --network "$network" --dns-search corp.test --add-host transform:192.0.2.1 \
        "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    wait_until 10 is_in_use "nginx-$network" 'app: none, transform: 192.0.2.1:9001'
    docker run -d --name "app-$network" --network "$network" --network-alias app "local/cgi-app:$IMAGE_TAG" >/dev/null
    wait_until 10 is_in_use "nginx-$network" \
        "app: $(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "app-$network"):9000, transform: 192.0.2.1:9001"
}

# logged_client ID ADDRESS : whose request nginx has logged
logged_client() {
    docker logs "$1" 2>/dev/null | grep -q "\"request_id\":\"$2\",\"remote_addr\":\"$3\""
}

@test "in a network of both families nginx and the services answer in both; an IPv4 client is logged by its IPv4 address" {
    local network=dual-$$ service four six client
    docker network create --ipv6 --subnet "fd00:$(printf '%x' $(($$ % 65536)))::/64" "$network" >/dev/null
    for service in "${SERVICES[@]}"; do
        docker run -d --name "$service-$network" --network "$network" --network-alias "$service" "local/cgi-$service:$IMAGE_TAG" >/dev/null
    done
    six=$(address_of "app-$network" GlobalIPv6Address) four=$(address_of "app-$network" IPAddress)
    docker run -d --name "nginx-$network" --network "$network" "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    wait_until 10 is_in_use_with "nginx-$network" "$four:9000 [$six]:9000"
    docker rm -f "nginx-$network" >/dev/null
    docker run -d --name "nginx-$network" --network "$network" -e "APP_ADDR=[$six]:9000" -e METRICS_LISTEN=0.0.0.0:9113 \
        "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    wait_until 10 is_in_use_with "nginx-$network" "app: [$six]:9000, "
    for client in 127.0.0.1 '[::1]'; do
        docker exec "nginx-$network" curl -gsf -H "X-Request-ID: seen-${#client}" -d "$SAMPLE_REQUEST" "http://$client:8080/api"
        docker exec "nginx-$network" curl -qgsf --noproxy '*' -o /dev/null "http://$client:9113/_metrics"
        wait_until 5 logged_client "nginx-$network" "seen-${#client}" "$(tr -d '[]' <<<"$client")"
    done
}

@test "the nginx image has of scripts/ what fills in its files, and of nginx/ no source of a module" {
    expect_equal '/srv/scripts/lib nginx.sh services.sh settings.sh settings.tsv times.sh words.sh workers.sh' \
        "$(docker exec "$(container nginx)" sh -c 'echo /srv/scripts/* $(ls /srv/scripts/lib)')"
    expect_equal '' "$(docker exec "$(container nginx)" find /srv -name '*.c' -o -name config -o -name Dockerfile)"
}

@test "a port that is taken is named, and what has it goes on" {
    COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME}b run run_compose up -d
    ((status != 0))
    expect_match "${HTTP_PORT##*:}|${HTTPS_PORT##*:}" "$output"
    expect_match 'already (allocated|in use)' "$output"
    COMPOSE_PROJECT_NAME="${COMPOSE_PROJECT_NAME}b" end_project
    answers
}

# They replace images and containers.

@test "rollout: each service rebuilt, under load: no request fails, and only the new ones run" {
    local service
    load_for 40 &
    local load=$!
    for service in "${SERVICES[@]}"; do
        release "$service"
        "$ROOT/scripts/rollout" "$service" 3>&-
        runs_its_image "$service"
        expect_equal 1 "$(compose_ids "$service" | wc -l)"
    done
    kill -INT "$load" 2>/dev/null || true
    wait "$load"
    expect_no_failure
}

# Another service's program in its place is as healthy as the right one.
@test "rollout: an image that is healthy and answers wrongly is found by a real call, and what ran before runs again" {
    local before
    before=$(compose_ids "$CALLED")
    docker create --name "other-$$" "local/cgi-app:$IMAGE_TAG" >/dev/null
    docker cp "other-$$:/usr/local/bin/cgi-app" "$BATS_TEST_TMPDIR/cgi-$CALLED"
    docker rm "other-$$" >/dev/null
    docker build -q -t "local/cgi-$CALLED:$IMAGE_TAG" -f - "$BATS_TEST_TMPDIR" >/dev/null 2>&1 \
        <<<"FROM local/cgi-$CALLED:$IMAGE_TAG"$'\n'"COPY cgi-$CALLED /usr/local/bin/"
    run "$ROOT/scripts/rollout" "$CALLED" 3>&-
    expect_status 1
    expect_match '^rollout: a real call was answered with: .*; the old ones run again$' "$output"
    expect_equal "$before" "$(compose_ids "$CALLED")"
    answers
}

@test "rollout: an image that does not start is refused, and what ran goes on" {
    local before
    before=$(compose_ids "$CALLED")
    release "$CALLED" 'ENTRYPOINT ["sh", "-c", "echo no such thing >&2; exit 1"]'
    run "$ROOT/scripts/rollout" "$CALLED" 3>&-
    expect_status 1
    expect_match '^rollout: the new ones are not healthy: no such thing; the old ones go on$' "$output"
    expect_equal "$before" "$(compose_ids "$CALLED")"
    answers
}

# serves_given_pair : nginx in the container called tls-$$ answers by TLS with the pair in $BATS_TEST_TMPDIR
serves_given_pair() {
    curl -s -o /dev/null --cacert "$BATS_TEST_TMPDIR/cert.pem" --resolve "given.test:$TLS_PORT:127.0.0.1" \
        "https://given.test:$TLS_PORT/"
}

# inherited CONTAINER : what entrypoint's `sleep` has as its environment, to $BATS_TEST_TMPDIR/inherited. (Of nginx's own,
# nothing can be read: it writes its title there.) Fails when the sleep is just over.
inherited() {
    docker exec "$1" bash -c 'for p in /proc/[0-9]*; do
        [[ $(<"$p/comm") != sleep ]] || tr "\0" "\n" <"$p/environ"; done' 2>/dev/null >"$BATS_TEST_TMPDIR/inherited"
    [[ -s $BATS_TEST_TMPDIR/inherited ]]
}

@test "a TLS pair that comes as text is the one that is served, and no process inherits it" {
    local name=tls-$$ TLS_PORT TLS_CERT_PEM TLS_KEY_PEM
    TLS_PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj /CN=given.test \
        -addext subjectAltName=DNS:given.test -keyout "$BATS_TEST_TMPDIR/key.pem" -out "$BATS_TEST_TMPDIR/cert.pem" 2>/dev/null
    TLS_CERT_PEM=$(<"$BATS_TEST_TMPDIR/cert.pem") TLS_KEY_PEM=$(<"$BATS_TEST_TMPDIR/key.pem")
    export TLS_CERT_PEM TLS_KEY_PEM
    docker run -d --rm --read-only -v /run/app --init --name "$name" -e TLS_CERT_PEM -e TLS_KEY_PEM \
        -p "127.0.0.1:$TLS_PORT:8443" "local/cgi-nginx:$IMAGE_TAG" >/dev/null
    wait_until 10 serves_given_pair || { docker logs "$name" && docker rm -f "$name" && return 1; }
    expect_equal 600 "$(docker exec "$name" stat -c %a /run/app/tls/TLS_KEY_PEM)"
    wait_until 10 inherited "$name"
    docker rm -f "$name" >/dev/null
    expect_match PATH= "$(<"$BATS_TEST_TMPDIR/inherited")"
    expect_no_match '_PEM=|BEGIN' "$(<"$BATS_TEST_TMPDIR/inherited")"
}

@test "half a TLS pair, or one that is none, is refused with one line that names it" {
    run docker run --rm -e TLS_CERT_PEM=nothing "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_equal 'entrypoint: TLS_CERT is set, TLS_KEY is not; set both or none' "$output"
    run docker run --rm -e TLS_CERT_PEM=nothing -e TLS_KEY_PEM=nothing "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_equal 'entrypoint: TLS_CERT is "/run/app/tls/TLS_CERT_PEM"; it holds no certificate in PEM form' "$output"
    run docker run --rm -e TLS_CERT_PEM=nothing -e TLS_CERT=/etc/passwd "local/cgi-nginx:$IMAGE_TAG"
    expect_status 1
    expect_equal 'entrypoint: TLS_CERT_PEM and TLS_CERT are both set; set one' "$output"
}

# write_pair NAME FOLDER : a certificate for NAME and its key, as tls.crt and tls.key
write_pair() {
    mkdir -p "$2"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj "/CN=$1" \
        -keyout "$2/tls.key" -out "$2/tls.crt" 2>/dev/null
    chmod -R a+rX "$2"
}

# start_with_pair FOLDER : nginx as tls-$$, whose pair is in the FOLDER; sets TLS_PORT
start_with_pair() {
    TLS_PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    docker run -d --init --name "tls-$$" -v "$1:/tls:ro" -e TLS_CERT=/tls/tls.crt -e TLS_KEY=/tls/tls.key \
        -p "127.0.0.1:$TLS_PORT:8443" "local/cgi-nginx:$IMAGE_TAG" >/dev/null
}

serves_name() {
    [[ $(openssl s_client -connect "127.0.0.1:$TLS_PORT" </dev/null 2>/dev/null | openssl x509 -noout -subject 2>/dev/null) == *"= $1" ]]
}

# complaints : how often it has told that it goes on with what it had
complaints() {
    docker logs "tls-$$" 2>&1 | grep -c 'goes on with'
}

is_refused() {
    [[ $(complaints) == "$1" ]]
}

@test "a pair that is renewed is served without a restart; one that is half written is not taken, and that is said once" {
    local dir=$BATS_TEST_TMPDIR/tls
    write_pair one.test "$dir"
    write_pair two.test "$BATS_TEST_TMPDIR/two"
    start_with_pair "$dir"
    wait_until 10 serves_name one.test
    cat "$BATS_TEST_TMPDIR/two/tls.crt" >"$dir/tls.crt"
    wait_until 10 is_refused 1
    serves_name one.test
    cat "$BATS_TEST_TMPDIR/two/tls.key" >"$dir/tls.key"
    wait_until 10 serves_name two.test
    { cat "$dir/tls.crt" && head -n 3 "$BATS_TEST_TMPDIR/two/tls.crt"; } >"$dir/chain" && mv "$dir/chain" "$dir/tls.crt"
    wait_until 10 is_refused 2
    rm "$dir/tls.key"
    wait_until 10 is_refused 3
    serves_name two.test
    write_pair three.test "$dir"
    wait_until 10 serves_name three.test
    expect_equal 3 "$(complaints)"
    expect_equal 0 "$(state "tls-$$" ExitCode)"
}

# Kubernetes renews a Secret by one rename, of the link ..data, and removes the folder that it named before.
@test "a Secret of Kubernetes that is renewed is served" {
    local dir=$BATS_TEST_TMPDIR/secret
    write_pair one.test "$dir/..1"
    ln -s ..1 "$dir/..data"
    ln -s ..data/tls.crt "$dir/tls.crt"
    ln -s ..data/tls.key "$dir/tls.key"
    start_with_pair "$dir"
    wait_until 10 serves_name one.test
    write_pair two.test "$dir/..2"
    ln -s ..2 "$dir/..new"
    mv -T "$dir/..new" "$dir/..data"
    rm -r "$dir/..1"
    wait_until 10 serves_name two.test
}

# workers : of nginx in tls-$$, their pids there
workers() {
    docker exec "tls-$$" sh -c 'pid=$(cat /run/app/nginx.pid); cat "/proc/$pid/task/$pid/children"' 2>/dev/null
}

has_other_workers() {
    local now
    now=$(workers)
    [[ -n $now && " $now " != *" ${1%% *} "* ]]
}

@test "HUP to the container, and nginx -s reload in it, make nginx reload; the container goes on" {
    local before
    write_pair one.test "$BATS_TEST_TMPDIR/tls"
    start_with_pair "$BATS_TEST_TMPDIR/tls"
    wait_until 10 serves_name one.test
    before=$(workers)
    docker kill -s HUP "tls-$$" >/dev/null
    wait_until 20 has_other_workers "$before"
    before=$(workers)
    run docker exec "tls-$$" nginx -s reload
    expect_status 0
    expect_no_match 'alert|emerg|error' "$output"
    wait_until 20 has_other_workers "$before"
    serves_name one.test
    expect_equal true "$(state "tls-$$" Running)"
}
