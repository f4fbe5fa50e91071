# Rust, hyper on tokio for both services.
# shellcheck shell=bash

peer_packages() {
    say 'cargo cargo'
}

peer_build() {
    cargo build --quiet --release --locked --manifest-path "$PEER_SOURCE/Cargo.toml" --target-dir "$PEER_BUILD"
}

# One process each; tokio's worker threads use both cores.
peer_start() {
    local program=$PEER_BUILD/release/bench-peer
    spawn transform "$program" transform "$PEER_DIR/transform.sock"
    spawn app "$program" app "$PEER_DIR/app.sock" "$PEER_DIR/transform.sock"
    upstream "unix:$PEER_DIR/app.sock"
}

peer_version() {
    say "$(rustc --version | cut -d ' ' -f 1,2), $(
        awk '$1 == "name" { name = $3 } $1 == "version" && name ~ /"(hyper|tokio)"/ { print name, $3 }' \
            "$PEER_SOURCE/Cargo.lock" | tr -d '"' | paste -sd ' ')"
}
