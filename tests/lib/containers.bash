# shellcheck shell=bash
# The application in containers, for tests: the image that the others are built on, a docker-compose project of its own.
# A file says `load ../lib/containers`, after helpers.

# shellcheck source=tests/lib/services.bash
source "$ROOT/tests/lib/services.bash"
# shellcheck source=scripts/lib/http.sh
source "$ROOT/scripts/lib/http.sh"
# shellcheck source=scripts/lib/sample.sh
source "$ROOT/scripts/lib/sample.sh"

CONTAINER_BASE=debian:12.12-slim # what the Dockerfiles say in FROM

# why_no_containers : the reason why nothing can be tested here; fails when there is none
why_no_containers() {
    if [[ -n ${SANITIZE:-} ]]; then
        echo "the images hold the usual build"
    elif ! command -v docker >/dev/null || ! docker version >/dev/null 2>&1; then
        echo "there is no Docker engine"
    elif ! run_compose version >/dev/null 2>&1; then
        echo "there is neither docker compose nor docker-compose"
    else
        return 1
    fi
}

# run_compose WORDS... : docker compose 2 where it is, else docker-compose 1.29, as scripts/rollout chooses
run_compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose --ansi never "$@"
    else
        docker-compose --ansi never "$@"
    fi </dev/null 3>&-
}

# need_containers : for setup(): skip the test, with the reason, where it cannot run
need_containers() {
    local reason
    ! reason=$(why_no_containers) || skip "$reason"
}

# make_root RELEASE IMAGE : a minimal Debian, as the image. By a file: of half a root, or none, docker would make an image, too. A
# mirror may be older than it says it can be.
make_root() {
    local archive=${BATS_RUN_TMPDIR:-$BATS_TEST_TMPDIR}/root-$1.tar
    mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --aptopt='Acquire::Check-Valid-Until "false"' \
        "$1" "$archive" && docker import "$archive" "$2" >/dev/null || return
    rm "$archive"
}

# make_base : where it cannot be pulled, a Debian root is made, and taken as it
make_base() {
    docker image inspect "$CONTAINER_BASE" >/dev/null 2>&1 || docker pull -q "$CONTAINER_BASE" >/dev/null 2>&1 ||
        make_root bookworm "$CONTAINER_BASE" || {
        echo "$CONTAINER_BASE can be neither pulled nor made; see above" >&2
        return 1
    }
}

# start_project NAME [OPTION...] : compose's up -d with ports of its own; sets URL
start_project() {
    local port
    port=$(python3 "$ROOT/tests/lib/http.py" free-port)
    export COMPOSE_PROJECT_NAME=$1 URL=http://127.0.0.1:$port
    export COMPOSE_FILE=$ROOT/docker-compose.yml:$ROOT/docker-compose.override.yml # what is read when it is not set
    export HTTP_PORT=127.0.0.1:$port HTTPS_PORT
    HTTPS_PORT=127.0.0.1:$(python3 "$ROOT/tests/lib/http.py" free-port)
    compose up -d "${@:2}"
    wait_until 30 answers
}

compose() {
    run_compose "$@" >"$BATS_TEST_TMPDIR/compose" 2>&1 || {
        cat "$BATS_TEST_TMPDIR/compose" >&2
        return 1
    }
}

end_project() {
    run_compose down -v -t 25 >/dev/null 2>&1
}

# answers [CURL OPTION...] : the sample, rightly
answers() {
    local answer
    call_sample "$URL" "$@"
}

# status_of_sample : that it is answered with
status_of_sample() {
    curl -s -o /dev/null -w '%{http_code}' --max-time 20 -d "$SAMPLE_REQUEST" "$URL/api"
}

# full_names TAG : of all images
full_names() {
    printf 'local/cgi-%s\n' "${IMAGES[@]/%/:$1}"
}

# remove_images TAG
remove_images() {
    # shellcheck disable=SC2046 # a word each
    docker image rm -f $(full_names "$1") >/dev/null
}

# container SERVICE [NUMBER] : the name of its container
container() {
    docker ps -a --format '{{.Names}}' -f "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        -f "label=com.docker.compose.service=$1" -f "label=com.docker.compose.container-number=${2:-1}"
}

# state CONTAINER FIELD : of docker inspect
state() {
    docker inspect -f "{{.State.$2}}" "$1"
}

# crash CONTAINER : its process 1 dies, as by itself (docker kill would not be followed by a restart)
crash() {
    kill -KILL "$(state "$1" Pid)"
}

# uses SERVICE COUNT : nginx calls so many addresses of it
uses() {
    local line
    line=$(docker exec "$(container nginx)" cat /run/app/in-use 3>&- | tr ',' '\n' | grep -E "^ *$1: ")
    (($(grep -oE '[0-9.]+:[0-9]+|unix:[^ ]+' <<<"$line" | wc -l) == $2))
}

# is_healthy CONTAINER
is_healthy() {
    [[ $(state "$1" Health.Status) == healthy ]]
}

# load_for SECONDS : 64 clients; its report to $BATS_TEST_TMPDIR/wrk
load_for() {
    wrk -t 2 -c 64 -d "$1s" --timeout 60s -s "$ROOT/tests/lib/post.lua" "$URL/api" >"$BATS_TEST_TMPDIR/wrk" 2>&1 3>&-
}

# expect_no_failure : of the last load. A connection that was idle when nginx took a new configuration may be closed under
# a client that just sends (wrk counts a read error): that is HTTP's, and told apart.
expect_no_failure() {
    { expect_match '[1-9][0-9]* requests in' "$(<"$BATS_TEST_TMPDIR/wrk")" &&
        expect_no_match 'Non-2xx|wrong|connect [1-9]|write [1-9]|timeout [1-9]' "$(<"$BATS_TEST_TMPDIR/wrk")" &&
        expect_equal 0 "$(docker inspect -f '{{.RestartCount}}' "$(container nginx)")" "restarts of nginx"; } ||
        { last_faults >&2 && return 1; }
}

# last_faults : the last answers that were no 200, and what nginx said in words
last_faults() {
    docker logs --tail 200000 "$(container nginx)" 2>&1 | grep -v '"status":200' | tail -n 8
}

# release SERVICE [LINE] : its image, made anew: other than what runs, with a LINE for its Dockerfile
release() {
    local image=local/cgi-$1:$IMAGE_TAG
    docker build -q -t "$image" - <<<"FROM $image"$'\n'"LABEL release=$RANDOM"$'\n'"${2:-}" >/dev/null 2>&1
}

# compose_ids SERVICE : of its containers
compose_ids() {
    run_compose ps -q "$1"
}

# runs_its_image SERVICE
runs_its_image() {
    [[ $(docker ps -q --no-trunc -f "ancestor=local/cgi-$1:$IMAGE_TAG" -f "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" | sort) == \
        $(compose_ids "$1" | sort) ]]
}
