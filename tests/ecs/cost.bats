#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# docs/ecs-cost.md: the table of what the stack costs is that of the template. Whether AWS's prices are still those of cost.py, only
# AWS says.
# needs: ecs-test

load ../lib/helpers
load ../lib/ecs
load ../lib/moto

setup() {
    need_aws
}

@test "docs/ecs-cost.md has the table that the template gives; tests/ecs/cost.py prints it" {
    expect_equal "$("$AWS_PYTHON" "$ROOT/tests/ecs/cost.py")" "$(grep '^|' "$ROOT/docs/ecs-cost.md")"
}

@test "each type of resource has a price, or is known to be free" {
    expect_equal '' "$("$AWS_PYTHON" "$ROOT/tests/ecs/cost.py" types)"
}
