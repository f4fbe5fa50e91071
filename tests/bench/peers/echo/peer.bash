# Limit: nginx and one FastCGI hop that echoes the body. Two processes, as each of the system's services.
# shellcheck shell=bash

peer_packages() {
    packages_for run
}

peer_build() {
    build_c echo
}

peer_start() {
    spawn_fcgi echo-1 "$PEER_BUILD/echo"
    spawn_fcgi echo-2 "$PEER_BUILD/echo"
    pass_fastcgi "unix:$PEER_DIR/echo-1.sock" "unix:$PEER_DIR/echo-2.sock"
}

peer_version() {
    say "cgi-common's dispatcher"
}
