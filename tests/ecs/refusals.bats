#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# What bad input gets from scripts/ecs: one line that says what and what next, and nothing half made.

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
    WAIT_SECONDS=soon ecs deploy
    expect_refused 'WAIT_SECONDS is "soon"; set it to a whole number'
    ecs deploy --canary 100
    expect_refused 'N is "100"; set it to a whole number from 1 to 99'
    ecs scale many
    expect_refused 'N is "many"; set it to a whole number from 0'
    ecs up MinCuont=3
    expect_refused 'cloudformation.yml has no parameter "MinCuont"; it has ImageRegistry'
}

@test "--help says what there is; what is not known is refused with it" {
    run "$ROOT/scripts/ecs" --help
    expect_status 0
    expect_match '^usage: ./scripts/ecs COMMAND' "$output"
    local words
    for words in '' 'start' 'deploy 10' 'down --now' 'scale' 'up MinCount'; do
        # shellcheck disable=SC2086 # words
        run "$ROOT/scripts/ecs" $words
        expect_status 2
    done
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
    expect_equal other/cgi-transform "$(ecr_api CreateRepository '{"repositoryName": "other/cgi-transform"}' \
        .repository.repositoryName)"
    STACK=other ecs up
    expect_refused 'repository other/cgi-transform exists and has no tag stack=other; tag it so if it is yours, or set STACK'
    STACK=other ecs down --yes
    expect_done
    expect_equal other/cgi-transform "$(ecr_api DescribeRepositories '{}' '.repositories[].repositoryName')"
}

@test "a stack that could not be made says why; then only down helps, and up after it" {
    export STACK=refused-1
    ecs up
    expect_equal 1 "$status"
    expect_match 'CREATE_FAILED Service Resource handler returned message' "$output"
    expect_match '^ecs: stack refused-1 is in ROLLBACK_COMPLETE, the reason is above' "$stderr"
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
