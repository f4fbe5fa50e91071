#!/usr/bin/env bats
# shellcheck shell=bats
# The nginx module alone (nginx/compose): what it makes of frames and of what they include. nginx answers the calls, too,
# with constants; with the services behind it, it is tested by api.bats and failure.bats.
# sanitizers: address

load lib/helpers

setup_file() {
    export RUN_DIR=$BATS_FILE_TMPDIR/n
    mkdir -p "$RUN_DIR"
    cat >"$RUN_DIR/nginx.conf" <<CONF
load_module $BUILD_DIR/ngx_http_compose_module.so;
daemon off;
master_process off;
pid $RUN_DIR/nginx.pid;
error_log $RUN_DIR/error.log info;
events {}
http {
    default_type text/plain;
    access_log $RUN_DIR/access.log;
    client_body_temp_path $RUN_DIR/body; proxy_temp_path $RUN_DIR/proxy; fastcgi_temp_path $RUN_DIR/fastcgi;
    uwsgi_temp_path $RUN_DIR/uwsgi; scgi_temp_path $RUN_DIR/scgi;
    subrequest_output_buffer_size 64k;
    server {
        listen unix:$RUN_DIR/nginx.sock;
        error_page 500 502 504 /problem;
        location = /problem { internal; return 200 "problem \$status\n"; }
        location = /plain      { compose /frame/plain; }
        location = /two        { compose /frame/two; }
        location = /edges      { compose /frame/edges; }
        location = /unclosed   { compose /frame/unclosed; }
        location = /frame-empty { compose /empty; }
        location = /frame-404  { compose /frame/missing; }
        location = /frame-201  { compose /frame/created; }
        location = /include-404   { compose /frame/include-404; }
        location = /include-204   { compose /frame/include-204; }
        location = /include-empty { compose /frame/include-empty; }
        location = /include-up    { compose /frame/include-up; }
        location = /include-self  { compose /frame/include-self; }
        location = /gone       { compose /frame/gone; }
        location = /gone-once  { compose /frame/gone once; }
        location = /frame/gone { proxy_pass http://unix:$RUN_DIR/nobody.sock; }
        location = /frame/plain    { return 200 'no tag'; }
        location = /frame/two      { default_type application/x-frame;
                                     return 200 'a<!--# include virtual="/part?1" -->b<!--# include virtual="/part?2" -->c'; }
        location = /frame/edges    { return 200 '<!--# include virtual="/part?1" --><!--# include virtual="/part?2" -->'; }
        location = /frame/unclosed { return 200 'a<!--# include virtual="/part'; }
        location = /frame/created  { return 201 'made <!--# include virtual="/part" -->'; }
        location = /frame/missing  { default_type application/x-missing; return 404 'none <!--# include virtual="/part" -->'; }
        location = /frame/include-404   { return 200 'a<!--# include virtual="/nowhere" -->'; }
        location = /frame/include-204   { return 200 'a<!--# include virtual="/204" -->'; }
        location = /frame/include-empty { return 200 'a<!--# include virtual="/empty" -->'; }
        location = /frame/include-up    { return 200 'a<!--# include virtual="/../etc" -->'; }
        location = /frame/include-self  { return 200 'a<!--# include virtual="/include-self" -->'; }
        location = /part    { return 200 "[\$args \$request_method <!--# include virtual=\"/part\" -->]"; }
        location = /nowhere { return 404; }
        location = /204     { return 204; }
        location = /empty   { return 200 ''; }
    }
}
CONF
    nginx -e "$RUN_DIR/error.log" -c "$RUN_DIR/nginx.conf" 3>&- &
    wait_until 10 is_listening "$RUN_DIR/nginx.sock"
}

teardown_file() {
    local pid
    pid=$(<"$RUN_DIR/nginx.pid")
    kill -QUIT "$pid"
    wait_until 10 is_gone "$pid"
    expect_equal '' "$(grep -E '\[(alert|emerg|crit)\]' "$RUN_DIR/error.log" | grep -v 'connect() to unix:')" "in the log"
}

# get PATH [CURL OPTION...] : sets answer: the status, the content type, the body
get() {
    answer=$(curl -sS --max-time 10 --unix-socket "$RUN_DIR/nginx.sock" -o "$BATS_TEST_TMPDIR/body" \
        -w '%{http_code} %{content_type}: ' "${@:2}" "http://x$1")
    [[ ! -e $BATS_TEST_TMPDIR/body ]] || answer+=$(<"$BATS_TEST_TMPDIR/body")
}

@test "a frame without a tag is the answer; with tags, what they name stands in their place, unread" {
    get /plain
    expect_equal '200 text/plain: no tag' "$answer"
    get /two
    expect_equal '200 application/x-frame: a[1 GET <!--# include virtual="/part" -->]b[2 GET <!--# include virtual="/part" -->]c' "$answer"
    get /edges -X POST -d body
    expect_equal '200 text/plain: [1 POST <!--# include virtual="/part" -->][2 POST <!--# include virtual="/part" -->]' "$answer"
}

@test "a frame that is no 200 is passed on as it is" {
    get /frame-404
    expect_equal '404 application/x-missing: none <!--# include virtual="/part" -->' "$answer"
    get /frame-201
    expect_equal '201 text/plain: made <!--# include virtual="/part" -->' "$answer"
}

@test "whatever fails behind it is one error, and nothing of the frame leaves" {
    local path
    for path in /include-{404,204,empty,up,self} /unclosed /frame-empty /gone; do
        get "$path"
        expect_equal '502 text/plain: problem 502' "$answer" "answer of $path"
    done
}

# attempts PATH : how often nginx called the service that is not there
attempts() {
    local before
    before=$(grep -c 'connect() to unix:' "$RUN_DIR/error.log" || true)
    get "$1"
    echo $(($(grep -c 'connect() to unix:' "$RUN_DIR/error.log") - before))
}

@test "a call that failed is made once more; with \"once\" it is not" {
    expect_equal 2 "$(attempts /gone)"
    expect_equal 1 "$(attempts /gone-once)"
}

@test "the connection lives on after each of them; HEAD gets the head alone" {
    curl -sS --unix-socket "$RUN_DIR/nginx.sock" -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects}\n' \
        http://x/include-404 http://x/two http://x/plain >"$BATS_TEST_TMPDIR/connects"
    expect_equal $'1\n0\n0' "$(<"$BATS_TEST_TMPDIR/connects")"
    get /two -I
    expect_match '^200 application/x-frame: HTTP/1.1 200 OK' "$answer"
    expect_no_match 'part' "$answer"
}

# shellcheck disable=SC2016 # nginx has variables, too
@test "a compose that cannot be is refused by nginx -t, with the line" {
    local directive
    for directive in 'compose x;' 'compose;' 'compose /a; compose /b;' 'compose /a /b;' 'compose /a once once;' \
        'compose /a$uri;' 'compose /a/../b;' 'compose /a/%2e%2e/b;'; do
        printf '%s\n' "load_module $BUILD_DIR/ngx_http_compose_module.so;" "pid $BATS_TEST_TMPDIR/pid;" 'events {}' \
            "http { server { listen unix:$BATS_TEST_TMPDIR/s; location / { $directive } } }" >"$BATS_TEST_TMPDIR/conf"
        run nginx -t -q -e stderr -c "$BATS_TEST_TMPDIR/conf"
        expect_status 1
        expect_match 'compose.*conf:4' "$output"
    done
}
