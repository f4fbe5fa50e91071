#!/usr/bin/env bats
# shellcheck shell=bats
# The commands of docs/containers.md with each Compose that people have: docker-compose 1.29 of Debian 12, docker compose 2 of Debian 13
# and of Debian 14.
# needs: containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/debian

setup_file() {
    ! why_no_containers >/dev/null || return 0
    export IMAGE_TAG=compose-$$ REGISTRY=local
    make_base
    "$ROOT/scripts/images" build
}

teardown_file() {
    ! why_no_containers >/dev/null || return 0
    remove_images "$IMAGE_TAG"
}

setup() {
    need_containers
}

teardown() {
    [[ -z ${COMPOSE_PROJECT_NAME:-} ]] || end_project
}

# use_compose RELEASE : the docker compose of this Debian
use_compose() {
    local plugin=$BUILD_DIR/compose/$1/usr/libexec/docker/cli-plugins/docker-compose
    unpack_debian "$1" docker-compose "$BUILD_DIR/compose/$1" 2>"$BATS_TEST_TMPDIR/unpack" ||
        skip "docker compose of Debian's $1 cannot be had: $(tail -n 1 "$BATS_TEST_TMPDIR/unpack")"
    export DOCKER_CONFIG=$BATS_TEST_TMPDIR/docker
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    ln -s "$plugin" "$DOCKER_CONFIG/cli-plugins"
}

# quietly WORDS... : compose does it, and complains of nothing
quietly() {
    compose "$@"
    expect_no_match 'level=|WARN|[Oo]bsolete|[Dd]eprecat' "$(<"$BATS_TEST_TMPDIR/compose")"
}

# left_over : what the engine has of the project
left_over() {
    local label=label=com.docker.compose.project=$COMPOSE_PROJECT_NAME
    docker ps -aq -f "$label"
    docker network ls -q -f "$label"
    docker volume ls -q -f "$label"
}

# begin_clients, end_clients : 64 clients meanwhile; none of their requests is lost
begin_clients() {
    load_for 90 &
    LOAD=$!
}

end_clients() {
    kill -INT "$(pgrep -P "$LOAD" -x wrk)"
    wait "$LOAD"
    expect_no_failure
}

# begin_project : config and up, until all are healthy
begin_project() {
    local service
    quietly config -q
    start_project "compose$$"
    quietly up -d
    for service in "${IMAGES[@]}"; do wait_until 40 is_healthy "$(container "$service")"; done
}

# release_by COMMAND : under load, a new image of app, of which two run
release_by() {
    quietly up -d --scale app=2
    wait_until 10 uses app 2
    begin_clients
    release app
    "$@"
    wait_until 20 uses app 2
    runs_its_image app
    end_clients
}

roll_out() {
    "$ROOT/scripts/rollout" app 3>&-
}

# rollout_by_compose : as docs/containers.md has it. Those of the old image are the first that go.
rollout_by_compose() {
    quietly up -d --no-deps --no-recreate --scale app=4 --wait app
    quietly up -d --no-deps --scale app=2 --wait app
}

# end_project_quietly : down, and nothing is left
end_project_quietly() {
    quietly down -v -t 25
    expect_equal '' "$(left_over)" "left over"
}

@test "docker-compose 1.29: up, scale, rollout under load and down, without a complaint; nothing is lost or left over" {
    [[ $(docker-compose version --short 2>/dev/null) == 1.* ]] || skip "there is no docker-compose 1"
    ! docker compose version >/dev/null 2>&1 || skip "docker compose 2 is here, and is what is used"
    begin_project
    release_by roll_out
    end_project_quietly
}

@test "docker compose 2 of Debian 13: the same" {
    use_compose trixie
    begin_project
    release_by roll_out
    end_project_quietly
}

@test "docker compose 2 of Debian 14: the same, and a release by its own commands" {
    use_compose forky
    begin_project
    release_by roll_out
    release_by rollout_by_compose
    end_project_quietly
}
