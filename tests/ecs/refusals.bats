#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# What bad input gets from scripts/ecs: one line that says what and what next, and nothing half made.
# needs: ecs-test

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/ecs

setup_file() {
    start_aws
}

teardown_file() {
    end_aws
}

setup() {
    need_aws
    export IMAGE_TAG=v1
}

@test "a setting that cannot be is refused by name, before AWS is asked" {
    export AWS_ENDPOINT_URL=http://127.0.0.1:1
    AWS_REGION='' ecs status
    expect_refused 'AWS_REGION is not set; set it to'
    AWS_REGION=Frankfurt ecs status
    expect_refused 'AWS_REGION is "Frankfurt"; set it to a region'
    STACK=My_Stack ecs status
    expect_refused 'STACK is "My_Stack"; small letters'
    IMAGE_TAG='v 1' ecs deploy
    expect_refused 'IMAGE_TAG is "v 1"'
    PULL_BY=luck ecs deploy
    expect_refused 'PULL_BY is "luck"; set it to tag or digest'
    REPLICATE_TO='eu-west-1 Ireland' ecs up
    expect_refused 'REPLICATE_TO has "Ireland"; set it to regions, like eu-west-1'
    REPLICATE_TO=eu-central-1 ecs up
    expect_refused 'REPLICATE_TO has eu-central-1, which is AWS_REGION itself'
    WAIT_SECONDS=soon ecs deploy
    expect_refused 'WAIT_SECONDS is "soon"; set it to a whole number'
}

# An empty word is what a variable gives that is not set: `ecs scale "$COUNT"` once scaled to 0.
@test "a word that is wrong, empty, repeated or too many is refused by one line, with 2, before AWS is asked" {
    export AWS_ENDPOINT_URL=http://127.0.0.1:1
    local words expected arguments
    while IFS='|' read -r words expected; do
        eval "arguments=($words)"
        ecs "${arguments[@]}"
        expect_refused "$expected" 2
    done <<'WORDS'
|a command is missing; --help
start|"start" is no command; up, push, deploy, promote, abort, rollback, scale, dns, status, logs, unlock and down are
''|"" is no command; up, push
deploy 10|"10" is no option of deploy; --canary is
deploy ''|"" is no option of deploy; --canary is
deploy --canary|the percentage of the canary is missing
deploy --canary 100|"100" is no percentage of a canary; a whole number from 1 to 99 is
deploy --canary ''|"" is no percentage of a canary
deploy --canary 10 --canary|"--canary" is one word too many
scale|the number of tasks is missing
scale ''|"" is no number of tasks; a whole number from 0 to 5000 is
scale many|"many" is no number of tasks; a whole number from 0 to 5000 is
scale -1|"-1" is no number of tasks
scale 2 3|"3" is one word too many
dns|the weight is missing
dns ''|"" is no weight; a whole number from 0 to 255 is
dns 256|"256" is no weight; a whole number from 0 to 255 is
dns half|"half" is no weight
dns 1 2|"2" is one word too many
unlock now|"now" is one word too many
down --now|"--now" is no option of down; --yes is
down --yes --yes|"--yes" is one word too many
up MinCount|"MinCount" has no value; say MinCount=VALUE
up MinCuont=3|"MinCuont" is no parameter of cloudformation.yml; ImageRegistry, ImageTag,
up MinCount=3 MinCount=4|"MinCount=4" is one word too many; MinCount has a value already
up ''|"" is no parameter of cloudformation.yml; ImageRegistry
logs ''|"" is no option of aws logs tail
status now|"now" is one word too many
rollback ''|"" is one word too many
WORDS
}

@test "no credentials, an AWS that is not there, a region without the stack" {
    AWS_ACCESS_KEY_ID='' AWS_SECRET_ACCESS_KEY='' ecs status
    expect_refused 'AWS takes no credentials from here \(.*\); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and'
    AWS_ENDPOINT_URL=http://127.0.0.1:1 AWS_MAX_ATTEMPTS=1 ecs status
    expect_refused 'nothing answers in AWS_REGION eu-central-1'
    local command
    for command in status deploy rollback; do
        AWS_REGION=eu-west-3 ecs "$command"
        expect_refused 'there is no stack cgi in eu-west-3; ./scripts/ecs up makes it, or set STACK or AWS_REGION'
    done
}

@test "somebody else's repository of the same name is left alone, by up and by down" {
    expect_equal other/cgi-nginx "$(ecr_api CreateRepository '{"repositoryName": "other/cgi-nginx"}' \
        .repository.repositoryName)"
    STACK=other ecs up
    expect_refused 'repository other/cgi-nginx exists and has no tag stack=other; tag it so if it is yours, or set STACK'
    STACK=other ecs down --yes
    expect_done
    expect_equal other/cgi-nginx "$(ecr_api DescribeRepositories '{}' '.repositories[].repositoryName')"
}

@test "a stack that could not be made says why; then only down helps, and up after it" {
    export STACK=refused-1
    ecs up
    expect_equal 1 "$status"
    expect_match 'CREATE_FAILED Service Resource handler returned message' "$output"
    expect_match '^ecs: stack refused-1 is in ROLLBACK_COMPLETE: the reason is above' "$stderr"
    local command
    for command in up deploy 'scale 2'; do
        # shellcheck disable=SC2086 # words
        ecs $command
        expect_refused 'stack refused-1 is in ROLLBACK_COMPLETE, it never was whole; ./scripts/ecs down, then up'
    done
    ecs down --yes
    expect_done
    expect_match 'nothing is left of refused-1' "$output"
}

@test "an image that nobody has built, changes without a commit, nothing to go back to: the stack stays as it was" {
    IMAGE_TAG=v1 ecs up
    expect_done
    note_outputs
    load_outputs
    local registry=123456789012.dkr.ecr.eu-central-1.amazonaws.com/cgi
    if docker version >/dev/null 2>&1; then
        run --separate-stderr env IMAGE_TAG=never-built-$$ "$ROOT/scripts/ecs" deploy
        expect_equal 1 "$status"
        expect_equal "images: there is no $registry/cgi-app:never-built-$$ to push; ./scripts/images build first" "$stderr"
    fi
    IMAGE_TAG=abc-dirty ecs deploy
    expect_refused 'the checkout has changes that are in no commit; commit them, or set IMAGE_TAG'
    ecs rollback
    expect_refused 'there is no revision before cgi:1 whose images are in the registry'
    has_images v2
    IMAGE_TAG=v2 ecs deploy --canary 10
    expect_refused 'nothing runs yet that a canary could be beside; ./scripts/ecs deploy first'
    expect_equal '1' "$(registered)"
    expect_equal 'cgi:1 0' "$(serves "$SERVICE")"
}

# copy_of_ecs SCRIPT : what scripts/ecs is made of, with the file `services` changed by sed
copy_of_ecs() {
    mkdir -p "$BATS_TEST_TMPDIR/copy"
    cp -r "$ROOT"/{scripts,services,cloudformation.yml} "$BATS_TEST_TMPDIR/copy"
    sed -i "$1" "$BATS_TEST_TMPDIR/copy/services"
}

@test "deploy refuses a stack with a container less or more than the file services; somebody else's is said to stay" {
    export STACK=parts
    ecs up
    expect_done
    note_outputs
    load_outputs
    has_images v2
    copy_of_ecs "/^$CALLED /d"
    IMAGE_TAG=v2 run --separate-stderr "$BATS_TEST_TMPDIR/copy/scripts/ecs" deploy
    expect_refused "the stack has a container of $CALLED, which is not in the file services; ./scripts/ecs up takes it out"
    copy_of_ecs '$ a probe 9100 2 128 128 nginx /probe'
    expect_equal parts/cgi-probe "$(ecr_api CreateRepository '{"repositoryName": "parts/cgi-probe"}' .repository.repositoryName)"
    has_images v2 probe
    IMAGE_TAG=v2 run --separate-stderr "$BATS_TEST_TMPDIR/copy/scripts/ecs" deploy
    expect_refused 'the stack has no container of probe; ./scripts/ecs up brings it in'
    expect_equal 1 "$(registered)"

    definition parts:1 | jq '.taskDefinition | {family, cpu, memory, networkMode, requiresCompatibilities, executionRoleArn,
        containerDefinitions: (.containerDefinitions + [{name: "helper", image: "example.org/helper:7", memory: 64}])}' \
        >"$BATS_TEST_TMPDIR/helped"
    expect_equal 2 "$(ecs_api RegisterTaskDefinition "$(<"$BATS_TEST_TMPDIR/helped")" .taskDefinition.revision)"
    ecs_api UpdateService "{\"cluster\": \"$CLUSTER\", \"service\": \"$SERVICE\", \"taskDefinition\": \"parts:2\"}" empty
    IMAGE_TAG=v2 ecs deploy
    expect_done
    expect_equal 'container helper keeps its image' "${lines[0]}"
    expect_equal "$(full_images 123456789012.dkr.ecr.eu-central-1.amazonaws.com/parts v2) example.org/helper:7" "$(images_in_use)"
}
