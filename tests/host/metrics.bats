#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154,SC2016 # bats' `run` sets what it sets; $ is for the host
# /_metrics on a host with other sites: where METRICS_LISTEN says, and nowhere else. Nothing of it keeps the host's nginx from
# starting.
# needs: deb host containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers
load ../lib/host

teardown() {
    end_host
}

# page URL
page() {
    on_host curl -q -s --max-time 5 "$1/_metrics"
}

nginx_has_gone() {
    ! on_host pgrep -x nginx >/dev/null
}

# kill_nginx : all of it at once, as when memory is short; it clears nothing away
kill_nginx() {
    on_host pkill -KILL -x nginx
    wait_until 5 nginx_has_gone
}

has_page() {
    [[ $(page "http://$1") == *cgi_http_requests_total* ]]
}

@test "clients get a 404; status does without, and says what to set; with METRICS_LISTEN both have the counts" {
    host plain
    expect_match '"status":404' "$(page http://127.0.0.1:8080)"
    expect_equal '' "$(on_host find /run /var/lib/cgi-message -name 'metrics.sock')"
    run --separate-stderr on_host cgi-message status
    expect_status 0
    expect_match '^cgi-message: .*set METRICS_LISTEN in /etc/default/cgi-message' "$stderr"
    expect_match 'nginx +serving .* -/[0-9]+ +- +- +-$' "${lines[5]}"
    set_setting 'METRICS_LISTEN=127.0.0.1:9113'
    on_host cgi-message configure
    on_host nginx -s reload
    wait_until 10 has_page 127.0.0.1:9113
    expect_match '"status":404' "$(page http://127.0.0.1:8080)"
    run --separate-stderr on_host cgi-message status
    expect_status 0
    expect_equal '' "$stderr"
    expect_match 'nginx +serving .* [1-9][0-9]* +[0-9]+ +[0-9]+$' "${lines[5]}"
    on_host cgi-message configure # the port is its own now
}

@test "nginx killed with -9: the next one starts, with all sites" {
    host plain
    set_setting 'METRICS_LISTEN=127.0.0.1:9113'
    on_host cgi-message configure
    on_host nginx -s reload
    wait_until 10 has_page 127.0.0.1:9113
    kill_nginx
    on_host service nginx start
    wait_until 10 host_answers
    has_page 127.0.0.1:9113
    expect_match 'Welcome to nginx' "$(on_host curl -s http://127.0.0.1/)"
}

@test "an address that is taken, by another site too, or that is none: configure names METRICS_LISTEN; nothing changes" {
    local given before
    host plain
    before=$(files_made)
    for given in 127.0.0.1:80 0.0.0.0:80 '[::]:80' '[::1]:80'; do # Debian's default site
        set_setting "METRICS_LISTEN=$given"
        refuse 1 'METRICS_LISTEN is .*; something listens on that port already' cgi-message configure
    done
    set_setting 'METRICS_LISTEN=127.0.0.1:8080'
    refuse 1 'METRICS_LISTEN is .*which is another port of nginx' cgi-message configure
    set_setting 'METRICS_LISTEN=192.0.2.1:9113'
    refuse 1 'METRICS_LISTEN is "192.0.2.1:9113"; nginx cannot listen there: .*; nothing has changed$' cgi-message configure
    set_setting 'METRICS_LISTEN=9113'
    refuse 1 'METRICS_LISTEN is "9113"; set it to ' cgi-message configure
    expect_equal "$before" "$(files_made)"
    on_host nginx -t -q
    host_answers
}
