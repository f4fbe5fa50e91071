# shellcheck shell=bash
# Many clients at once, for tests: wrk to a copy that start_stack has started (stack.bash). Each load is bounded.

# load_with CLIENTS SECONDS [SCRIPT] : POSTs on kept connections; its report to $BATS_TEST_TMPDIR/wrk
load_with() {
    wrk -t 2 -c "$1" -d "$2s" --timeout 90s -s "$ROOT/tests/lib/${3:-post}.lua" "$URL/api" \
        >"$BATS_TEST_TMPDIR/wrk" 2>&1 3>&-
}

# expect_no_loss : of the last load: some answers, each a 200, no socket error
expect_no_loss() {
    local report
    report=$(<"$BATS_TEST_TMPDIR/wrk")
    expect_match '[1-9][0-9]* requests in' "$report" &&
        expect_no_match 'Non-2xx|Socket errors|wrong' "$report"
}

# begin_load [SCRIPT] : 64 clients, until end_load; its pid is LOAD
begin_load() {
    load_with 64 120 "${1:-post}" &
    LOAD=$!
    wait_until 10 is_in_log '"status":200.*"user_agent":""' access.log # wrk's
}

# end_load : fails if one request was lost
end_load() {
    kill -INT "$(pgrep -P "$LOAD" -x wrk)"
    wait "$LOAD"
    expect_no_loss
}
