#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# deploy sends the images of this commit: to a registry on loopback that wants ECR's password, since moto's ECR holds none.
# needs: containers ecs-test

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/ecs

why_no_push() {
    why_no_aws || why_no_containers || { ! command -v docker-registry && echo "there is no docker-registry"; }
}

setup_file() {
    ! why_no_push >/dev/null || return 0
    start_aws
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    DOCKER=$(command -v docker)
    export REGISTRY_HOST=127.0.0.1:$port IMAGE_TAG=test-$$ DOCKER
    start_registry
    local name
    for name in "${IMAGES[@]}"; do
        # what is in them does not matter here, only that there is one of each
        tar -C "$BATS_FILE_TMPDIR" -c server.pid --transform "s/.*/$name/" |
            docker import - "local/cgi-$name:$IMAGE_TAG" >/dev/null
    done
}

teardown_file() {
    ! why_no_push >/dev/null || return 0
    local name
    for name in "${IMAGES[@]}"; do
        docker image rm -f "local/cgi-$name:$IMAGE_TAG" "$REGISTRY_HOST/cgi/cgi-$name:$IMAGE_TAG" >/dev/null 2>&1 || true
    done
    kill "$(<"$BATS_FILE_TMPDIR/registry.pid")" || true
    end_aws
}

setup() {
    local reason
    ! reason=$(why_no_push) || skip "$reason"
    [[ $BATS_TEST_NUMBER == 1 ]] || load_outputs
}

# start_registry : its one user is AWS, with the password that ECR gives
start_registry() {
    ask '@' ecr get-login-password >"$BATS_FILE_TMPDIR/password"
    /usr/bin/python3 -c 'import crypt, sys; print("AWS:" + crypt.crypt(sys.stdin.read().strip(),
        crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' <"$BATS_FILE_TMPDIR/password" >"$BATS_FILE_TMPDIR/htpasswd"
    cat >"$BATS_FILE_TMPDIR/registry.yml" <<CONF
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $BATS_FILE_TMPDIR/registry}}
http: {addr: "$REGISTRY_HOST"}
auth: {htpasswd: {realm: ecr, path: $BATS_FILE_TMPDIR/htpasswd}}
CONF
    docker-registry serve "$BATS_FILE_TMPDIR/registry.yml" >"$BATS_FILE_TMPDIR/registry.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/registry.pid"
    wait_until 10 curl -s -o /dev/null "http://$REGISTRY_HOST/v2/"
}

# tags SERVICE : what the registry holds
tags() {
    curl -sS -u "AWS:$(<"$BATS_FILE_TMPDIR/password")" "http://$REGISTRY_HOST/v2/cgi/cgi-$1/tags/list" | jq -r '.tags[]?'
}

@test "deploy logs in with ECR's password, pushes the images, and runs them; the password is in no argument and no output" {
    REGISTRY=$REGISTRY_HOST/cgi ecs up
    expect_done
    note_outputs
    load_outputs
    mkdir "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/sh\necho "$@" >>"%s"\nexec "%s" "$@"\n' "$BATS_TEST_TMPDIR/arguments" "$DOCKER" \
        >"$BATS_TEST_TMPDIR/bin/docker"
    chmod +x "$BATS_TEST_TMPDIR/bin/docker"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH ecs deploy
    expect_status 0
    local name
    for name in "${IMAGES[@]}"; do expect_equal "$IMAGE_TAG" "$(tags "$name")" "$name"; done
    expect_equal "$(full_images "$REGISTRY_HOST/cgi" "$IMAGE_TAG")" "$(images_in_use)"
    expect_match 'login --username AWS --password-stdin' "$(<"$BATS_TEST_TMPDIR/arguments")"
    expect_no_match "$(<"$BATS_FILE_TMPDIR/password")" "$(<"$BATS_TEST_TMPDIR/arguments")$output$stderr"
}

@test "a push that broke off goes on with what is missing, since a tag that is there is not taken twice" {
    has_images "$IMAGE_TAG" "${SERVICES[@]}"
    ecs push
    expect_equal "pushed $REGISTRY_HOST/cgi/cgi-nginx:$IMAGE_TAG" "${lines[0]}"
    expect_equal 2 "${#lines[@]}" "lines: $output"
    has_images "$IMAGE_TAG" nginx
    DOCKER_HOST=tcp://127.0.0.1:1 ecs push
    expect_done
    expect_equal "the images of $IMAGE_TAG are in the registry" "$output"
}

@test "a registry that is not there is a failure that says so, and nothing is registered" {
    kill "$(<"$BATS_FILE_TMPDIR/registry.pid")"
    local name
    for name in "${IMAGES[@]}"; do docker tag "local/cgi-$name:$IMAGE_TAG" "local/cgi-$name:$IMAGE_TAG-2"; done
    IMAGE_TAG=$IMAGE_TAG-2 ecs deploy
    expect_equal 1 "$status"
    expect_match "images: $REGISTRY_HOST refuses REGISTRY_USER and REGISTRY_PASSWORD" "${stderr##*$'\n'}"
    expect_equal 1 "$(registered)"
    for name in "${IMAGES[@]}"; do
        docker image rm -f "local/cgi-$name:$IMAGE_TAG-2" "$REGISTRY_HOST/cgi/cgi-$name:$IMAGE_TAG-2" >/dev/null
    done
    start_registry
}
