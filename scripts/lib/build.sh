# Building: where to, and one at a time. Sourced after words.sh.
# shellcheck shell=bash

# SANITIZE (address,undefined or thread) makes another build beside the usual one.
BUILD_DIR=${BUILD_DIR:-$ROOT/build${SANITIZE:+/$SANITIZE}}
[[ $BUILD_DIR == /* ]] || BUILD_DIR=$PWD/$BUILD_DIR # make's folder is another one

# settings_build_dir : make it, and refuse what cannot be built in. Spaces and other signs have a meaning in a path for make; all
# that is not ASCII has none.
settings_build_dir() {
    local plain='^([A-Za-z0-9/._@,+-]|[^[:print:][:cntrl:]])+$'
    [[ $ROOT =~ $plain ]] || die "this checkout is in \"$ROOT\"; make wants a path without spaces and other signs, so move it"
    [[ $BUILD_DIR =~ $plain ]] || die "BUILD_DIR is \"$BUILD_DIR\"; make wants a path without spaces and other signs, so set it to one"
    { mkdir -p -- "$BUILD_DIR" && : >>"$BUILD_DIR/lock"; } 2>/dev/null ||
        die "BUILD_DIR is \"$BUILD_DIR\"; it cannot be written to, so set it to a folder where you can write"
    can_execute "$BUILD_DIR" ||
        die "BUILD_DIR is \"$BUILD_DIR\"; what lies there cannot be executed (a mount with noexec), so set it to another folder"
}

# build TARGET...: quiet when all is well. One at a time: two makes in one folder get into each other's way.
build() {
    settings_build_dir
    [[ ! -t 2 ]] || make -sq -C "$ROOT" BUILD="$BUILD_DIR" "$@" 2>/dev/null || note "building; from nothing it takes about 20 s"
    flock "$BUILD_DIR/lock" make -s -C "$ROOT" BUILD="$BUILD_DIR" "$@" || die "the build failed; see above"
}

# make_python FOLDER REQUIREMENTS : what the file names, in this folder. Returns 1 where it cannot be had.
make_python() {
    local wanted=$ROOT/$2
    ! cmp -s "$wanted" "$1/requirements.txt" || return 0
    say "installing what $2 names"
    rm -rf -- "$1"
    mkdir -p -- "${1%/*}"
    if ! { /usr/bin/python3 -m venv "$1" && "$1/bin/pip" install -q --no-deps -r "$wanted"; } >"$1.log" 2>&1; then
        say "that failed, $1.log has the reason; the tests that need it are skipped"
        return 1
    fi
    cp -- "$wanted" "$1/requirements.txt"
}

# settings_image_tag: this commit, as git describes it, where IMAGE_TAG does not say another.
settings_image_tag() {
    : "${IMAGE_TAG:=$(git -C "$ROOT" describe --always --dirty 2>/dev/null || say latest)}"
    [[ $IMAGE_TAG =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
        die "IMAGE_TAG is \"$IMAGE_TAG\"; letters, digits, dots, underscores and hyphens are allowed, 128 at most"
}
