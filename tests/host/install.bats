#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# make install and make uninstall, into folders of a test.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/host

setup() {
    need_usual_build
    dir=$BATS_TEST_TMPDIR/d
}

files_in() {
    (cd "$1" && find . | sort)
}

@test "install puts everything where DESTDIR, PREFIX, SYSCONFDIR, UNITDIR and MODULEDIR say, with no name left to fill in" {
    make_install install DESTDIR="$dir" PREFIX=/opt/x SYSCONFDIR=/conf UNITDIR=/units MODULEDIR=/mods
    local file
    for file in opt/x/sbin/cgi-{app,transform,message} opt/x/share/man/man8/cgi-{app,transform,message}.8 \
        opt/x/share/cgi-message/nginx/site.conf conf/default/cgi-message conf/logrotate.d/cgi-message \
        conf/nginx/sites-available/cgi-message conf/nginx/modules-enabled/50-mod-http-cgi.conf \
        mods/ngx_http_{admission,compose,drain,metrics}_module.so \
        units/cgi-{app@.service,app-green@.service,transform@.service,message.target} \
        opt/x/lib/sysusers.d/cgi-message.conf; do
        [[ -e $dir/$file || -L $dir/$file ]] || { echo "missing: $file" >&2; return 1; }
    done
    expect_equal /opt/x/share/nginx/modules-available/mod-http-cgi.conf \
        "$(readlink "$dir/conf/nginx/modules-enabled/50-mod-http-cgi.conf")"
    expect_match '^load_module /mods/ngx_http_accept_module.so;' "$(<"$dir/opt/x/share/nginx/modules-available/mod-http-cgi.conf")"
    expect_match 'EnvironmentFile=-/conf/default/cgi-message' "$(<"$dir/units/cgi-app@.service")"
    run grep -rIE '@[A-Z]+@|/usr/local' "$dir"
    expect_status 1
    "$dir/opt/x/sbin/cgi-transform" -t
}

@test "without a word, it goes to /usr/local, /etc, and their systemd and nginx" {
    make_install install DESTDIR="$dir"
    [[ -x $dir/usr/local/sbin/cgi-message && -e $dir/usr/local/lib/systemd/system/cgi-app@.service ]]
    expect_match 'load_module /usr/local/lib/nginx/modules/' "$(<"$dir/usr/local/share/nginx/modules-available/mod-http-cgi.conf")"
}

@test "nginx's files are those of scripts/run: each that it has, but nginx.conf, is installed as it stands" {
    make_install install DESTDIR="$dir" PREFIX=/usr
    run diff -r "$ROOT/nginx" "$dir/usr/share/cgi-message/nginx"
    expect_equal 'Dockerfile accept admission compose drain entrypoint logpipe metrics nginx.conf' \
        "$(sed -nE "s#^Only in $ROOT/nginx: ##p" <<<"$output" | LC_ALL=C sort | xargs)" "$output"
    expect_no_match 'diff|Only in [^:]*share' "$output"
}

@test "a second install keeps the operator's settings" {
    make_install install DESTDIR="$dir"
    echo THREADS=7 >"$dir/etc/default/cgi-message"
    make_install install DESTDIR="$dir"
    expect_equal THREADS=7 "$(<"$dir/etc/default/cgi-message")"
}

@test "uninstall leaves what was there before, and nothing else" {
    mkdir -p "$dir"/{usr/local/sbin,etc/nginx/sites-enabled,etc/systemd/system/multi-user.target.wants,var/log/nginx,var/lib,run}
    touch "$dir"/{usr/local/sbin/other,etc/nginx/nginx.conf,var/log/nginx/access.log}
    local before
    before=$(files_in "$dir")
    make_install install DESTDIR="$dir"
    make_install install DESTDIR="$dir"
    ln -s ../sites-available/cgi-message "$dir/etc/nginx/sites-enabled/cgi-message"
    mkdir -p "$dir"/var/{lib,log}/cgi-message "$dir/run/cgi-message/app-1" # what cgi-message makes
    touch "$dir/var/lib/cgi-message/made"
    mkdir "$dir/etc/systemd/system/cgi-message.target.wants" # systemctl enable, and cgi-message start app green
    ln -s x "$dir/etc/systemd/system/cgi-message.target.wants/cgi-app-green@1.service"
    ln -s x "$dir/etc/systemd/system/multi-user.target.wants/cgi-message.target"
    make_install uninstall DESTDIR="$dir"
    expect_equal "$before" "$(files_in "$dir")"
    make_install uninstall DESTDIR="$dir"
}

@test "what cannot be installed ends with a failure that names it" {
    mkdir -p "$dir/usr"
    touch "$dir/usr/local"
    run make_install install DESTDIR="$dir"
    ((status != 0))
    expect_match "$dir/usr/local" "$output"
}

@test "man pages: no complaint of mandoc or man" {
    make_install install DESTDIR="$dir"
    local page said
    for page in "$dir"/usr/local/share/man/man8/*.8; do
        # The pages that a page names need not be installed where it is checked.
        said=$(mandoc -T lint "$page" | grep -v 'referenced manual not found') || true
        expect_equal '' "$said" "mandoc on ${page##*/}"
        said=$(man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)
        expect_equal '' "$said" "man on ${page##*/}"
    done
}

@test "the logrotate file is taken as it is" {
    make_install install DESTDIR="$dir"
    run logrotate -d "$dir/etc/logrotate.d/cgi-message"
    expect_status 0
    expect_no_match 'error:' "$output"
}

@test "no code that builds or installs packages is installed, and each file that the command sources is" {
    make_install install DESTDIR="$dir" PREFIX=/usr
    run grep -rlE 'apt-get|pip install|make -s' "$dir/usr/share/cgi-message" "$dir/usr/sbin/cgi-message"
    expect_equal '' "$output"
    sed -i "s#/usr/share#$dir/usr/share#" "$dir/usr/sbin/cgi-message"
    expect_match '^usage: cgi-message' "$("$dir/usr/sbin/cgi-message" --help)"
}

# checkout_with_probe : this repository with a third service in its list, in $BATS_TEST_TMPDIR/copy
checkout_with_probe() {
    copy=$BATS_TEST_TMPDIR/copy
    mkdir "$copy"
    tar -C "$ROOT" --exclude=./.git --exclude=./build --exclude=./run -c . | tar -C "$copy" -x
    echo 'probe 9002 3 128 128 nginx /probe' >>"$copy/services"
    cp -r "$copy/cgi-transform" "$copy/cgi-probe"
    mkdir "$copy/build"
    cp "$BUILD_DIR"/{cgi-app,cgi-transform,*.so} "$copy/build/"
    cp "$BUILD_DIR/cgi-transform" "$copy/build/cgi-probe"
}

@test "a service that is new in the list has its program, units, page and part of the target; uninstall takes them away" {
    local file
    checkout_with_probe
    BUILD=$copy/build DESTDIR=$dir PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/units MODULEDIR=/mods "$copy/host/install" install
    for file in usr/sbin/cgi-probe units/cgi-probe{,-green}@.service usr/share/man/man8/cgi-probe.8; do
        [[ -e $dir/$file ]] || { echo "missing: $file" >&2; return 1; }
    done
    expect_match 'Wants=cgi-app@1.service .* cgi-probe@1.service cgi-probe@2.service cgi-probe@3.service'$'\n' \
        "$(<"$dir/units/cgi-message.target")"
    expect_match 'scripts/serve /run/cgi-message/probe-green-%i/socket 0660 /var/lib/cgi-message/bin/probe-green/cgi-probe' \
        "$(<"$dir/units/cgi-probe-green@.service")"
    expect_match '^.Dt CGI-PROBE 8' "$(grep ^.Dt "$dir/usr/share/man/man8/cgi-probe.8")"
    BUILD=$copy/build DESTDIR=$dir PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/units MODULEDIR=/mods "$copy/host/install" uninstall
    expect_equal . "$(files_in "$dir" | xargs)"
}

@test "each setting that scripts/run knows is in the settings file, with its default, which is the true one" {
    local table name
    # Those that the scripts fill in have what comes of it; of the others the table has the default.
    table=$(bash -c 'source "$1"; settings_numbers
        for name in "${SETTING_NAMES[@]}"; do
            value=${!name-${DEFAULT[$name]/#-/}}
            [[ $value != *" "* ]] || value="\"$value\""
            echo "#$name=$value"
        done' \
        x "$ROOT/scripts/lib/develop.sh")
    expect_match 'APP_INSTANCES=2' "$table"
    while read -r name; do
        grep -qxF -- "$name" "$ROOT/host/settings" || { echo "not there: $name" >&2; return 1; }
    done <<<"$table"
}
