# shellcheck shell=bash
# What the files in this folder share, made by the first test that needs it (tests/lib/host.bash): the package, in the folder
# HOSTS, and images, all of the name HOST_IMAGES. bats runs this once, however few tests were asked for.

setup_suite() {
    export HOSTS=$BATS_SUITE_TMPDIR/hosts HOST_IMAGES=host-test-$$
    mkdir "$HOSTS"
}

teardown_suite() {
    local images
    images=$(docker image ls --format '{{.Repository}}:{{.Tag}}' "$HOST_IMAGES" 2>/dev/null) || return 0
    # shellcheck disable=SC2086 # a word each
    [[ -z $images ]] || docker image rm -f $images >/dev/null
}
