#!/usr/bin/env bats
# shellcheck shell=bats
# Debian 14: the two commands of the README, typed on a fresh minimal machine.
# needs: containers

load ../lib/helpers
load ../lib/containers
load ../lib/fresh

setup_file() {
    start_fresh forky
}

teardown_file() {
    end_fresh
}

setup() {
    need_containers
}

@test "a fresh minimal Debian 14: ./scripts/run -d installs what is missing, builds, starts and answers, without a warning" {
    expect_answer
}
