# The same services under nginx as it is, without the module of nginx/compose: SSI makes the answer. Its status has left
# before transform is asked, so a second server behind the edge runs it, and closes the connection when a call fails;
# the edge makes that a 502. (A transform that dies in the middle of its answer still ends inside a 200.)
# shellcheck shell=bash

peer_packages() {
    packages_for run
}

peer_build() {
    :
}

peer_start() {
    local i
    for i in 1 2; do
        spawn_fcgi "app-$i" "$BUILD_DIR/cgi-app"
        spawn_fcgi "transform-$i" "$BUILD_DIR/cgi-transform"
    done
    upstream "unix:$PEER_DIR/assembly.sock"
    {
        service app
        service transform
        assembly_server
    } >>"$PEER_DIR/nginx/each/peer/upstreams.conf"
}

# service NAME : its upstream
service() {
    cat <<EOF
upstream $1 {
    server unix:$PEER_DIR/$1-1.sock max_fails=0;
    server unix:$PEER_DIR/$1-2.sock max_fails=0;
    keepalive 2048;
}
EOF
}

assembly_server() {
    cat <<EOF
server {
    listen     unix:$PEER_DIR/assembly.sock backlog=4096;
    access_log off;
    sendfile   on;
    include    limits.conf;
    include    snippets/fastcgi.conf;
    error_page 500 502 503 504 /failed;

    location = /api {
        ssi           on;
        ssi_types     application/json;
        ssi_silent_errors on;
        include       snippets/params.conf;
        fastcgi_param SCRIPT_NAME /api;
        fastcgi_pass  app;
    }

    location = /reverse/message {
        internal;
        include       snippets/params.conf;
        fastcgi_param SCRIPT_NAME /reverse/message;
        fastcgi_pass  transform;
    }

    location = /failed {
        internal;
        return 444;
    }
}
EOF
}

peer_version() {
    nginx -v 2>&1 | sed 's|.*/|nginx |; s|$|, SSI|'
}
