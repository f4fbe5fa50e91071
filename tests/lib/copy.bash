# shellcheck shell=bash
# A copy of the checkout, for tests that change it: what git knows and what is new, and the build. A file says `load lib/copy`,
# after helpers, calls make_copy in setup_file, and in setup use_copy, since helpers sets ROOT anew for each test.

# use_copy DIR : what the tests call ROOT and BUILD_DIR is the copy's
use_copy() {
    export ROOT=$1 BUILD_DIR=$1/build
}

# make_copy DIR : and use it. Times stay, so that make does again only what the test changes.
make_copy() {
    mkdir -p "$1"
    (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null) |
        tar -x -C "$1"
    mkdir "$1/build"
    # What other scripts have built beside it is not copied.
    tar -c -C "$BUILD_DIR" --exclude=./{address*,thread,analysis,coverage,bench,deb,fuzz} . | tar -x -C "$1/build"
    use_copy "$1"
}

# tree_of DIR : a line for each file but the build's: its hash and its name
tree_of() {
    (cd "$1" && find . -path ./build -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
}
