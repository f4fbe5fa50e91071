# shellcheck shell=bash
# A fresh minimal machine of a release of Debian, as a container, for tests: what an operator types there. A file says
# `load ../lib/fresh`, after helpers and containers.
# shellcheck disable=SC2154 # bats' `run` sets what it sets

# start_fresh SUITE : FRESH, the container, with a copy of this checkout in /srv/cgi, and nothing installed
start_fresh() {
    ! why_no_containers >/dev/null || return 0
    export FRESH=fresh-$1-$$
    make_root "$1" "local/$FRESH"
    # What dpkg and the compiler write is in volumes: the engine's layers can be slow. bash buries whom nobody else does.
    docker run -d --name "$FRESH" -v /usr -v /var -v /srv -v /tmp -w /srv/cgi "local/$FRESH" \
        bash -c 'while sleep 60; do :; done' >/dev/null
    (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null) |
        in_fresh tar -x -C /srv/cgi
}

end_fresh() {
    ! why_no_containers >/dev/null || return 0
    docker rm -f -v "$FRESH" >/dev/null
    docker image rm "local/$FRESH" >/dev/null
}

# in_fresh COMMAND...
in_fresh() {
    docker exec -i "$FRESH" "$@" 3>&-
}

# expect_answer : `run -d` installs, builds and starts, and says what it says on this machine, to the line; `stop` ends it
expect_answer() {
    run in_fresh ./scripts/run -d </dev/null
    expect_status 0 || return
    expect_match '^installing what is missing: gcc [a-z -]*' "${lines[0]}" || return
    expect_match '^\$ curl -d ' "${lines[1]}" || return
    is_sample_answer "${lines[2]}" || return
    expect_match '^a page: ' "${lines[3]}" || return
    expect_equal 4 "${#lines[@]}" "lines of $output" || return
    expect_equal '' "$(in_fresh grep -E '\[(warn|error|alert|emerg)\]' run/log/{error,nginx}.log)" || return
    run in_fresh ./scripts/stop </dev/null
    expect_equal '' "$output"
}

# expect_core_tests : those of the contract, of reading messages, and of reversal
expect_core_tests() {
    run in_fresh ./scripts/test tests/{api,cgi,grapheme,message,transform}.bats </dev/null
    expect_status 0 || return
    expect_match '[1-9][0-9]* passed, 0 failed, 0 skipped' "${lines[-1]}"
}
