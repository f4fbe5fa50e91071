# Limit: nginx and one FastCGI hop that answers a constant. Two processes, as each of the system's services.
# shellcheck shell=bash

peer_packages() {
    packages_for run
}

peer_build() {
    build_c hop
}

peer_start() {
    spawn_fcgi hop-1 "$PEER_BUILD/hop"
    spawn_fcgi hop-2 "$PEER_BUILD/hop"
    pass_fastcgi "unix:$PEER_DIR/hop-1.sock" "unix:$PEER_DIR/hop-2.sock"
}

peer_version() {
    say "cgi-common's dispatcher"
}
