# Go, net/http for both services.
# shellcheck shell=bash

peer_packages() {
    say 'golang-go go'
}

peer_build() {
    GOCACHE=$PEER_BUILD/cache GO111MODULE=off go build -o "$PEER_BUILD/peer" "$PEER_SOURCE/main.go"
}

# One process each, as Go people run it: its threads use both cores.
peer_start() {
    spawn transform "$PEER_BUILD/peer" transform "$PEER_DIR/transform.sock"
    spawn app "$PEER_BUILD/peer" app "$PEER_DIR/app.sock" "$PEER_DIR/transform.sock"
    upstream "unix:$PEER_DIR/app.sock"
}

peer_version() {
    go version | awk '{ print $3 }' | sed 's/^go/go /'
}
