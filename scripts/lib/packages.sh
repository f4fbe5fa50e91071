# Debian's packages: what each purpose needs, and how what is missing is installed. Sourced after words.sh.
# shellcheck shell=bash

# Debian's packages for each purpose, each with the file or the command that shows it is there.
packages_for() {
    case $1 in
    run)
        printf '%s\n' \
            'gcc cc' 'libc6-dev /usr/include/stdlib.h' 'make make' \
            'libfcgi-dev /usr/include/fcgiapp.h' 'libjansson-dev /usr/include/jansson.h' \
            'libutf8proc-dev /usr/include/utf8proc.h' 'libseccomp-dev /usr/include/seccomp.h' \
            'spawn-fcgi spawn-fcgi' 'multiwatch multiwatch' \
            'nginx nginx' 'nginx-dev /usr/share/nginx/src/conf_flags' 'openssl openssl' 'curl curl' \
            'libfcgi-bin cgi-fcgi' 'jq jq' 'procps ps'
        ;;
    test)
        printf '%s\n' \
            'bats bats' 'parallel parallel' 'python3 python3' 'wrk wrk' \
            'nghttp2-client h2load' 'unicode-data /usr/share/unicode/auxiliary/GraphemeBreakTest.txt' 'prometheus promtool'
        ;;
    lab) # what nginx itself is built with, and clang's sanitizers
        printf '%s\n' \
            'clang clang' 'libclang-rt-dev /usr/share/doc/libclang-rt-dev' 'llvm llvm-symbolizer' \
            'dpkg-dev dpkg-source' 'libpcre2-dev /usr/include/pcre2.h' 'libssl-dev /usr/include/openssl/ssl.h' \
            'zlib1g-dev /usr/include/zlib.h'
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
    kubernetes) # what makes tests/kubernetes/requirements.txt a folder of programs
        printf '%s\n' 'python3-venv /usr/share/doc/python3-venv'
        ;;
    browser) # what looks at the page at /; what makes tests/page/requirements.txt a folder of programs
        printf '%s\n' \
            'chromium chromium' 'chromium-driver chromedriver' 'python3-venv /usr/share/doc/python3-venv'
        ;;
    openapi) # what makes tests/openapi/requirements.txt a folder of programs
        printf '%s\n' 'python3-venv /usr/share/doc/python3-venv'
        ;;
    deb)
        printf '%s\n' 'build-essential /usr/share/build-essential/list' 'debhelper dh' 'dpkg-dev dpkg-buildpackage'
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
