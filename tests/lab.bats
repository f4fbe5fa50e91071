#!/usr/bin/env bats
# shellcheck shell=bats
# The lab itself (scripts/lab): what is wrong in a module is reported there. Each module here is a copy of compose with a line more.
# sanitizers: address

load lib/helpers

setup() {
    [[ ${SANITIZE:-} == *address* ]] || skip "nginx has sanitizers with SANITIZE=address,undefined"
    DIR=$BATS_TEST_TMPDIR
    mkdir "$DIR/build"
    ln -s "$BUILD_DIR/nginx" "$DIR/build/nginx" # so that reports are here
}

# build_compose LINE : with this line where it sends an answer
build_compose() {
    local name=ngx_http_compose_module source=$ROOT/nginx/compose/ngx_http_compose_module.c
    sed "s|^    ngx_http_compose_unlike_a_file(r, ctx);|&\n    $1|" "$source" >"$DIR/$name.c"
    expect_equal 1 "$(($(wc -l <"$DIR/$name.c") - $(wc -l <"$source")))" "lines more"
    (cd "$BUILD_DIR/nginx" && make -s -n -f objs/Makefile -W "$source" "objs/$name.so" |
        sed "s|$source|$DIR/$name.c|; s|objs/addon/compose/$name.o|$DIR/$name.o|; s|-o objs/$name.so|-o $DIR/$name.so|" | bash)
}

# compose_once : nginx with that module answers, and ends
compose_once() {
    local user='' pid
    ((EUID != 0)) || user='user root;' # whose folder this is
    printf '%s\n' "load_module $DIR/ngx_http_compose_module.so; pid $DIR/pid; $user error_log $DIR/error.log; events {}" \
        "http { access_log off; client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f;" \
        "uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s; server { listen unix:$DIR/socket;" \
        "location = / { compose /frame; } location = /frame { return 200 frame; } } }" >"$DIR/conf"
    BUILD_DIR=$DIR/build nginx -e "$DIR/error.log" -c "$DIR/conf" 3>&-
    wait_until 5 is_listening "$DIR/socket"
    curl -s --unix-socket "$DIR/socket" http://x/ || true
    pid=$(<"$DIR/pid")
    kill -QUIT "$pid"
    wait_until 10 is_gone "$pid"
}

@test "a module's use after free, its write behind the end, and what it leaks or leaves undefined are reported" {
    local line expected
    while IFS=: read -r line expected; do
        build_compose "$line"
        compose_once
        expect_match "$expected" "$(cat "$DIR"/build/reports/*)" "report about $line"
        rm -r "$DIR/build/reports"
    done <<'LINES'
ngx_pfree(r->pool, ctx);:heap-use-after-free
((u_char *)ngx_pnalloc(r->pool, 24))[24] = 0;:heap-buffer-overflow
*(void *volatile *)\&ctx->rest.data = ngx_alloc(24, r->connection->log);:LeakSanitizer.*
ctx->tags = 1U << (32 + ctx->tags);:shift exponent 32 is too large
LINES
}

@test "the module as it is has no report" {
    build_compose ''
    compose_once
    run ls "$DIR/build/reports"
    expect_equal '' "$output"
}
