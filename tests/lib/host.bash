# shellcheck shell=bash
# A host of its own, for tests: the package, and containers to install it in. A file says `load ../lib/host`, after helpers
# and containers.

# need_usual_build : for setup(): skip the test where it would only do again what another build has shown
need_usual_build() {
    [[ -z ${SANITIZE:-} ]] || skip "what is installed is the usual build"
}

# make_install COMMAND [VARIABLE=VALUE...] : make install or uninstall, of what is built
make_install() {
    make -s -C "$ROOT" BUILD="$BUILD_DIR" "$@" 3>&-
}

# start_host NAME [OPTION...] IMAGE [COMMAND...] : a container that ends with end_host
start_host() {
    HOST=$1
    docker run -d --name "$HOST" "${@:2}" >/dev/null 3>&-
}

end_host() {
    docker rm -f "$HOST" >/dev/null 2>&1
}

# on_host COMMAND... : as root in the container
on_host() {
    docker exec -e DEBIAN_FRONTEND=noninteractive "$HOST" "$@" 3>&-
}

# host_installs PACKAGE... : by apt; what it says is shown when it fails
host_installs() {
    on_host apt-get install -y --no-install-recommends "$@" >"$BATS_TEST_TMPDIR/apt" 2>&1 || {
        tail -n 20 "$BATS_TEST_TMPDIR/apt" >&2
        return 1
    }
}

# host_answers [MESSAGE] : /api over nginx
host_answers() {
    [[ $(on_host curl -s --max-time 5 -d '{"message": "hello"}' http://127.0.0.1:8080/api) == '{"message":"olleh",'* ]]
}

# files_of_host : all paths but apt's and dpkg's own state, the copy that useradd keeps, and what is no disk
files_of_host() {
    on_host find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/lib/dpkg -o -path /var/lib/apt -o \
        -path /var/cache -o -path /var/log/apt -o -path /root -o -path /etc/shadow- \) -prune -o -print | sort
}
