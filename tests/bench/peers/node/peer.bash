# Node's own http, a cluster of two for each service.
# shellcheck shell=bash

peer_packages() {
    say 'nodejs node'
}

peer_build() {
    :
}

peer_start() {
    spawn transform node "$PEER_SOURCE/peer.js" transform "$PEER_DIR/transform.sock"
    spawn app node "$PEER_SOURCE/peer.js" app "$PEER_DIR/app.sock" "$PEER_DIR/transform.sock"
    upstream "unix:$PEER_DIR/app.sock"
}

peer_version() {
    node --version | sed 's/^v/node /'
}
