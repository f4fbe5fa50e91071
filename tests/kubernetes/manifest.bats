#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# kubernetes.yml and what kustomize makes of it, by checkers; no cluster runs here. tests/containers/pod.bats plays the pod.
# needs: kubernetes

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/kubernetes

setup() {
    need_kubernetes
}

# pod_check FILE : what tests/lib/pod.py says of it
pod_check() {
    run "$TOOLS/python" "$ROOT/tests/lib/pod.py" "$1" "$ROOT"/docker-compose{,.override}.yml
}

# ---- the manifest ----

@test "it agrees with docker-compose.yml, and what waits for another's end waits for the longest time that this may take" {
    pod_check "$ROOT/kubernetes.yml"
    expect_equal '' "$output"
    expect_status 0
}

@test "each change of tests/cases/manifest.tsv is found, by a line that says what is wrong" {
    local title change expected changed=$BATS_TEST_TMPDIR/changed.yml
    while IFS=$'\t' read -r title change expected; do
        [[ $title != '#'* ]] || continue
        sed "$change" "$ROOT/kubernetes.yml" >"$changed"
        pod_check "$changed"
        expect_status 1
        expect_equal "$expected" "${lines[0]}" "$title"
    done <"$ROOT/tests/cases/manifest.tsv"
}

@test "Kubernetes 1.25, 1.32 and 1.37 know every field of it, and checkov finds nothing without a reason" {
    expect_strict "$ROOT/kubernetes.yml"
    expect_secure "$ROOT/kubernetes/base/cgi.yml"
}

@test "the checkers see a misspelt key, and a container that may gain privileges" {
    sed 's/minReadySeconds/minReadySecond/' "$ROOT/kubernetes.yml" >"$BATS_TEST_TMPDIR/misspelt.yml"
    run ! expect_strict "$BATS_TEST_TMPDIR/misspelt.yml"
    expect_match minReadySecond "$output"
    sed 's/allowPrivilegeEscalation: false/allowPrivilegeEscalation: true/' "$ROOT/kubernetes.yml" >"$BATS_TEST_TMPDIR/open.yml"
    run ! expect_secure "$BATS_TEST_TMPDIR/open.yml"
    expect_match '^CKV_K8S_20 Deployment' "$output"
}

# ---- kustomize ----

@test "the base of kustomize is kubernetes.yml, and nothing else" {
    expect_equal "$(as_json <"$ROOT/kubernetes.yml")" "$(kustomize "$ROOT/kubernetes/base" | as_json)"
}

# overlaid FILTER : of what the overlay makes, all in one array; jq's
overlaid() {
    kustomize "$ROOT/kubernetes/overlay" | as_json | jq -sr "$1"
}

@test "the overlay sets registry, tag, namespace, replicas, settings, and nginx's TLS pair by a Secret" {
    expect_equal cgi "$(overlaid 'map(select(.kind != "Namespace").metadata.namespace) | unique | join(" ")')" namespaces
    expect_equal '' "$(overlaid '.[] | .spec.template.spec.containers[]?.image | select(test("^registry.example.org/team/cgi-[a-z]+:1.0$") | not)')" images
    expect_equal '3 20' "$(overlaid '.[] | select(.kind == "HorizontalPodAutoscaler").spec | "\(.minReplicas) \(.maxReplicas)"')"
    expect_equal 'TLS_CERT=/run/tls/tls.crt TLS_KEY=/run/tls/tls.key TRUSTED_PROXIES=10.244.0.0/16' \
        "$(overlaid '.[] | select(.kind == "Deployment").spec.template.spec.containers[0].env
            | map(select(.name | test("_ADDR$|METRICS") | not) | "\(.name)=\(.value)") | sort | join(" ")')"
    expect_equal 'cgi-tls at /run/tls' "$(overlaid '.[] | select(.kind == "Deployment").spec.template.spec
        | (.volumes[] | select(.secret).secret.secretName) + " at " + (.containers[0].volumeMounts[] | select(.name == "tls").mountPath)')"
}

@test "all that the overlay makes is known to Kubernetes 1.25, 1.32 and 1.37, and checkov finds nothing without a reason" {
    kustomize "$ROOT/kubernetes/overlay" >"$BATS_TEST_TMPDIR/overlay.yml"
    expect_strict "$BATS_TEST_TMPDIR/overlay.yml"
    expect_secure "$BATS_TEST_TMPDIR/overlay.yml"
}

@test "the component for the Prometheus Operator is of the port and the pods that kubernetes.yml has" {
    mkdir "$BATS_TEST_TMPDIR/kubernetes"
    cp -r "$ROOT"/kubernetes/{base,monitoring} "$BATS_TEST_TMPDIR/kubernetes"
    mkdir "$BATS_TEST_TMPDIR/kubernetes/mine"
    printf '%s\n' 'resources: [../base]' 'components: [../monitoring]' >"$BATS_TEST_TMPDIR/kubernetes/mine/kustomization.yml"
    expect_equal '[true,true]' "$(kustomize "$BATS_TEST_TMPDIR/kubernetes/mine" | as_json | jq -sc '
        (.[] | select(.kind == "Deployment").spec.template) as $pod | .[] | select(.kind == "PodMonitor").spec
        | [(.podMetricsEndpoints[0].port | IN($pod.spec.containers[].ports[]?.name)), (.selector.matchLabels.app == $pod.metadata.labels.app)]')"
}
