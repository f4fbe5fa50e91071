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
    elif ! command -v docker-compose >/dev/null; then
        echo "there is no docker-compose"
    else
        return 1
    fi
}

# need_containers : for setup(): skip the test, with the reason, where it cannot run
need_containers() {
    local reason
    ! reason=$(why_no_containers) || skip "$reason"
}

# make_base : where it cannot be pulled, a Debian root is made, and taken as it
make_base() {
    docker image inspect "$CONTAINER_BASE" >/dev/null 2>&1 || docker pull -q "$CONTAINER_BASE" >/dev/null 2>&1 ||
        mmdebstrap --quiet --variant=minbase bookworm - | docker import - "$CONTAINER_BASE" >/dev/null || {
        echo "$CONTAINER_BASE can be neither pulled nor made; see above" >&2
        return 1
    }
}

# start_project NAME [OPTION...] : docker-compose up -d with ports of its own; sets URL
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
    docker-compose --no-ansi "$@" </dev/null 3>&- >"$BATS_TEST_TMPDIR/compose" 2>&1 || {
        cat "$BATS_TEST_TMPDIR/compose" >&2
        return 1
    }
}

end_project() {
    docker-compose --no-ansi down -v -t 25 </dev/null >/dev/null 2>&1 3>&-
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
    echo "${COMPOSE_PROJECT_NAME}_$1_${2:-1}"
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
