#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2016,SC2034 # nginx has variables, too; not each loop needs its own
# The nginx module compose in configurations that are not ours: other directives, other modules, services that answer badly
# (lib/parts.py) and clients that do not stay. What it makes of good frames is tested by compose.bats.
# sanitizers: address

load lib/helpers

PARTS="$ROOT/tests/lib/parts.py"

# fastcgi PREFIX DIRECTIVE... : locations below PREFIX that the service answers, as the directives say
fastcgi() {
    printf '%s\n' "location $1/ { fastcgi_param SCRIPT_NAME \$uri; fastcgi_param REQUEST_METHOD \$request_method;" \
        "fastcgi_pass unix:$RUN_DIR/parts.sock; ${*:2} }"
}

# composed NAME URI [DIRECTIVE...] : /NAME composes URI; /in/NAME composes a frame with a tag for URI
composed() {
    printf '%s\n' "location = /$1    { compose \"$2\"; ${*:3} }" "location = /in/$1 { compose /tag/$1; ${*:3} }" \
        "location = /tag/$1 { return 200 'a<!--# include virtual=\"$2\" -->b'; }"
}

# composed_all PREFIX : PREFIX-NAME and in/PREFIX-NAME for each answer of the service
composed_all() {
    local name
    while read -r name; do
        composed "$1-$name" "/$1/$name"
    done < <(sed -n 's/^    "\([a-z0-9-]*\)": .*/\1/p' "$PARTS")
}

# locations : what the tests ask for
locations() {
    fastcgi /kept 'fastcgi_keep_conn on; subrequest_output_buffer_size 64k;'
    fastcgi /closed
    fastcgi /unbuffered 'fastcgi_buffering off;'
    fastcgi /unbuffered-kept 'fastcgi_buffering off; fastcgi_keep_conn on;'
    fastcgi /cached 'fastcgi_keep_conn on; fastcgi_cache answers; fastcgi_cache_key $uri; fastcgi_cache_valid any 1h;' \
        'log_subrequest on;'
    fastcgi /patient 'fastcgi_ignore_client_abort on; subrequest_output_buffer_size 16m; fastcgi_buffers 100 64k;'
    local prefix status
    for prefix in kept closed unbuffered unbuffered-kept cached patient; do composed_all "$prefix"; done
    for status in 408 444 499 404 500; do
        composed "return-$status" "/status/$status"
        echo "location = /status/$status { return $status; }"
    done
    composed large /large.txt
    composed large-constant /constant/large
    echo "location = /constant/large { return 200 '$(printf 'x%.0s' {1..3000})'; subrequest_output_buffer_size 2k; }"
    composed file /file.txt
    composed moved /constant/moved
    echo "location = /constant/moved { return 302 http://there/; }"
    echo "location ~ \\.(txt|shtml)\$ { root $RUN_DIR; ssi on; ssi_types *; }"
    composed upper /in/file
    composed upper-cut /kept-cut
    composed arguments '/constant/arguments?x=1&y=%2f'
    composed escaped '/%70art'
    echo "location = /part      { return 200 part; }"
    echo "location = /constant/arguments { return 200 \"[\$uri \$args]\"; }"
    echo "location = /self      { compose /self; }"
    echo "location = /round     { compose /in/round-about; }"
    composed round-about /round
    echo "location = /mirrored  { mirror /in/file; mirror /mirrored.shtml; mirror_request_body off; alias $RUN_DIR/file.txt; }"
    echo "location = /added     { addition_types *; add_before_body /in/file; add_after_body /in/file; return 200 '|'; }"
    echo "location = /if        { if (\$arg_x) { set \$y 1; } compose /tag/kept-whole; }"
    echo "location = /limited   { limit_except GET { allow all; } compose /tag/kept-whole; }"
    echo "location = /zipped    { gzip on; gzip_types *; gzip_min_length 1; compose /kept/encoded; }"
    echo "location = /count     { stub_status; }"
}

# write_files : what they serve beside that
write_files() {
    head -c 100000 /dev/zero | tr '\0' x >"$RUN_DIR/large.txt"
    printf file >"$RUN_DIR/file.txt"
    printf '%s' '1<!--# include virtual="/in/file" -->2<!--# include virtual="/file" -->3' >"$RUN_DIR/mirrored.shtml"
    printf '%s' '1<!--# include virtual="/in/kept-slow" -->2<!--# include virtual="/in/upper" -->' \
        '3<!--# include virtual="/upper" -->4<!--# include virtual="/in/kept-cut" -->5' >"$RUN_DIR/page.shtml"
    printf '%s' '1<!--# include virtual="/in/file" wait="yes" -->2<!--# include virtual="/in/kept-slow" wait="yes" -->3' \
        >"$RUN_DIR/waits.shtml"
}

setup_file() {
    export RUN_DIR=$BATS_FILE_TMPDIR/n
    PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    export PORT
    mkdir -p "$RUN_DIR"
    write_files
    cat >"$RUN_DIR/nginx.conf" <<CONF
load_module $BUILD_DIR/ngx_http_compose_module.so;
daemon off;
master_process off;
pid $RUN_DIR/nginx.pid;
error_log $RUN_DIR/error.log info;
error_log $RUN_DIR/debug.log debug;
events {}
http {
    default_type text/plain;
    log_format status '\$status \$uri \$upstream_cache_status';
    access_log $RUN_DIR/access.log status;
    client_body_temp_path $RUN_DIR/body; proxy_temp_path $RUN_DIR/proxy; fastcgi_temp_path $RUN_DIR/fastcgi;
    uwsgi_temp_path $RUN_DIR/uwsgi; scgi_temp_path $RUN_DIR/scgi;
    fastcgi_cache_path $RUN_DIR/cache keys_zone=answers:1m;
    server {
        listen unix:$RUN_DIR/nginx.sock;
        listen 127.0.0.1:$PORT;
        error_page 500 502 504 /problem;
        location = /problem { internal; return 200 "problem \$status"; }
        $(locations)
    }
}
CONF
    python3 "$PARTS" serve "$RUN_DIR/parts.sock" 3>&- &
    echo $! >"$RUN_DIR/parts.pid"
    nginx -e "$RUN_DIR/error.log" -c "$RUN_DIR/nginx.conf" 3>&- &
    wait_until 10 is_listening "$RUN_DIR/nginx.sock"
    wait_until 10 is_listening "$RUN_DIR/parts.sock"
}

teardown_file() {
    local pid
    kill "$(<"$RUN_DIR/parts.pid")"
    pid=$(<"$RUN_DIR/nginx.pid")
    kill -QUIT "$pid"
    wait_until 10 is_gone "$pid"
    expect_equal '' "$(grep -E '\[(alert|emerg|crit)\]' "$RUN_DIR/error.log")" "in the log"
}

# get PATH [CURL OPTION...] : sets answer: the status and the body; the headers are in $BATS_TEST_TMPDIR/head
get() {
    rm -f "$BATS_TEST_TMPDIR/body"
    answer=$(curl -sS --max-time 10 --unix-socket "$RUN_DIR/nginx.sock" -o "$BATS_TEST_TMPDIR/body" \
        -D "$BATS_TEST_TMPDIR/head" -w '%{http_code} ' "${@:2}" "http://x$1")
    [[ ! -e $BATS_TEST_TMPDIR/body ]] || answer+=$(<"$BATS_TEST_TMPDIR/body")
}

# expect PATH ANSWER [CURL OPTION...] : and what is asked next on the connection is answered there
expect() {
    get "$1" "${@:3}"
    expect_equal "$2" "$answer" "answer of $1 ${*:3}"
    local next
    next=$(curl -sS --max-time 10 --unix-socket "$RUN_DIR/nginx.sock" "${@:3}" -o /dev/null "http://x$1" \
        --next -sS --max-time 10 --unix-socket "$RUN_DIR/nginx.sock" -w ' %{num_connects}' http://x/file.txt)
    expect_equal 'file 0' "$next" "next answer, behind $1 ${*:3}"
}

# expect_part NAME ANSWER : as the frame, and in a frame
expect_part() {
    expect "/$1" "$2"
    if [[ $2 == 200\ * ]]; then expect "/in/$1" "200 a${2#200 }b"; else expect "/in/$1" '502 problem 502'; fi
}

# logged REGEX : lines of the error log that match
logged() {
    grep -cE "$1" "$RUN_DIR/error.log" || true
}

@test "an answer that is larger than the buffer is a 502, once, and the log says what its size is" {
    local name before
    for name in large large-constant kept-large closed-large unbuffered-large cached-large; do
        before=$(logged 'compose: the answer of .* is not taken; subrequest_output_buffer_size is [0-9]+ there')
        expect_part "$name" '502 problem 502'
        expect_equal 4 $(($(logged 'is not taken; subrequest') - before)) "lines about $name"
    done
    expect_equal 4 "$(logged '"/constant/large" is not taken; subrequest_output_buffer_size is 2048 there')"
    expect_equal 4 "$(logged '"/kept/large" is not taken; subrequest_output_buffer_size is 65536 there')"
}

@test "a status with which nginx would close the client's connection is a 502" {
    expect_part return-408 '502 problem 502'
    expect_part return-444 '502 problem 502'
    expect_part return-499 '502 problem 502'
    expect_part return-404 "$(get /status/404; echo "$answer")"
    expect /kept-status-408 '408 late'
    expect /in/kept-status-408 '502 problem 502'
}

@test "a whole answer is taken however it came: kept and closed connections, not buffered, from the cache, by a redirect" {
    local how
    for how in kept closed unbuffered unbuffered-kept cached cached patient; do
        expect_part "$how-whole" '200 whole'
        expect_part "$how-whole-with-length" '200 whole'
        expect_part "$how-elsewhere" '200 file'
    done
    expect_match '^[1-9]' "$(grep -c '^200 /cached/whole HIT' "$RUN_DIR/access.log")" "hits"
    expect_part file '200 file'
}

@test "a cut answer is a 502, however it came" {
    local how what
    for how in kept closed unbuffered unbuffered-kept cached patient; do
        for what in cut cut-with-length cut-in-record end-too-early no-head; do
            expect_part "$how-$what" '502 problem 502'
        done
        get "/$how-status-204"
        expect_equal '204 ' "$answer" "204 by $how"
        get "/$how-status-304"
        expect_equal '304 ' "$answer" "304 by $how"
        expect "/in/$how-status-204" '502 problem 502'
    done
}

@test "an answer that is longer than its Content-Length is a 502, and so is one that is none yet" {
    local how
    for how in kept unbuffered unbuffered-kept; do expect_part "$how-longer-than-said" '502 problem 502'; done
    for how in kept closed unbuffered unbuffered-kept patient; do expect_part "$how-status-100" '502 problem 502'; done
}

@test "inside SSI and addition the answer goes on behind it, and the connection has its next answer" {
    local i
    for i in 1 2 3; do expect /page.shtml '200 1aslowb2aafilebb3afileb4problem 5025'; done
    expect /waits.shtml '200 1afileb2aslowb3'
    expect /added '200 afileb|afileb'
}

@test "conditions and ranges are for stored files: the answer is whole, whatever the client has" {
    local header method
    for header in 'If-None-Match: *' 'If-None-Match: "x"' 'If-Match: "y"' 'If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT' \
        'If-Unmodified-Since: Thu, 01 Jan 2015 00:00:00 GMT' 'Range: bytes=0-0' 'Range: bytes=9-'; do
        for method in GET POST; do
            expect /in/kept-whole '200 awholeb' -X "$method" -H "$header"
            expect /kept-whole '200 whole' -X "$method" -H "$header" -H 'If-Range: "x"'
        done
    done
    expect /file '200 file' -H 'If-None-Match: *'
    expect /file '200 file' -H 'Range: bytes=0-0'
    expect /kept-validators '200 apart'
    expect_no_match '[Ee][Tt]ag|Last-Modified|Accept-Ranges' "$(<"$BATS_TEST_TMPDIR/head")"
}

@test "the frame's headers are where nginx looks for them: it encodes nothing twice, and knows where a redirect goes" {
    get /zipped -H 'Accept-Encoding: gzip'
    expect_equal '200 whole' "$answer"
    expect_equal 1 "$(grep -c '^Content-Encoding: gzip' "$BATS_TEST_TMPDIR/head")"
    expect /in/kept-encoded '502 problem 502'
    get /moved
    expect_match $'Location: http://there/\r' "$(<"$BATS_TEST_TMPDIR/head")" 
    get /kept-moved
    expect_match $'302.*Location: http://there/\r' "$(tr -d '\n' <"$BATS_TEST_TMPDIR/head")"
}

# is_alone : this is the one connection that nginx has
is_alone() {
    [[ $(curl -sS --unix-socket "$RUN_DIR/nginx.sock" http://x/count) == 'Active connections: 1 '* ]]
}

@test "a mirror asks for it in vain, and keeps neither the request nor the connection" {
    local i
    for i in 1 2 3; do expect /mirrored '200 file'; done
    wait_until 5 is_alone
    expect_match '^[1-9]' "$(logged '"/in/file" cannot be made in a background request')"
}

@test "what is called may be composed itself; a location of itself is an error, and said so" {
    expect_part upper '200 afileb'
    expect /upper-cut '502 problem 502'
    expect_part upper-cut '502 problem 502'
    get /self
    expect_equal '500 problem 500' "$answer"
    expect /round '502 problem 502'
    expect /in/round-about '502 problem 502'
    expect_equal 1 "$(logged '"/self" cannot be made of itself')"
}

@test "the directive's URI is read as a tag's: arguments, escapes; with if and limit_except, too" {
    expect_part arguments '200 [/constant/arguments x=1&y=%2f]'
    expect_part escaped '200 part'
    expect /if '200 awholeb'
    expect '/if?x=1' '200 awholeb'
    expect /limited '200 awholeb'
    expect /limited '200 awholeb' -d body
}

@test "a client that ends its side after its request gets its answer, also a long one" {
    run python3 "$PARTS" ended "$RUN_DIR/nginx.sock" /in/patient-slow
    expect_match 'aslowb$' "$output"
    python3 "$PARTS" slowly "$RUN_DIR/nginx.sock" /in/patient-very-large >"$BATS_TEST_TMPDIR/all"
    expect_equal 8000002 "$(grep -ao '[abx]*$' "$BATS_TEST_TMPDIR/all" | tr -d '\n' | wc -c)"
    expect_equal 0 "$(grep -c '^499' "$RUN_DIR/access.log")"
}

# has_left PATH : nginx has seen that its client has
has_left() {
    grep -q "^499 $1 " "$RUN_DIR/access.log"
}

@test "a client that has gone for good ends its request" {
    python3 "$PARTS" reset "127.0.0.1:$PORT" /patient-never
    wait_until 5 has_left /patient-never
    python3 "$PARTS" reset "127.0.0.1:$PORT" /cached-slow # goes on, for the cache
    wait_until 5 has_left /cached-slow
    wait_until 5 is_alone
    expect_equal 0 "$(grep -c '^000' "$RUN_DIR/access.log")" "requests without a status"
}

@test "the debug log follows an answer through its calls" {
    get /in/kept-cut
    local line
    for line in 'compose call "/tag/kept-cut?" r:0' 'compose call done: 0 "/tag/kept-cut" l:1 e:0' \
        'compose call "/kept/cut?" r:0' 'compose call cut "/kept/cut"' 'compose call "/kept/cut?" r:1' \
        'compose end: 502 "/in/kept-cut"'; do
        expect_match '^[1-9]' "$(grep -cF "$line" "$RUN_DIR/debug.log")" "$line"
    done
}
