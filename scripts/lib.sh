# What the scripts share: words for the operator, packages, settings, and where a running copy keeps its things.
# Sourced, never run. Each script sets -euo pipefail itself.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin # nginx and openssl's friends; not in everybody's PATH on Debian

say() {
    printf '%s\n' "$*"
}

# die WORDS... : end with one line on standard error, whatever stands in a setting that it quotes
die() {
    local words=$*
    printf '%s: %s\n' "${0##*/}" "${words//[[:cntrl:]]/?}" >&2
    exit 1
}

# usage_of SCRIPT: the comment at the top of a script is its --help.
usage_of() {
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$1"
}

# wait_until SECONDS COMMAND...: run COMMAND until it succeeds. Returns 1 after SECONDS.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}

# ---- packages ----

# Debian's packages for each purpose, each with the file or the command that shows it is there.
packages_for() {
    case $1 in
    run)
        printf '%s\n' \
            'gcc cc' 'libc6-dev /usr/include/stdlib.h' 'make make' \
            'libfcgi-dev /usr/include/fcgiapp.h' 'libjansson-dev /usr/include/jansson.h' \
            'libutf8proc-dev /usr/include/utf8proc.h' 'libseccomp-dev /usr/include/seccomp.h' \
            'spawn-fcgi spawn-fcgi' 'multiwatch multiwatch' \
            'nginx nginx' 'nginx-dev /usr/share/nginx/src/conf_flags' 'openssl openssl' 'gettext-base envsubst' 'curl curl' \
            'libfcgi-bin cgi-fcgi' 'jq jq' 'procps ps'
        ;;
    test)
        printf '%s\n' \
            'bats bats' 'parallel parallel' 'python3 python3' 'wrk wrk' \
            'unicode-data /usr/share/unicode/auxiliary/GraphemeBreakTest.txt' 'prometheus promtool'
        ;;
    containers) # where a Docker engine runs: the image that the others are built on, a registry, a pod
        printf '%s\n' \
            'mmdebstrap mmdebstrap' 'docker-registry docker-registry' 'python3-yaml /usr/lib/python3/dist-packages/yaml' \
            'podman podman' 'catatonit catatonit' 'containernetworking-plugins /usr/lib/cni/bridge'
        ;;
    ecs)
        printf '%s\n' 'awscli aws' 'jq jq' 'git git'
        ;;
    ecs-test) # Debian's aws, whatever else bears that name; what makes tests/ecs/requirements.txt a folder of programs
        printf '%s\n' 'awscli /usr/bin/aws' 'jq jq' 'python3-venv /usr/share/doc/python3-venv'
        ;;
    deb)
        printf '%s\n' 'debhelper dh' 'dpkg-dev dpkg-buildpackage'
        ;;
    host) # what tests/host checks with
        printf '%s\n' 'lintian lintian' 'logrotate logrotate' 'man-db man' 'mandoc mandoc' 'systemd systemd-analyze'
        ;;
    profile)
        printf '%s\n' 'python3 python3' 'spawn-fcgi spawn-fcgi' 'strace strace' 'valgrind valgrind'
        ;;
    fuzz) # what clang's libFuzzer and sanitizers are made of, in the version of the clang that Debian has
        printf '%s\n' \
            'clang clang' 'libclang-rt-dev /usr/share/doc/libclang-rt-dev' 'llvm llvm-symbolizer' 'python3 python3' \
            'unicode-data /usr/share/unicode/auxiliary/GraphemeBreakTest.txt'
        ;;
    lint)
        printf '%s\n' \
            'git git' 'clang-format clang-format' 'clang-tidy clang-tidy' 'cppcheck cppcheck' \
             'shellcheck shellcheck' 'yamllint yamllint'
        ;;
    esac
}

# missing_packages PURPOSE...: the packages that are not there, one a line.
missing_packages() {
    local purpose package probe
    for purpose; do
        while read -r package probe; do
            case $probe in
            /*) [[ -e $probe ]] || say "$package" ;;
            *) command -v "$probe" >/dev/null || say "$package" ;;
            esac
        done < <(packages_for "$purpose")
    done
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# Debian starts a server when it installs it. Nobody asked for an nginx on port 80, so say no for the moment.
without_starting_servers() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 0755 "$policy"
    fi
    "$@"
)

# install_packages PURPOSE...: install what is missing, and say so; quiet when all is there.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
    ((EUID == 0)) || command -v sudo >/dev/null ||
        die "these packages are missing; as root: apt-get install ${missing[*]}"
    say "installing what is missing: ${missing[*]}"
    as_root apt-get update -qq || die "apt-get update failed; see above"
    without_starting_servers as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get install ${missing[*]} failed; see above"
}

# ---- building ----

# SANITIZE (address,undefined or thread) makes another build beside the usual one.
BUILD_DIR=${BUILD_DIR:-$ROOT/build${SANITIZE:+/$SANITIZE}}

# build TARGET...: quiet when all is well. One at a time: two makes in one folder get into each other's way.
build() {
    mkdir -p -- "$BUILD_DIR"
    flock "$BUILD_DIR/lock" make -s -C "$ROOT" BUILD="$BUILD_DIR" "$@" || die "the build failed; see above"
}

# make_aws : what tests/ecs/requirements.txt names, in $BUILD_DIR/aws. Returns 1 where it cannot be had.
make_aws() {
    local wanted=$ROOT/tests/ecs/requirements.txt made=$BUILD_DIR/aws/requirements.txt
    ! cmp -s "$wanted" "$made" || return 0
    say "installing what tests/ecs/requirements.txt names"
    rm -rf -- "$BUILD_DIR/aws"
    if ! { /usr/bin/python3 -m venv "$BUILD_DIR/aws" && "$BUILD_DIR/aws/bin/pip" install -q -r "$wanted"; } \
        >"$BUILD_DIR/aws.log" 2>&1; then
        say "that failed, $BUILD_DIR/aws.log has the reason; the tests that need it are skipped"
        return 1
    fi
    cp -- "$wanted" "$made"
}

# ---- settings ----

# settings_image_tag: this commit, as git describes it, where IMAGE_TAG does not say another.
settings_image_tag() {
    : "${IMAGE_TAG:=$(git -C "$ROOT" describe --always --dirty 2>/dev/null || say latest)}"
    [[ $IMAGE_TAG =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
        die "IMAGE_TAG is \"$IMAGE_TAG\"; letters, digits, dots, underscores and hyphens are allowed, 128 at most"
}

# require_number NAME LEAST MOST
require_number() {
    local value=${!1}
    if ! [[ $value =~ ^[0-9]{1,12}$ ]] || ((10#$value < $2 || 10#$value > $3)); then
        die "$1 is \"$value\"; set it to a whole number from $2 to $3"
    fi
    printf -v "$1" %d "$((10#$value))" # 08 is eight, also for the next reader
}

# Where a running copy keeps its things; all of it can be deleted when it is stopped.
settings_run_dir() {
    RUN_DIR=$(realpath -m -- "${RUN_DIR:-$ROOT/run}")
    [[ $RUN_DIR =~ ^[A-Za-z0-9/._@%+-]+$ ]] ||
        die "RUN_DIR is \"$RUN_DIR\"; nginx's configuration wants it of letters, digits and /._@%+- only"
    local longest=$RUN_DIR/transform-green-64.status
    ((${#longest} <= 107)) ||
        die "RUN_DIR is too long (${#RUN_DIR} bytes); a unix socket's path may have 107, so set it to one of at most $((107 - 26))"
}

# The descriptors of an nginx worker: two for a request under way, the client's connection and that to a service; idle
# ones kept to each of two services; a few of its own. The kernel does not share clients out evenly: the default fits into
# one worker; of the most, one may have three quarters when there are two.
settings_clients() {
    DESCRIPTORS=$(ulimit -Hn)
    [[ $DESCRIPTORS != unlimited ]] && ((DESCRIPTORS < 65536)) || DESCRIPTORS=65536
    KEPT_CONNECTIONS=$((DESCRIPTORS < 32768 ? DESCRIPTORS / 16 : 2048))
    local one=$(((DESCRIPTORS - 2 * KEPT_CONNECTIONS - 64) / 2)) most
    most=$(($(nproc) > 1 ? one * 4 / 3 : one))
    : "${MAX_CLIENTS:=$((one < 8192 ? one : 8192))}"
    require_number MAX_CLIENTS 1 16000
    ((MAX_CLIENTS <= most)) ||
        die "MAX_CLIENTS is \"$MAX_CLIENTS\"; set it to at most $most, or raise the limit of $DESCRIPTORS descriptors (ulimit -Hn; worker_connections, where nginx is the host's)"
    # shellcheck disable=SC2034 # for scripts/run
    WORKER_CONNECTIONS=$((2 * (MAX_CLIENTS < one ? MAX_CLIENTS : one) + 2 * KEPT_CONNECTIONS + 64))
}

settings_tls() {
    [[ -n ${TLS_CERT:-}${TLS_KEY:-} ]] || return 0
    [[ -n ${TLS_CERT:-} ]] || die "TLS_KEY is set, TLS_CERT is not; set both or none"
    [[ -n ${TLS_KEY:-} ]] || die "TLS_CERT is set, TLS_KEY is not; set both or none"
    local name
    for name in TLS_CERT TLS_KEY; do
        [[ -f ${!name} && -r ${!name} ]] || die "$name is \"${!name}\"; there is no file that can be read"
    done
    TLS_CERT=$(realpath -- "$TLS_CERT") TLS_KEY=$(realpath -- "$TLS_KEY")
    local public
    public=$(openssl x509 -in "$TLS_CERT" -noout -pubkey 2>/dev/null) ||
        die "TLS_CERT is \"$TLS_CERT\"; it holds no certificate in PEM form"
    [[ $(openssl pkey -in "$TLS_KEY" -pubout -passin pass: 2>/dev/null) == "$public" ]] ||
        die "TLS_KEY is \"$TLS_KEY\"; it is not the key of TLS_CERT"
}

# Fill in what is not set, and refuse what cannot be, before anything starts.
settings_load() {
    : "${HTTP_PORT:=8080}" "${HTTPS_PORT:=8443}" "${BIND:=127.0.0.1}"
    : "${APP_INSTANCES:=2}" "${TRANSFORM_INSTANCES:=2}"
    : "${MAX_BODY_BYTES:=1048576}" "${UPSTREAM_TIMEOUT:=5}"
    export MAX_BODY_BYTES
    settings_run_dir
    require_number HTTP_PORT 1 65535
    require_number HTTPS_PORT 1 65535
    ((HTTP_PORT != HTTPS_PORT)) || die "HTTP_PORT and HTTPS_PORT are both $HTTP_PORT; set two"
    [[ $BIND =~ ^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$ ]] ||
        die "BIND is \"$BIND\"; set it to an IP address of this machine, 0.0.0.0 or :: for all"
    require_number APP_INSTANCES 1 64
    require_number TRANSFORM_INSTANCES 1 64
    require_number MAX_BODY_BYTES 1 1073741824
    settings_clients
    require_number UPSTREAM_TIMEOUT 1 3600
    settings_tls
}

# The services check their own settings (THREADS, LOG_LEVEL, …), and show that they can be executed at all.
settings_check_services() {
    local service
    for service in app transform; do
        "$BUILD_DIR/cgi-$service" -t || exit 1
    done
}

SETTING_NAMES=(HTTP_PORT HTTPS_PORT BIND APP_INSTANCES TRANSFORM_INSTANCES THREADS MAX_BODY_BYTES
    MAX_BUFFERED_BYTES MAX_CLIENTS UPSTREAM_TIMEOUT TLS_CERT TLS_KEY LOG_LEVEL SANDBOX)

# settings_keep : for who changes the running copy later; also what came of the limits of this shell
settings_keep() {
    local name lines=
    for name in "${SETTING_NAMES[@]}" DESCRIPTORS KEPT_CONNECTIONS WORKER_CONNECTIONS; do
        [[ ! -v $name ]] || lines+="export $name=${!name@Q}"$'\n'
    done
    { printf %s "$lines" >"$RUN_DIR/settings"; } 2>/dev/null ||
        die "$RUN_DIR/settings cannot be written; is the disk full?"
}

# settings_recall : those that the running copy was started with, whatever this shell has set
settings_recall() {
    settings_run_dir
    { [[ -e $RUN_DIR/settings ]] && compgen -G "$RUN_DIR/*.pid" >/dev/null; } || die "nothing runs in $RUN_DIR; ./scripts/run starts it"
    unset "${SETTING_NAMES[@]}"
    # shellcheck source=/dev/null
    source "$RUN_DIR/settings"
}

# ---- a running copy ----

# The address a client on this machine uses.
local_address() {
    case $BIND in
    0.0.0.0) say 127.0.0.1 ;;
    ::) say '[::1]' ;;
    *:*) say "[$BIND]" ;;
    *) say "$BIND" ;;
    esac
}

# is_ours PID COMMAND... : it runs, its program is one of these, and it was started for this RUN_DIR: its working folder is
# that. A pid alone proves nothing: the file may be old, and the number another process's by now.
is_ours() {
    local pid=$1 stat command
    shift
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
    [[ $stat != *") Z "* && /proc/$pid/cwd -ef $RUN_DIR ]] || return 1
    for command; do [[ $stat == "$pid ($command) "* ]] && return; done
    return 1
}

# pid_of NAME COMMAND... : the pid in $RUN_DIR/NAME.pid, if that is ours and runs one of these
pid_of() {
    local pid
    { read -r pid <"$RUN_DIR/$1.pid"; } 2>/dev/null && is_ours "$pid" "${@:2}" && say "$pid"
}

# all_ours COMMAND... : the pids of all that runs for this RUN_DIR and is one of these programs, one a line.
all_ours() {
    local pid
    for pid in /proc/[0-9]*; do
        is_ours "${pid#/proc/}" "$@" && say "${pid#/proc/}"
    done
    true
}
