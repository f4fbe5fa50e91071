# shellcheck shell=bash
# A copy of the checkout, for tests that change it: what git knows and what is new, and the build. A file says `load lib/copy`,
# after helpers and stack, and calls make_copy in setup_file.

# make_copy DIR : ROOT and BUILD_DIR are the copy's from then on. Times stay, so make does again only what the test changes.
make_copy() {
    mkdir -p "$1"
    (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null) |
        tar -x -C "$1"
    cp -a "$BUILD_DIR" "$1/build"
    export ROOT=$1 BUILD_DIR=$1/build
}

# tree_of DIR : a line for each file but the build's: its hash and its name
tree_of() {
    (cd "$1" && find . -path ./build -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
}
