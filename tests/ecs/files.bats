#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# The files that ecs-cli reads, without ecs-cli, which is no package of Debian's: its rules are in tests/ecs/schemas and
# tests/ecs/rules.py. What an instance does with its links, and Fargate with its volumes, only AWS can show.
# needs: ecs-test

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/ecs
load ../lib/moto

setup() {
    need_aws
    unset REGISTRY IMAGE_TAG HTTP_PORT HTTPS_PORT BASE LOG_GROUP
}

check() {
    "$AWS_PYTHON" "$ROOT/tests/ecs/files.py" "$@"
}

@test "EC2: both files keep every rule of ecs-cli and of ECS" {
    run check check ec2 "$ROOT"
    expect_equal '' "$output"
    expect_status 0
}

@test "Fargate: both files keep every rule of ecs-cli and of ECS" {
    run check check fargate "$ROOT"
    expect_equal '' "$output"
    expect_status 0
}

@test "each change of tests/cases/ecs-files.tsv is refused, by a line that names file, key and rule" {
    run check cases "$ROOT/tests/cases/ecs-files.tsv" "$ROOT"
    expect_equal "$(grep -vc '^#' "$ROOT/tests/cases/ecs-files.tsv")" "$output"
    expect_status 0
}

@test "ECS's files differ from docker-compose.yml in what they are for alone: nobody runs as root, no root can be written to" {
    command -v docker-compose >/dev/null || skip "there is no docker-compose"
    local file base services rest='del(.version, .services[].logging, .services.nginx.links, .services.nginx.depends_on)
        | .services.nginx.environment |= with_entries(select(.key | endswith("_ADDR") | not))'
    base=$(compose_json "$ROOT/docker-compose.yml" | jq -S "$rest")
    for file in docker-compose.ecs.yml docker-compose.fargate.yml; do
        services=$(compose_json "$ROOT/$file" | jq -S "$rest")
        expect_equal "$base" "$services" "$file"
    done
    expect_json '["10001:10001",true,["ALL"]]' '[.services[] | [.user, .read_only, .cap_drop]] | unique[]' <<<"$services"
}

# compose_json FILES : what docker-compose makes of them
compose_json() {
    AWS_REGION=eu-west-1 COMPOSE_FILE=$1 docker-compose config |
        "$AWS_PYTHON" -c 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))'
}

@test "docker-compose takes docker-compose.yml alone, with its override, and each file of ECS" {
    command -v docker-compose >/dev/null || skip "there is no docker-compose"
    local names file
    names=$(jq -cn '$ARGS.positional | sort' --args "${IMAGES[@]}")
    for file in yml ecs.yml fargate.yml; do
        compose_json "$ROOT/docker-compose.$file" | expect_json "$names" '.services | keys'
    done
    (cd "$ROOT" && unset COMPOSE_FILE && docker-compose config) >"$BATS_TEST_TMPDIR/config"
    expect_equal "${#IMAGES[@]}" "$(grep -c no-new-privileges "$BATS_TEST_TMPDIR/config")" "by itself, it takes docker-compose.override.yml"
}

@test "without AWS_REGION, docker-compose refuses each file of ECS and says what to set" {
    command -v docker-compose >/dev/null || skip "there is no docker-compose"
    local file
    for file in ecs fargate; do
        run env -u AWS_REGION COMPOSE_FILE="$ROOT/docker-compose.$file.yml" docker-compose config
        ((status != 0))
        expect_match 'AWS_REGION.*set it to where the logs go' "$output"
    done
}

# docker-compose 1.29 brings the schema of the Compose specification.
@test "docker-compose.yml and each file beside it are valid under the Compose specification" {
    local spec=/usr/lib/python3/dist-packages/compose/config/compose_spec.json file
    [[ -e $spec ]] || skip "there is no $spec"
    for file in "$ROOT"/docker-compose*.yml; do
        "$AWS_PYTHON" -c 'import json, sys, jsonschema, yaml
jsonschema.validate(yaml.safe_load(open(sys.argv[2])), json.load(open(sys.argv[1])), jsonschema.Draft7Validator)' \
            "$spec" "$file"
    done
}
