# PHP-FPM for both services; app calls transform with curl, through nginx, as PHP people do.
# shellcheck shell=bash

PHP_WORKERS=4 # processes of each service; most of app's wait for transform

peer_packages() {
    say 'php8.2-fpm php-fpm8.2'
    say 'php8.2-curl /usr/share/php8.2-curl/curl'
    say 'php8.2-mbstring /usr/share/php8.2-mbstring/mbstring'
}

peer_build() {
    :
}

peer_start() {
    {
        printf '%s\n' '[global]' "error_log = $PEER_DIR/log/fpm-error.log" 'daemonize = no'
        pool app
        pool transform
    } >"$PEER_DIR/fpm.conf"
    spawn fpm php-fpm8.2 --allow-to-run-as-root --fpm-config "$PEER_DIR/fpm.conf"
    pass_php
    transform_server >"$PEER_DIR/nginx/each/peer/upstreams.conf"
}

# pool SERVICE : of FPM
pool() {
    cat <<EOF
[$1]
listen = $PEER_DIR/fpm-$1.sock
listen.backlog = 4096
$( ((EUID != 0)) || printf '%s\n' 'user = root' 'group = root')
pm = static
pm.max_children = $PHP_WORKERS
env[TRANSFORM_SOCKET] = $PEER_DIR/transform.sock
EOF
}

# php_location SERVICE : FastCGI without keep-alive: a kept connection would hold one of FPM's processes
php_location() {
    cat <<EOF
fastcgi_param REQUEST_METHOD  \$request_method;
fastcgi_param CONTENT_LENGTH  \$content_length;
fastcgi_param SCRIPT_FILENAME $PEER_SOURCE/$1.php;
fastcgi_pass_request_headers off;
fastcgi_pass  unix:$PEER_DIR/fpm-$1.sock;
EOF
}

pass_php() {
    php_location app | to_peer
}

transform_server() {
    cat <<EOF
server {
    listen unix:$PEER_DIR/transform.sock backlog=4096;
    access_log off;
    sendfile   on;
    include    limits.conf;
    location / {
        $(php_location transform)
    }
}
EOF
}

peer_version() {
    php-fpm8.2 -v | awk 'NR == 1 { print "PHP-FPM", $2 }'
}
