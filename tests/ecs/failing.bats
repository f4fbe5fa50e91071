#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# Deployments that do not get stable, in this order: all end where they began, and say why. aws_server.py plays ECS's
# part, since moto has no scheduler: its end is in the tag of the images.
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
    [[ $BATS_TEST_NUMBER == 1 ]] || load_outputs
}

# expect_failure REGEX : the last `ecs` failed; its last line says this
expect_failure() {
    expect_equal 1 "$status" "exit status; it printed: $output $stderr" &&
        expect_match "^ecs: $1" "${stderr##*$'\n'}"
}

@test "a first deployment that fails ends with no task, and with what the tasks said; the next one succeeds" {
    IMAGE_TAG=broken-1 ecs up
    expect_done
    note_outputs
    load_outputs
    has_images broken-1
    IMAGE_TAG=broken-1 ecs deploy
    expect_failure 'cgi:1 did not get stable \(.*\); it is taken back, to 0 tasks'
    expect_match 'Task failed container health checks' "$stderr"
    expect_match '0$' "$(serves "$SERVICE")"
    has_images good-2
    IMAGE_TAG=good-2 ecs deploy
    expect_done
    expect_equal 'cgi:2 2' "$(serves "$SERVICE")"
}

@test "what the circuit breaker takes back is a failure, though the service is stable then" {
    has_images broken-3
    IMAGE_TAG=broken-3 ecs deploy
    expect_failure 'cgi:3 did not get stable \(ECS deployment circuit breaker: tasks failed to start\); it is taken back'
    expect_match 'rolling back to deployment' "$output"
    expect_match 'has reached a steady state' "$output"
    expect_equal 'cgi:2 2' "$(serves "$SERVICE")"
    expect_equal '1 2 (3)' "$(registered)"
}

@test "what neither fails nor gets stable is taken back after WAIT_SECONDS; what fails without a circuit breaker, at once" {
    has_images stuck-4
    WAIT_SECONDS=3 IMAGE_TAG=stuck-4 ecs deploy
    # its second wait, for the way back, has as long
    expect_match '^cgi:4 is taken back: it is not stable after 3 s' "$(grep taken <<<"$output")"
    expect_failure 'cgi:4 did not get stable \(it is not stable after 3 s\)'
    expect_equal 'cgi:2 2' "$(serves "$SERVICE")"
    has_images crowded-4
    WAIT_SECONDS=3 IMAGE_TAG=crowded-4 ecs deploy
    expect_failure 'cgi:5 did not get stable .it is not stable after 3 s: was unable to place a task. Reason: You.ve reached the limit'
    has_images hollow-5
    IMAGE_TAG=hollow-5 ecs deploy
    expect_failure 'cgi:6 did not get stable \(ECS deployment circuit breaker: tasks failed to start\); it is taken back, to 2'
    expect_equal 'cgi:2 2' "$(serves "$SERVICE")"
}

@test "a canary that does not get stable never has a request, and ends" {
    has_images hollow-6
    IMAGE_TAG=hollow-6 ecs deploy --canary 10
    expect_failure 'cgi:7 did not get stable .*; it is taken back, to 0 tasks'
    expect_match '0$' "$(serves "$CANARY")"
    expect_equal '' "$(weights)" "no part was ever given"
    expect_equal 'cgi:2 2' "$(serves "$SERVICE")"
    ecs promote
    expect_refused 'there is no canary'
}
