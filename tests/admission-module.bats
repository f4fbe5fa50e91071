#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2016,SC2034 # nginx has variables, too; not each loop needs its own
# The nginx module admission (nginx/admission) alone, in configurations that are not ours: who has its turn when, what becomes of
# clients that leave, and what it does beside other directives. lib/gate.py is what is called: it answers when it is told to.
# sanitizers: address

load lib/helpers

# configure NAME HTTP SERVER : the lines of http {} and server {}; sets DIR, SOCKET, PORT1, and PORT2, where HTTP/2 is spoken
configure() {
    DIR=$BATS_TEST_TMPDIR/$1 SOCKET=$BATS_TEST_TMPDIR/$1/s
    mkdir -p "$DIR"
    PORT1=$(python3 "$ROOT/tests/lib/http.py" free-port)
    PORT2=$(python3 "$ROOT/tests/lib/http.py" free-port)
    local user=
    ((EUID != 0)) || user='user root;' # whose folder this is
    cat >"$DIR/conf" <<CONF
load_module $BUILD_DIR/ngx_http_admission_module.so;
$user
pid $DIR/pid;
error_log $DIR/error.log info;
error_log $DIR/debug.log debug;
worker_processes ${WORKERS:-1};
events {}
http {
    access_log $DIR/access.log;
    client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f; uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/c;
    $2
    server {
        listen unix:$SOCKET;
        listen 127.0.0.1:$PORT1 sndbuf=32k;
        listen 127.0.0.1:$PORT2 http2;
        proxy_ignore_client_abort on;
        $3
    }
}
CONF
}

# start : nginx and the gate
start() {
    python3 "$ROOT/tests/lib/gate.py" "$DIR/gate" "$DIR" 3>&- &
    echo $! >"$DIR/gate.pid"
    nginx -e "$DIR/error.log" -c "$DIR/conf" 3>&-
    wait_until 5 is_listening "$SOCKET"
    wait_until 5 is_listening "$DIR/gate"
    touch "$DIR/arrived"
}

teardown() {
    local pid
    for pid in "$BATS_TEST_TMPDIR"/*/pid; do
        [[ -e $pid ]] || continue
        pid=$(<"$pid")
        touch "${DIR}/open"
        kill -QUIT "$pid"
        wait_until 20 is_gone "$pid"
    done
    for pid in "$BATS_TEST_TMPDIR"/*/gate.pid; do [[ ! -e $pid ]] || kill "$(<"$pid")"; done
    expect_equal '' "$(cat "$BATS_TEST_TMPDIR"/*/error.log | grep -E '\[(alert|emerg|crit|error)\]' | grep -v 'access forbidden by rule' | head -n 5)" "in error.log"
}

# ask PATH [CURL OPTION...] : a POST; prints status and body
ask() {
    curl -sS --max-time 30 --unix-socket "$SOCKET" -w ' %{http_code}\n' -d '{}' "${@:2}" "http://x$1"
}

# begin PATH [CURL OPTION...] : in the background, its answer to $DIR/answer-NAME
begin() {
    ask "$@" >"$DIR/answer-${1##*/}" 2>&1 3>&- &
}

# arrived LINE... : these, in this order, have been called, and no other
arrived() {
    [[ "$(<"$DIR/arrived")" == "$(printf '%s\n' "$@")" ]]
}

# says COUNT TEXT : so many lines of the debug log do
says() {
    (($(grep -cF "$2" "$DIR/debug.log") >= $1))
}

# configure_gate NAME HTTP [SERVER]
configure_gate() {
    configure "$1" "$2" "${3:-}"
    sed -i "s,^    }\$,location / { admission on; proxy_pass http://unix:$DIR/gate:; } },;" "$DIR/conf"
}

# begin_deaf COUNT PATH : so many clients that take nothing of their answers, until end_deaf
begin_deaf() {
    printf '{}' >"$DIR/body"
    python3 "$ROOT/tests/lib/slow.py" deaf "$PORT1" "$2" "$1" "$DIR/body" "$DIR/go" >"$DIR/deaf" 3>&- &
    DEAF=$!
    wait_until 5 says "$1" 'http proxy status 200'
}

end_deaf() {
    touch "$DIR/go"
    wait "$DEAF"
}

# has_status CODE PATH : what is asked there gets
has_status() {
    [[ $(ask "$2" -o /dev/null) == " $1" ]]
}

@test "of requests that wait for their turn, the first that came goes on first; one that comes later passes none" {
    configure_gate fifo 'admission_calls 1;'
    start
    begin /a
    wait_until 5 arrived /a
    local name count=0
    for name in b c d; do
        begin "/$name"
        wait_until 5 says $((++count)) 'admission wait:'
    done
    arrived /a
    touch "$DIR/open-a"
    wait_until 5 arrived /a /b
    begin /e
    wait_until 5 says 4 'admission wait:'
    touch "$DIR/open"
    wait_until 5 arrived /a /b /c /d /e
    wait_until 5 test -s "$DIR/answer-e"
    expect_equal '/a 200 /b 200 /c 200 /d 200 /e 200' "$(cat "$DIR"/answer-* | xargs)"
}

@test "a turn ends with the header of the answer: a client that does not take its answer holds none" {
    configure_gate header 'admission_calls 1;'
    start
    touch "$DIR/open"
    begin_deaf 1 '/large?bytes=30000000'
    expect_equal '/b 200' "$(ask /b)"
    end_deaf
}

@test "answers that clients do not take: over admission_bytes, large ones become 503 and small ones are sent, until they leave" {
    configure_gate bytes 'admission_bytes 3m;' 'error_page 503 /words; location = /words { return 200 "no room\n"; }'
    start
    touch "$DIR/open"
    begin_deaf 3 '/large?bytes=1000000'
    expect_match 'no room.* 503' "$(ask '/other?bytes=1000000' | xargs)"
    has_status 200 '/head?bytes=60000'
    expect_equal '/small 200' "$(ask /small)"
    end_deaf
    wait_until 5 has_status 200 '/other?bytes=1000000'
    local i
    for i in 1 2 3 4 5 6; do has_status 200 '/other?bytes=1000000'; done # each gives back what it has held
}

@test "a large request is refused before it is called when there is no room for an answer as long" {
    configure_gate early 'admission_bytes 3m; client_max_body_size 4m;'
    start
    touch "$DIR/open"
    head -c 2000000 /dev/zero >"$DIR/two"
    has_status_with two 200 /first
    begin_deaf 2 '/large?bytes=1000000'
    has_status_with two 503 /second
    end_deaf
    expect_equal '' "$(grep second "$DIR/arrived")" "called"
}

# has_status_with FILE CODE PATH : a POST of the file gets
has_status_with() {
    expect_equal " $2" "$(ask "$3" --data-binary "@$DIR/$1" -o /dev/null)" "of $3"
}

@test "a large body is kept in memory while there is room in half of admission_bytes, else in a file; a small one always is" {
    configure_gate bodies 'admission_bytes 3m; client_max_body_size 4m; client_body_buffer_size 1m; admission_body_timeout 60s;'
    start
    touch "$DIR/open"
    head -c 900000 /dev/zero >"$DIR/large"
    head -c 15000 /dev/zero >"$DIR/small"
    python3 "$ROOT/tests/lib/slow.py" body "$SOCKET" 1000000 1 0.2 3>&- &
    local slow=$!
    wait_until 5 says 1 'admission body: -4, 1 on their way'
    has_status_with small 200 /memory
    expect_equal 0 "$(grep -c 'buffered to a temporary file' "$DIR/error.log")" "files"
    has_status_with large 200 /file
    expect_equal 1 "$(grep -c 'buffered to a temporary file' "$DIR/error.log")" "files"
    kill "$slow"
    wait_until 5 says 1 'client prematurely closed'
    has_status_with large 200 /memory
    expect_equal 1 "$(grep -c 'buffered to a temporary file' "$DIR/error.log")" "files"
}

@test "a client that is reset while it waits leaves the line; one that has ended its side is answered in its turn" {
    configure_gate leave 'admission_calls 1;'
    start
    begin /a
    wait_until 5 arrived /a
    coproc gone { exec python3 "$ROOT/tests/lib/slow.py" leave "$PORT1" /gone reset 3>&-; }
    wait_until 5 says 1 'admission wait: 1 in line'
    echo >&"${gone[1]}"
    wait_until 5 says 1 'client prematurely closed connection'
    coproc ended { exec python3 "$ROOT/tests/lib/slow.py" leave "$PORT1" /ended end 3>&-; }
    wait_until 5 says 2 'admission wait: 1 in line'
    local line
    read -r line <&"${ended[0]}"
    echo >&"${ended[1]}"
    touch "$DIR/open"
    read -r -t 10 line <&"${ended[0]}"
    expect_equal 200 "${line% *}"
    arrived /a /ended
}

@test "a wait has an end: 503 when the turn did not come in time; the request under way is not touched" {
    configure_gate bound 'admission_calls 1; admission_wait 300ms;'
    start
    begin /a
    wait_until 5 arrived /a
    expect_match '503 Service.* 503$' "$(ask /b | tr '\n' ' ' | sed 's/ $//')"
    touch "$DIR/open"
    wait_until 5 test -s "$DIR/answer-a"
    expect_equal '/a 200' "$(<"$DIR/answer-a")"
    expect_equal '/c 200' "$(ask /c)"
}

@test "over HTTP/2 each stream waits for itself, and leaves the line when it is reset" {
    configure_gate h2 'admission_calls 1;'
    start
    begin /a
    wait_until 5 arrived /a
    curl -s --http2-prior-knowledge --max-time 20 -d '{}' "http://127.0.0.1:$PORT2/gone" 3>&- &
    wait_until 5 says 1 'admission wait: 1 in line'
    kill -KILL $!
    wait_until 5 says 1 'client prematurely closed'
    printf '{}' >"$DIR/body"
    h2load -n 3 -c 1 -m 3 -d "$DIR/body" "http://127.0.0.1:$PORT2/b" >"$DIR/h2load" 3>&- &
    local client=$!
    wait_until 5 says 1 'admission wait: 3 in line'
    touch "$DIR/open"
    wait "$client"
    expect_match 'status codes: 3 2xx' "$(<"$DIR/h2load")"
    expect_equal '/a /b /b /b' "$(sort "$DIR/arrived" | xargs)"
}

@test "workers that drain after a reload serve what waits in their lines" {
    configure_gate drain 'admission_calls 1;'
    start
    begin /a
    wait_until 5 arrived /a
    begin /b
    wait_until 5 says 1 'admission wait:'
    kill -HUP "$(<"$DIR/pid")"
    wait_until 5 says 1 'gracefully shutting down'
    touch "$DIR/open"
    wait_until 10 test -s "$DIR/answer-b"
    expect_equal '/a 200 /b 200' "$(cat "$DIR"/answer-{a,b} | xargs)"
}

@test "a body is read before the request has its turn, or counts; allow and auth_request decide before it is read" {
    configure_gate body 'admission_requests 1; admission_calls 1; admission_body_timeout 500ms;' \
        'location /denied { admission on; deny all; }
         location /asked { admission on; auth_request /no; root /; } location = /no { return 403; }'

    start
    local path
    for path in /denied /asked; do
        expect_equal '403 text/html' "$(python3 "$ROOT/tests/lib/slow.py" body "$SOCKET" 100 1 0.2 "$path")"
    done
    begin /a
    wait_until 5 arrived /a
    expect_match ' 503$' "$(ask /b | tail -n 1)"
    expect_equal '408 text/html' "$(python3 "$ROOT/tests/lib/slow.py" body "$SOCKET" 100 1 0.2)"
    touch "$DIR/open"
}

@test "what is not a client's request is not counted: subrequests, error pages, redirects inside nginx, mirrors" {
    configure inner 'admission on; admission_requests 1; admission_calls 1; recursive_error_pages on; log_not_found off;' \
        "set \$gate http://unix:$BATS_TEST_TMPDIR/inner/gate:;"'
         error_page 404 /words;
         location = /words    { proxy_pass $gate; }
         location = /missing  { try_files /none =404; }
         location = /tea      { error_page 418 = @named; try_files /none =418; }
         location @named      { proxy_pass $gate/named; }
         location = /ask      { auth_request /yes; mirror /mirrored; proxy_pass $gate; }
         location = /yes      { proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_pass $gate; }
         location = /mirrored { proxy_pass $gate; }
         location = /try      { try_files /none /ask; }
         location = /if       { if ($arg_x) { set $y 1; } proxy_pass $gate; }
         location = /limited  { limit_except GET { allow all; } proxy_pass $gate; }
         location = /off      { admission off; proxy_pass $gate; }'
    touch "$DIR/open"
    start
    local i path answer
    for i in 1 2 3; do
        while read -r path answer; do
            expect_equal "$answer" "$(ask "$path" | xargs)" "$path"
        done <<'EOF'
/missing /words 404
/tea /named 200
/ask /ask 200
/try /ask 200
/if?x=1 /if?x=1 200
/limited /limited 200
/off /off 200
EOF
    done
    expect_equal '' "$(grep -F 'too many requests' "$DIR/error.log")" refused
}

@test "loaded without a directive it does nothing; a directive twice, or where it does not belong, is refused" {
    configure none '' 'location / { return 200 "yes\n"; }'
    start
    expect_match 'yes' "$(ask /)"
    local wrong
    while read -r wrong; do
        configure wrong "$wrong" ''
        rm -f "$DIR/pid"
        run nginx -t -e "$DIR/error-t" -c "$DIR/conf"
        expect_status 1
        : >"$DIR/error.log"
    done <<'EOF'
admission on; admission on;
admission_calls 1; admission_calls 2;
admission_requests -1;
admission_requests x;
admission_wait;
server { admission_calls 1; }
admission maybe;
EOF
    rm -rf "$DIR"
}
