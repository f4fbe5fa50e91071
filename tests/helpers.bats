#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2034,SC2154 # set here for stack.bash, or by bats' `run` for here
# The tests' own expect_*: what each takes, and what each prints when it fails. Checked without them.
# sanitizers: none

bats_require_minimum_version 1.5.0
load lib/helpers
load lib/stack
load lib/load

# printed COMMAND... : its status, and what it prints to standard output and to standard error, to the last byte
printed() {
    local ended=0
    "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || ended=$?
    printf '%s [%s][%s]' "$ended" "$(<"$BATS_TEST_TMPDIR/out")" "$(<"$BATS_TEST_TMPDIR/err")"
}

# passes COMMAND... : it succeeds, and prints nothing
passes() {
    local all
    all=$(printed "$@")
    [[ $all == '0 [][]' ]] || { printf '%s:\n%s\n' "$*" "$all" && return 1; }
}

# fails TEXT COMMAND... : it ends with 1, and prints this, all of it to standard error
fails() {
    local all
    all=$(printed "${@:2}")
    [[ $all == "1 [][$1]" ]] || { printf '%s:\n%s\n' "${*:2}" "$all" && return 1; }
}

@test "expect_equal: the same text, whatever is in it; else it shows both, under the name that it was given" {
    passes expect_equal abc abc
    passes expect_equal '' ''
    passes expect_equal $'a *\n[b]?' $'a *\n[b]?'
    fails $'not equal\n  expected: abc\n  actual:   abd' expect_equal abc abd
    fails $'lines\n  expected: 1\n  actual:   ' expect_equal 1 '' lines
    fails $'not equal\n  expected: a*\n  actual:   abc' expect_equal 'a*' abc
    fails $'not equal\n  expected: 1\n  actual:   01' expect_equal 1 01
}

@test "expect_match: the regular expression matches a part; else it shows both; its groups can be used" {
    passes expect_match '^a.c$' abc
    passes expect_match 'b|x' abc
    passes expect_match '^two$|two' $'one\ntwo'
    fails $'no match\n  expected a match of: ^b\n  actual:              abc' expect_match '^b' abc
    fails $'detail of 400\n  expected a match of: .\n  actual:              ' expect_match . '' 'detail of 400'
    expect_match 'a(.)c' abc
    [[ ${BASH_REMATCH[1]} == b ]]
}

@test "expect_no_match: the regular expression matches no part; else, or if it is none, it shows both" {
    passes expect_no_match '^b' abc
    passes expect_no_match . ''
    fails $'a match\n  expected no match of: b\n  actual:               abc' expect_no_match b abc
    fails $'in the log\n  expected no match of: b\n  actual:               abc' expect_no_match b abc 'in the log'
    fails $'a match\n  expected no match of: (\n  actual:               abc' expect_no_match '(' abc
}

@test "expect_status: of the last run; else it shows both, and what was printed" {
    run bash -c 'echo some; echo words >&2; exit 3'
    passes expect_status 3
    fails $'exit status\n  expected: 0\n  actual:   3\nit printed:\nsome\nwords' expect_status 0
    run true
    passes expect_status 0
    fails $'exit status\n  expected: 1\n  actual:   0\nit printed:' expect_status 1
}

# ---- of a reply (stack.bash) ----

# reply CODE TYPE BODY : as request leaves it
reply() {
    code=$1 body=$3
    printf -v head 'HTTP/1.1 %s x\nContent-Type: %s' "$1" "$2"
}

@test "expect_reply: the code, and a regular expression that matches the body; else it shows all of the reply" {
    reply 200 text/plain 'some text'
    passes expect_reply 200
    passes expect_reply 200 '^some'
    fails $'reply\n  expected: 404 \n  actual:   200 some text\nHTTP/1.1 200 x\nContent-Type: text/plain' expect_reply 404
    fails $'reply\n  expected: 200 ^text\n  actual:   200 some text\nHTTP/1.1 200 x\nContent-Type: text/plain' \
        expect_reply 200 '^text'
}

@test "expect_problem: problem+json with this status and all members, and a detail that matches" {
    local problem='{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing here"}'
    reply 404 application/problem+json "$problem"
    passes expect_problem 404
    passes expect_problem 404 '^nothing'
    fails $'detail\n  expected a match of: something\n  actual:              nothing here' expect_problem 404 something
    run expect_problem 400
    [[ $status == 1 && $output == $'reply\n  expected: 400 \n  actual:   404 '* ]]
    reply 404 text/html "$problem"
    fails $'Content-Type\n  expected: application/problem+json\n  actual:   text/html' expect_problem 404
    reply 404 application/problem+json "${problem/404/400}"
    run expect_problem 404
    [[ $status == 1 && $output == *'status in the body: 400'* ]]
    reply 404 application/problem+json "${problem/,\"detail\"*/\}}"
    run expect_problem 404
    [[ $status == 1 && $output == *"members: ['status', 'title', 'type']"* ]]
}

@test "expect_sample: a 200 of which the filter in the file sample is true; else it shows the filter and the answer" {
    SAMPLE_ANSWER='.message == "right"' # "" is no answer, nor are two
    reply 200 application/json '{"message":"right"}'
    passes expect_sample
    reply 200 application/json '{"message":"wrong"}'
    fails $'answer to the sample\n  expected: .message == "right"\n  actual:   {"message":"wrong"}' expect_sample
    reply 200 application/json ''
    fails $'answer to the sample\n  expected: .message == "right"\n  actual:   ' expect_sample
    reply 200 application/json '{"message":"ri'
    fails $'answer to the sample\n  expected: .message == "right"\n  actual:   {"message":"ri' expect_sample
    reply 200 application/json '{"message":"wrong"}{"message":"right"}'
    fails $'answer to the sample\n  expected: .message == "right"\n  actual:   {"message":"wrong"}{"message":"right"}' \
        expect_sample
    reply 502 application/json '{"message":"right"}'
    run expect_sample
    [[ $status == 1 && $output == $'reply\n  expected: 200 \n  actual:   502 '* ]]
}

# ---- of a load (load.bash) ----

# report LINE... : as wrk writes it
report() {
    printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/wrk"
}

@test "expect_no_loss: some answers, each a 200 and right, and no socket error; else it shows wrk's report" {
    report '  1234 requests in 2.00s, 1.00MB read'
    passes expect_no_loss
    local lost
    for lost in '  Non-2xx or 3xx responses: 1' '  Socket errors: connect 0, read 1, write 0, timeout 0' 'wrong answer: x'; do
        report '  1234 requests in 2.00s, 1.00MB read' "$lost"
        fails $'a match\n  expected no match of: Non-2xx|Socket errors|wrong\n  actual:               '"$(<"$BATS_TEST_TMPDIR/wrk")" \
            expect_no_loss
    done
    report '  0 requests in 2.00s, 0.00B read'
    fails $'no match\n  expected a match of: [1-9][0-9]* requests in\n  actual:                0 requests in 2.00s, 0.00B read' \
        expect_no_loss
}

teardown() {
    end_nginx
}

end_nginx() {
    [[ ! -s $BATS_TEST_TMPDIR/pid ]] || kill "$(<"$BATS_TEST_TMPDIR/pid")"
    wait
}

# serve_answers MESSAGE... : nginx gives one of these messages to each call, as app's frame has it; sets URL
# shellcheck disable=SC2016 # nginx's names
serve_answers() {
    local dir=$BATS_TEST_TMPDIR port
    port=$(free_port)
    URL=http://127.0.0.1:$port
    {
        printf 'daemon off; master_process off; pid %s/pid; events {} http { access_log off; client_max_body_size 1m;\n' "$dir"
        printf '%s_temp_path %s/t;\n' client_body "$dir" proxy "$dir" fastcgi "$dir" uwsgi "$dir" scgi "$dir"
        printf 'split_clients $request_id $message { 50%% %s; * %s; }\n' "$1" "${2-$1}"
        printf 'server { listen 127.0.0.1:%s; location / {\n' "$port"
        printf "return 200 '%s'; } } }\n" '{"message":"$message","rand":0.$connection_requests}'
    } >"$dir/conf"
    nginx -e "$dir/log" -c "$dir/conf" 3>&- &
    wait_until 5 curl -s -o "$dir/first" "$URL"
}

# wrong_by SCRIPT : how many lines of wrk's report say so
wrong_by() {
    load_with 2 1 "$1"
    grep -c '^wrong' "$BATS_TEST_TMPDIR/wrk" || true
}

@test "a load's answers are all as the first but for rand; another, or a part of one, is said to be wrong" {
    local script
    for script in post post-large; do
        serve_answers olé
        [[ $(wrong_by "$script") == 0 ]]
        expect_no_loss
        end_nginx
        serve_answers whole who
        (($(wrong_by "$script") > 0))
        run expect_no_loss
        [[ $status == 1 ]]
        end_nginx
    done
}
