#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# What an operator sets and asks for on a host: bad settings and words are refused with one line, and nothing changes.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

@test "a bad setting is refused with one line, and what ran goes on" {
    host plain
    set_setting 'THREADS=none'
    run on_host cgi-message restart
    expect_status 1
    expect_match '^cgi-app: THREADS is "none"[^'$'\n'']*$' "$output"
    set_setting 'BIND=192.0.2.1'
    refuse 1 'nginx refuses its configuration: .*; nothing has changed$' cgi-message configure
    on_host nginx -t -q
    set_setting 'MAX_CLIENTS=5000' # Debian's nginx.conf has 768 worker_connections
    refuse 1 'MAX_CLIENTS is "5000"; set it to at most .*worker_connections' cgi-message configure
    host_answers
    expect_equal 4 "$(on_host sh -c 'ls /run/cgi-message/*.pid | wc -l')"
}

@test "a configure that cannot write all it must (a full disk) leaves what was there" {
    host plain
    local before
    before=$(files_made)
    set_setting 'UPSTREAM_TIMEOUT=7'
    run on_host sh -c 'ulimit -f 2; cgi-message configure' # no file over 1 KiB
    ((status != 0))
    expect_equal "$before" "$(files_made)"
    on_host cgi-message configure
    [[ $(files_made) != "$before" ]]
}

@test "a template that nginx refuses: configure says so in one line, and what was there is there again" {
    host plain
    local before
    before=$(files_made)
    on_host sh -c 'echo "no_such_directive;" >>/usr/share/cgi-message/nginx/edge.conf'
    refuse 1 'nginx refuses its configuration: .*no_such_directive.*; nothing has changed$' cgi-message configure
    expect_equal "$before" "$(files_made)"
    on_host nginx -t -q
    host_answers
}

@test "configure names the worker_shutdown_timeout of an nginx.conf that sets none, and says nothing where it is set" {
    host plain
    run on_host cgi-message configure
    expect_status 0
    expect_equal 1 "${#lines[@]}" "lines of: $output"
    expect_match '^cgi-message: nginx.conf sets no worker_shutdown_timeout.*set it, like 20s$' "$output"
    on_host sed -i '1i worker_shutdown_timeout 20s;' /etc/nginx/nginx.conf
    run on_host cgi-message configure
    expect_status 0
    expect_equal '' "$output"
}

# In each line: the words, and what is said of them.
@test "words that are wrong, empty, repeated or too many are refused with one line that names them and the choices, status 2" {
    host plain
    local before words said
    before=$(files_made)
    refuse 2 'a command is missing' cgi-message
    refuse 2 '"" is no command; configure, start, stop, restart, status and route are' cgi-message ''
    refuse 2 "\"\" is no service; $(service_list) are" cgi-message start '' green /packages/cgi-app
    refuse 2 '"" is no colour of app; blue and green are' cgi-message stop app ''
    refuse 2 '"" is no program; give the path of another build of cgi-app' cgi-message start app green ''
    refuse 2 '"" is no format; --json and --prometheus are' cgi-message status ''
    refuse 2 "\"\" is no service; $(service_list) are" cgi-message route ''
    refuse 2 '"" is no colour of app; blue and green are' cgi-message route app ''
    while IFS='>' read -r words said; do
        # shellcheck disable=SC2086 # words
        refuse 2 "${said/SERVICES/$(service_list)}" cgi-message $words
    done <<'WORDS'
begin>"begin" is no command; configure, start, stop, restart, status and route are
configure now>"now" is one word too many
restart app>"app" is one word too many
status --yaml>"--yaml" is no format; --json and --prometheus are
status --json --json>"--json" is one word too many
start app>a colour is missing
start app green>a program is missing
start app green /bin/true /bin/true>"/bin/true" is one word too many
start front green /bin/true>"front" is no service; SERVICES are
start app blue /packages/cgi-app>blue of app is what is installed; only green
start app green /nowhere>"/nowhere" is no program; give the path of another build of cgi-app
stop app>a colour is missing
stop app blue>blue of app is what is installed; only green
stop app green green>"green" is one word too many
route show show>"show" is one word too many
route app>a colour of app is missing
route front blue>"front" is no service; SERVICES are
route app purple>"purple" is no colour of app; blue and green are
route app blue=many>the weight of blue is "many"; set it to a whole number
route app blue=0>all weights are 0
route app blue=1 green>"green" has no weight
route app blue=1 blue=2>"blue=2" is one word too many
WORDS
    expect_equal "$before" "$(files_made)"
    expect_equal '' "$(on_host sh -c 'ls -d /run/cgi-message/app-green* 2>/dev/null' || true)"
    host_answers
}
