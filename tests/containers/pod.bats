#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# kubernetes.yml: its pod, played by podman, and its end as kubelet has it. What podman leaves out is checked in tests/kubernetes.
# needs: containers

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/containers

PODMAN_LOG=--log-level=fatal # without systemd it complains, at each step, that it cannot run health checks by itself

setup_file() {
    ! why_no_containers >/dev/null && command -v podman >/dev/null || return 0
    export IMAGE_TAG=pod-$$ REGISTRY=local CONTAINERS_CONF=$BATS_FILE_TMPDIR/containers.conf
    HTTP_PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    HTTPS_PORT=$(python3 "$ROOT/tests/lib/http.py" free-port)
    export POD_NAME=cgi$$ HTTP_PORT HTTPS_PORT URL=http://127.0.0.1:$HTTP_PORT POD=$BATS_FILE_TMPDIR/pod.yml
    # podman asks for more descriptors than a root without all its rights may have.
    printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n' \
        "$(ulimit -Sn)" "$(ulimit -Hn)" 4096 4096 >"$CONTAINERS_CONF"
    make_base
    "$ROOT/scripts/images" build
    # shellcheck disable=SC2046 # a word each
    docker save $(full_names "$IMAGE_TAG") | podman load -q
    # What who deploys is told to replace; and ports of the test's own, on loopback.
    sed -E -e "s|image: local/(.*):latest|image: localhost/local/\1:$IMAGE_TAG|" -e "s|name: cgi$|name: $POD_NAME|" \
        -e "s|containerPort: 8080|&\n              hostPort: $HTTP_PORT\n              hostIP: 127.0.0.1|" \
        -e "s|containerPort: 8443|&\n              hostPort: $HTTPS_PORT\n              hostIP: 127.0.0.1|" \
        "$ROOT/kubernetes.yml" >"$POD"
    podman $PODMAN_LOG kube play "$POD"
}

teardown_file() {
    [[ -n ${POD:-} ]] || return 0
    podman $PODMAN_LOG kube down "$POD"
    podman $PODMAN_LOG volume rm run pod >/dev/null 2>&1 || true
    # shellcheck disable=SC2046 # a word each
    podman $PODMAN_LOG image rm -f $(full_names "$IMAGE_TAG" | sed 's|^|localhost/|') >/dev/null
    remove_images "$IMAGE_TAG"
}

setup() {
    need_containers
    command -v podman >/dev/null || skip "there is no podman"
}

# in_pod CONTAINER COMMAND...
in_pod() {
    podman $PODMAN_LOG exec "$POD_NAME-pod-0-$1" "${@:2}"
}

@test "the pod answers, over HTTP and HTTPS" {
    wait_until 20 answers
    URL=https://127.0.0.1:$HTTPS_PORT answers -k
}

@test "its probes pass, and fail when what they ask does not answer" {
    local service
    for service in "${IMAGES[@]}"; do
        wait_until 20 podman $PODMAN_LOG healthcheck run "$POD_NAME-pod-0-$service"
    done
    run ! in_pod app ask-health 9002
    run ! in_pod nginx curl -s -o /dev/null -m 8 http://127.0.0.1:8082/
}

@test "the page for Prometheus is where the annotations say, and not at the ports of the Service" {
    wait_until 20 answers
    expect_match cgi_http_requests_total "$(in_pod nginx curl -sS http://127.0.0.1:9113/_metrics)"
    expect_match 'Not Found' "$(curl -sS "$URL/_metrics")"
    expect_match 'Not Found' "$(curl -sSk "https://127.0.0.1:$HTTPS_PORT/_metrics")"
}

@test "no container runs as root, gains privileges, or writes outside of nginx's volume" {
    local service
    for service in "${IMAGES[@]}"; do
        expect_equal 10001 "$(in_pod "$service" id -u)"
        expect_match $'NoNewPrivs:\t1' "$(in_pod "$service" grep NoNewPrivs /proc/1/status)"
        expect_match $'CapBnd:\t0000000000000000' "$(in_pod "$service" grep CapBnd /proc/1/status)"
        run in_pod "$service" touch /usr/new
        expect_match 'Read-only file system' "$output"
    done
    in_pod nginx touch /run/app/tmp/new
    in_pod nginx rm /run/app/tmp/new
}

restarts() {
    podman $PODMAN_LOG inspect -f '{{.RestartCount}}' "$POD_NAME-pod-0-$1"
}

has_restarted() {
    (($(restarts "$1") > 0)) && answers
}

@test "a service that dies comes back" {
    wait_until 20 answers
    kill -KILL "$(podman $PODMAN_LOG inspect -f '{{.State.Pid}}' "$POD_NAME-pod-0-$CALLED")"
    wait_until 20 has_restarted "$CALLED"
}

# pod_says EXPRESSION : of the pod's description, in Python, where it is called pod and a container of it c
pod_says() {
    python3 -c 'import shlex, sys, yaml
pod = next(yaml.safe_load_all(open(sys.argv[1])))["spec"]["template"]["spec"]
containers = {c["name"]: c for c in pod["containers"]}
print(eval(sys.argv[2]))' "$POD" "$1"
}

# end_as_kubelet CONTAINER : its preStop, its signal, and it is killed when the pod's time is over
end_as_kubelet() {
    local before=$SECONDS grace command
    grace=$(pod_says 'pod["terminationGracePeriodSeconds"]')
    command=$(pod_says "shlex.join(containers['$1']['lifecycle']['preStop']['exec']['command'])")
    eval "in_pod $1 timeout $grace $command" || echo "preStop of $1 failed: $?"
    podman $PODMAN_LOG stop -t $((grace - SECONDS + before)) "$POD_NAME-pod-0-$1" >/dev/null
}

# has_passed SECONDS : since $began
has_passed() {
    ((SECONDS - began >= $1))
}

# ended_at CONTAINER : in milliseconds
ended_at() {
    date -d "$(podman $PODMAN_LOG inspect -f '{{.State.FinishedAt.Format "2006-01-02T15:04:05.000Z07:00"}}' "$POD_NAME-pod-0-$1")" +%s%3N
}

# The last one: the pod does not come back.
@test "a pod that ends: an upload of 22 s is answered, then nginx ends, and the services after it, at once" {
    local go=$BATS_TEST_TMPDIR/go out=$BATS_TEST_TMPDIR/slow began client kubelets=() service
    wait_until 20 answers
    python3 "$ROOT/tests/lib/http.py" slow "$HTTP_PORT" "$go" >"$out" 3>&- &
    client=$!
    wait_until 10 grep -q begun "$out"
    began=$SECONDS
    for service in "${IMAGES[@]}"; do
        end_as_kubelet "$service" 3>&- &
        kubelets+=($!)
    done
    wait_until 30 has_passed 22
    touch "$go"
    wait "$client"
    wait "${kubelets[@]}"
    expect_equal 200 "$(tail -n 1 "$out")" "status of the upload"
    for service in "${SERVICES[@]}"; do
        expect_equal 0 "$(podman $PODMAN_LOG inspect -f '{{.State.ExitCode}}' "$POD_NAME-pod-0-$service")" "$service"
        (($(ended_at "$service") >= $(ended_at nginx)))
    done
    (($(pod_says 'pod["terminationGracePeriodSeconds"]') - (SECONDS - began) > 20)) # nobody waited for a time-out
}
