#!/usr/bin/env bats
# shellcheck shell=bats
# docs/handlers.md: the Makefile makes one program of its C samples, and every call that it shows gives the answer that
# it shows.

load lib/helpers

setup() {
    SOCKET="$BATS_TEST_TMPDIR/socket"
    PAGE="$ROOT/docs/handlers.md"
    # shellcheck disable=SC2034 # read by end_services: the errors that the page shows
    SERVICE_NOISE='"level":"error".*"message":"(answered 50[04]|the archive does not answer|the handler of /careless )'
    launch cookbook "$SOCKET" spawn-fcgi -s "$SOCKET" -n -- "$BUILD_DIR/tests/cookbook"
}

teardown() {
    [[ -z ${NGINX:-} ]] || { kill "$NGINX" && wait "$NGINX"; }
    end_services
}

@test "each call of the page gives the answer of the page, by FastCGI and from the shell" {
    ln -s "$BUILD_DIR/tests/cookbook" "$BATS_TEST_TMPDIR/cookbook"
    cd "$BATS_TEST_TMPDIR"
    run python3 "$ROOT/tests/lib/cookbook.py" calls "$PAGE" "$SOCKET"
    expect_status 0
}

@test "the page's own command compiles its samples, against the public headers and the library" {
    local command sanitize
    command=$(sed -n 's/^cc .*/&/p' "$PAGE")
    sanitize=$(grep -oE -m 1 -- '-fsanitize=[a-z,]+' "$BUILD_DIR/flags" | head -n 1 || true)
    python3 "$ROOT/tests/lib/cookbook.py" source "$PAGE" >"$BATS_TEST_TMPDIR/cookbook.c"
    ln -s "$ROOT/cgi-common" "$BUILD_DIR/libresponder.a" "$BATS_TEST_TMPDIR"
    cd "$BATS_TEST_TMPDIR"
    run bash -c "${command//build\//} -Wall -Wextra -Werror $sanitize"
    expect_status 0
    run env REQUEST_METHOD=GET SCRIPT_NAME=/version ./cookbook
    expect_match '"version":"1.0"' "$output"
}

@test "each function that a handler can call is in a sample of the page" {
    local samples names name
    samples=$(python3 "$ROOT/tests/lib/cookbook.py" source "$PAGE")
    mapfile -t names < <(sed -nE 's/^[a-z_].*[ *]((request|reply|service|responder)_[a-z_]+)\(.*/\1/p' \
        "$ROOT"/cgi-common/responder/include/{request,reply,service,responder}.h)
    ((${#names[@]} >= 12))
    for name in "${names[@]}"; do
        case $name in
        request_variable | request_query | reply_release) continue ;; # named in the text; for tests
        esac
        expect_match "[^a-z_]${name}[^a-z_]" "$samples" "$name in a sample"
    done
}

@test "with the page's lines in params.conf, nginx passes on the query, the client and a header; the type without" {
    local page=(curl -sq --noproxy '*' --unix-socket "$BATS_TEST_TMPDIR/nginx.socket")
    python3 "$ROOT/tests/lib/cookbook.py" nginx "$PAGE" >"$BATS_TEST_TMPDIR/more.conf"
    cat >"$BATS_TEST_TMPDIR/nginx.conf" <<END
daemon off;
master_process off;
events {}
pid "$BATS_TEST_TMPDIR/nginx.pid";
http {
    access_log off;
    client_body_temp_path "$BATS_TEST_TMPDIR/body";
    fastcgi_temp_path     "$BATS_TEST_TMPDIR/fastcgi";
    proxy_temp_path       "$BATS_TEST_TMPDIR/proxy";
    uwsgi_temp_path       "$BATS_TEST_TMPDIR/uwsgi";
    scgi_temp_path        "$BATS_TEST_TMPDIR/scgi";
    server {
        listen "unix:$BATS_TEST_TMPDIR/nginx.socket";
        set \$cgi_id "";
        set \$cgi_traceparent "";
        set \$cgi_tracestate "";
        location / {
            fastcgi_pass  "unix:$SOCKET";
            include       "$ROOT/nginx/snippets/params.conf";
            include       "$BATS_TEST_TMPDIR/more.conf";
            fastcgi_param SCRIPT_NAME \$uri;
        }
    }
}
END
    nginx -e stderr -c "$BATS_TEST_TMPDIR/nginx.conf" >"$BATS_TEST_TMPDIR/nginx.log" 2>&1 </dev/null 3>&- &
    NGINX=$!
    wait_until 10 "${page[@]}" -o /dev/null http://localhost/ || { cat "$BATS_TEST_TMPDIR/nginx.log" >&2; return 1; }
    expect_equal '{"hello":"Ana"}' "$("${page[@]}" 'http://localhost/hello?name=Ana')"
    expect_equal 'buenos días, unix:' "$("${page[@]}" -H 'Accept-Language: es' http://localhost/language)"
    expect_equal 'good morning, unix:' "$("${page[@]}" http://localhost/language)"
    expect_equal AB "$("${page[@]}" -H 'Content-Type: text/plain' -d ab http://localhost/shout)"
    expect_match '"status":415' "$("${page[@]}" -d ab http://localhost/shout)"
}
