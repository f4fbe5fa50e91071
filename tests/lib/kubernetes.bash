# shellcheck shell=bash
# The checkers of manifests, and kubectl, in $BUILD_DIR/kubernetes. A file says `load ../lib/kubernetes`, after helpers.

TOOLS=$BUILD_DIR/kubernetes/bin

# need_kubernetes : for setup(): skip the test, with the reason, where it cannot run
need_kubernetes() {
    [[ -z ${SANITIZE:-} ]] || skip "nothing of this is built"
    [[ -x $TOOLS/checkov ]] || skip "what tests/kubernetes/requirements.txt names could not be installed"
}

# kustomize FOLDER : all that it makes. kubectl asks no cluster for that.
kustomize() {
    KUBECONFIG=/dev/null "$TOOLS/kubectl" kustomize "$1"
}

# as_json < YAML : its documents, a line each, sorted
as_json() {
    "$TOOLS/python" -c 'import json, sys, yaml
def ordered(value):
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(one) for one in value] if isinstance(value, list) else value
print("\n".join(sorted(json.dumps(ordered(one)) for one in yaml.safe_load_all(sys.stdin))))'
}

# expect_strict FILE : it is valid in the oldest Kubernetes that the file names, in a later one, and in the newest one
expect_strict() {
    local version
    for version in 1.25 1.32 1.37; do
        "$TOOLS/kubernetes-validate" --strict --quiet -k "$version" "$1" >&2 || return
    done
}

# expect_secure FILE : checkov finds nothing that the file does not give a reason for
expect_secure() {
    local report
    report=$("$TOOLS/checkov" -f "$1" --framework kubernetes --compact --quiet --skip-download -o json) ||
        { jq -r '.results.failed_checks[] | "\(.check_id) \(.resource): \(.check_name)"' <<<"$report" >&2 && return 1; }
    expect_equal 0 "$(jq '.summary.failed' <<<"$report")" "what checkov finds" &&
        expect_equal 0 "$(jq '.summary.parsing_errors' <<<"$report")" "what checkov cannot read"
}
