# Building: where to, and one at a time. Sourced after words.sh.
# shellcheck shell=bash

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
    mkdir -p -- "$BUILD_DIR"
    if ! { /usr/bin/python3 -m venv "$BUILD_DIR/aws" && "$BUILD_DIR/aws/bin/pip" install -q -r "$wanted"; } \
        >"$BUILD_DIR/aws.log" 2>&1; then
        say "that failed, $BUILD_DIR/aws.log has the reason; the tests that need it are skipped"
        return 1
    fi
    cp -- "$wanted" "$made"
}

# settings_image_tag: this commit, as git describes it, where IMAGE_TAG does not say another.
settings_image_tag() {
    : "${IMAGE_TAG:=$(git -C "$ROOT" describe --always --dirty 2>/dev/null || say latest)}"
    [[ $IMAGE_TAG =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
        die "IMAGE_TAG is \"$IMAGE_TAG\"; letters, digits, dots, underscores and hyphens are allowed, 128 at most"
}
