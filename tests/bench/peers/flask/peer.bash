# The original's design: Flask under gunicorn -w 1, sync workers, for both services; app calls transform by HTTP, and
# nginx carries that call, too.
# shellcheck shell=bash

peer_packages() {
    say 'gunicorn gunicorn'
    say 'python3-flask /usr/lib/python3/dist-packages/flask'
    say 'python3-requests /usr/lib/python3/dist-packages/requests'
}

peer_build() {
    :
}

# One worker each is the original's; a sync worker closes each connection, so keep-alive helps neither side.
peer_start() {
    serve transform
    TRANSFORM_URL=http://127.0.0.1:$(peer_port flask)/reverse serve app
    upstream "unix:$PEER_DIR/app.sock"
    cat >>"$PEER_DIR/nginx/assembly.conf" <<EOF
location = /reverse {
    proxy_pass http://unix:$PEER_DIR/transform.sock;
}
EOF
}

# serve SERVICE
serve() {
    spawn "$1" env PYTHONDONTWRITEBYTECODE=1 /usr/bin/gunicorn -w 1 --backlog 4096 --log-level error \
        --worker-tmp-dir "$PEER_DIR/tmp" -b "unix:$PEER_DIR/$1.sock" --chdir "$PEER_SOURCE" "$1:app"
}

peer_version() {
    /usr/bin/python3 -c 'import platform, flask, gunicorn
print("Python", platform.python_version(), "Flask", flask.__version__, "gunicorn", gunicorn.__version__)'
}
