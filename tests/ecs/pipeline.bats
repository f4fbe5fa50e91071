#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2016,SC2154 # what stands in a workflow is not for this shell; bats' `run` sets what it sets
# scripts/pipeline, and the files of the CI systems over it. That GitHub, GitLab and Jenkins take them, only these can show.
# needs: ecs-test

load ../lib/helpers
load ../lib/ecs

setup() {
    need_aws
}

# in_json FILE : a workflow, of YAML
in_json() {
    "$BUILD_DIR/aws/bin/python" -c 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))' <"$1"
}

@test "each workflow is YAML, runs nothing but a step of scripts/pipeline, and holds no secret and no condition" {
    local file
    for file in "$ROOT"/.github/workflows/*.yml; do
        in_json "$file" >"$BATS_TEST_TMPDIR/workflow"
        expect_equal '' "$(jq -r '.jobs[].steps[] | .run // empty' "$BATS_TEST_TMPDIR/workflow" |
            grep -vxE '\./scripts/pipeline (test|build|push|deploy)')" "what $file runs beside"
        expect_equal '[]' "$(jq -c '[.. | objects | keys[] | select(. == "if" or . == "shell")]' "$BATS_TEST_TMPDIR/workflow")"
        expect_no_match 'secrets\.|[Pp]assword|AKIA|SECRET_ACCESS_KEY' "$(<"$file")"
    done
    in_json "$ROOT/.github/workflows/deploy.yml" >"$BATS_TEST_TMPDIR/workflow"
    expect_equal 'test build push deploy' \
        "$(jq -r '[.jobs[].steps[] | .run // empty | split(" ")[1]] | join(" ")' "$BATS_TEST_TMPDIR/workflow")"
}

# schema NAME FILE : what check-jsonschema, which has the schemas of GitHub and GitLab, says of a file
schema() {
    run "$BUILD_DIR/aws/bin/check-jsonschema" --builtin-schema "vendor.$1" "$2"
}

@test "each workflow is what GitHub's schema says, and .gitlab-ci.yml what GitLab's says; a misspelt key is not" {
    local file
    for file in "$ROOT"/.github/workflows/*.yml; do
        schema github-workflows "$file"
        expect_status 0 "$file"
    done
    schema gitlab-ci "$ROOT/.gitlab-ci.yml"
    expect_status 0
    sed 's/runs-on/run-on/' "$ROOT/.github/workflows/test.yml" >"$BATS_TEST_TMPDIR/test.yml"
    schema github-workflows "$BATS_TEST_TMPDIR/test.yml"
    expect_status 1
    sed 's/resource_group: deploy/resource_group: [deploy]/' "$ROOT/.gitlab-ci.yml" >"$BATS_TEST_TMPDIR/gitlab-ci.yml"
    schema gitlab-ci "$BATS_TEST_TMPDIR/gitlab-ci.yml"
    expect_status 1
}

@test ".gitlab-ci.yml runs the four steps in their order, one deployment at a time, and holds no secret" {
    in_json "$ROOT/.gitlab-ci.yml" >"$BATS_TEST_TMPDIR/gitlab"
    expect_equal 'test build push deploy' \
        "$(jq -r '.deploy.script | map(ltrimstr("./scripts/pipeline ")) | join(" ")' "$BATS_TEST_TMPDIR/gitlab")"
    expect_equal '[["./scripts/pipeline test"],"deploy"]' "$(jq -c '[.test.script, .deploy.resource_group]' "$BATS_TEST_TMPDIR/gitlab")"
    expect_no_match 'before_script|after_script|[Pp]assword|AKIA|SECRET' "$(<"$ROOT/.gitlab-ci.yml")"
}

@test "the Jenkinsfile runs the four steps in their order, and nothing else" {
    expect_equal 'test build push deploy' \
        "$(sed -nE "s/.*sh '\.\/scripts\/pipeline ([a-z]+)'.*/\1/p" "$ROOT/Jenkinsfile" | paste -sd ' ')"
    expect_equal 4 "$(grep -cE '\b(sh|bat|script|powershell)\b *[({"'\'']' "$ROOT/Jenkinsfile")"
    expect_no_match 'credentials|[Pp]assword|AKIA|SECRET' "$(<"$ROOT/Jenkinsfile")"
    expect_equal "$(tr -cd '{' <"$ROOT/Jenkinsfile" | wc -c)" "$(tr -cd '}' <"$ROOT/Jenkinsfile" | wc -c)" "braces"
}

@test "each step calls its script, with the options given; no other is known" {
    local step script
    while read -r step script; do
        run "$ROOT/scripts/pipeline" "$step" --help
        expect_match "usage: ./scripts/$script" "$output"
    done <<<$'test test\nbuild images\npush ecs\ndeploy ecs'
    local words
    for words in publish "''"; do
        eval "run '$ROOT/scripts/pipeline' $words"
        expect_status 2
        expect_equal "pipeline: \"${words#\'\'}\" is no step; test, build, push and deploy are" "$output"
    done
    run "$ROOT/scripts/pipeline" --help
    expect_status 0
}
