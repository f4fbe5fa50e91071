#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # coproc sets them
# The nginx module drain alone (nginx/drain): what its debug log says. What clients see of it is in reload.bats.
# sanitizers: address

load lib/helpers

setup() {
    DIR=$BATS_TEST_TMPDIR
    local user=
    ((EUID != 0)) || user='user root;' # whose folder this is
    printf '%s\n' "load_module $BUILD_DIR/ngx_http_drain_module.so; pid $DIR/pid; $user" "error_log $DIR/debug.log debug;" \
        'worker_processes 1; events {}' \
        "http { access_log off; client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f;" \
        "uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s; drain_idle 200ms;" \
        "server { listen unix:$DIR/s.sock; return 200 yes; } }" >"$DIR/conf"
    nginx -e "$DIR/error.log" -c "$DIR/conf" 3>&-
    wait_until 5 is_listening "$DIR/s.sock"
}

teardown() {
    local pid
    pid=$(<"$DIR/pid")
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
}

# says TEXT : the debug log does
says() {
    grep -qF "$1" "$DIR/debug.log"
}

@test "the debug log follows an idle connection through a reload" {
    coproc client { exec python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
print(s.recv(4096)[9:12].decode(), flush=True)
s.recv(1)  # until nginx closes
' "$DIR/s.sock" 3>&-; }
    local status pid=$client_PID # bash forgets it when the client ends
    read -r -t 5 status <&"${client[0]}"
    expect_equal 200 "$status"
    kill -HUP "$(<"$DIR/pid")"
    local line
    for line in 'drain begin: 200' 'drain spare: ' 'drain close: '; do
        wait_until 5 says "$line"
    done
    wait "$pid"
}
