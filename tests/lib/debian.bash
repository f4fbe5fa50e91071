# shellcheck shell=bash
# Packages of other releases of Debian than this machine's, unpacked where they disturb nothing, for tests.

# debian_mirror : where this machine has its own packages from
debian_mirror() {
    # shellcheck disable=SC2016 # apt's
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | sort -u |
        grep -v security | head -n 1
}

# apt_of RELEASE FOLDER WORDS... : apt-get that knows this release alone, with its state in the FOLDER
apt_of() {
    local folder=$2
    mkdir -p "$folder"/{lists,archives}/partial
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg target=Packages lang=none] %s %s main\n' \
        "$(debian_mirror)" "$1" >"$folder/sources.list"
    apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State="$folder" \
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder" -o APT::Sandbox::User=root "${@:3}"
}

# unpack_debian RELEASE PACKAGE FOLDER : its files; what was unpacked before is kept. Returns 1 where it cannot be had.
unpack_debian() (
    [[ ! -e $3 ]] || return 0
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    cd "$work" || exit
    { apt_of "$1" "$work/apt" update && apt_of "$1" "$work/apt" download "$2" && dpkg-deb -x "$2"_*.deb files; } >&2 || return
    mkdir -p "${3%/*}"
    mv files "$3"
)
