#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# scripts/images: build, push to a real registry on loopback, pull, run.
# needs: containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers

setup() {
    need_containers
    command -v docker-registry >/dev/null || skip "there is no docker-registry"
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    export REGISTRY=127.0.0.1:$port/team IMAGE_TAG=test-$$
    REGISTRY_PID=
}

teardown() {
    [[ -z ${REGISTRY_PID:-} ]] || kill "$REGISTRY_PID"
    local name
    for name in "${IMAGES[@]}"; do docker image rm -f "$REGISTRY/cgi-$name:$IMAGE_TAG" >/dev/null 2>&1 || true; done
}

start_registry() {
    cat >"$BATS_TEST_TMPDIR/registry.yml" <<CONF
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $BATS_TEST_TMPDIR/registry}}
http: {addr: "127.0.0.1:$port"}
CONF
    docker-registry serve "$BATS_TEST_TMPDIR/registry.yml" >"$BATS_TEST_TMPDIR/registry.log" 2>&1 3>&- &
    REGISTRY_PID=$!
    wait_until 10 curl -sf -o /dev/null "http://127.0.0.1:$port/v2/"
}

@test "what is built is pushed, removed, pulled, and runs; a push that broke off is done again" {
    make_base
    "$ROOT/scripts/images" build
    run "$ROOT/scripts/images" push
    expect_status 1
    expect_match "^images: $REGISTRY/cgi-app:$IMAGE_TAG cannot be pushed" "${lines[-1]}"
    start_registry
    "$ROOT/scripts/images" push
    run "$ROOT/scripts/images" push
    expect_status 0
    docker image rm -f "$REGISTRY/cgi-app:$IMAGE_TAG" >/dev/null
    expect_equal '' "$("$ROOT/scripts/images" list | grep cgi-app)"
    docker pull -q "$REGISTRY/cgi-app:$IMAGE_TAG" >/dev/null
    docker run --rm --entrypoint cgi-app "$REGISTRY/cgi-app:$IMAGE_TAG" -t
}

# without_docker : a folder for PATH that has the commands of scripts/images, and no docker
without_docker() {
    local name
    mkdir "$BATS_TEST_TMPDIR/bin"
    for name in bash env dirname readlink git realpath; do
        ln -s "$(command -v "$name")" "$BATS_TEST_TMPDIR/bin"
    done
    echo "$BATS_TEST_TMPDIR/bin"
}

@test "what cannot be done is refused with one line that says what to do" {
    run env REGISTRY=local "$ROOT/scripts/images" push
    expect_status 1
    expect_match '^images: REGISTRY is not set' "$output"
    run "$ROOT/scripts/images" push
    expect_status 1
    expect_match "there is no $REGISTRY/cgi-app:$IMAGE_TAG to push; ./scripts/images build first" "$output"
    run env IMAGE_TAG='no tag' "$ROOT/scripts/images" list
    expect_status 1
    expect_match '^images: IMAGE_TAG is "no tag"' "$output"
    run env REGISTRY='UPPER' "$ROOT/scripts/images" list
    expect_match '^images: REGISTRY is "UPPER"' "$output"
    run env BASE=127.0.0.1:1/nothing:1 "$ROOT/scripts/images" build
    expect_status 1
    expect_match '127.0.0.1:1' "$output"
    expect_match "images: $REGISTRY/cgi-app:$IMAGE_TAG cannot be built; see above" "${lines[-1]}"
    run env PATH="$(without_docker)" "$ROOT/scripts/images" build
    expect_status 1
    expect_equal 'images: there is no docker; install docker-cli, or in Debian 12 docker.io' "$output"
    run env DOCKER_HOST=tcp://127.0.0.1:1 "$ROOT/scripts/images" list
    expect_status 1
    expect_match '^images: the Docker engine does not answer' "$output"
}
