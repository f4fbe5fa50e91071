# Limit: nginx answers a constant itself.
# shellcheck shell=bash

peer_packages() {
    packages_for run
}

peer_build() {
    :
}

peer_start() {
    : >"$PEER_DIR/nginx/each/peer/upstreams.conf"
    to_peer <<'EOF'
default_type application/json;
return 200 '{"message":"sdneirf ym ,olleh","rand":0.63721436639196272}';
EOF
}

peer_version() {
    nginx -v 2>&1 | sed 's|.*/|nginx |'
}
