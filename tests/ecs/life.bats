#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# The life of a stack, from up to down, by scripts/ecs and the AWS CLI against moto: one story, told in this order.
# aws_server.py says what moto cannot play.
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

# expected_images TAG
expected_images() {
    full_images 123456789012.dkr.ecr.eu-central-1.amazonaws.com/cgi "$1"
}

@test "up makes a repository for each image, this stack's own, and the stack, and starts nothing" {
    IMAGE_TAG=v1 ecs up MinCount=3
    expect_done
    expect_match 'made repository cgi/cgi-nginx' "$output"
    expect_match 'CREATE_COMPLETE cgi' "$output"
    expect_match '^stack cgi is up' "${lines[-1]}"
    note_outputs
    load_outputs
    expect_equal "$(printf '%s IMMUTABLE\n' "${IMAGES[@]/#/cgi/cgi-}" | sort)" \
        "$(ecr_api DescribeRepositories '{}' '.repositories[] | "\(.repositoryName) \(.imageTagMutability)"' | sort)"
    expect_match imageCountMoreThan "$(ecr_api GetLifecyclePolicy '{"repositoryName": "cgi/cgi-app"}' .lifecyclePolicyText)"
    expect_equal 'cgi:1 0' "$(serves "$SERVICE")"
    expect_equal 'cgi:1 0' "$(serves "$CANARY")"
    expect_equal "$(expected_images v1)" "$(images_in_use)"
    grep -qx 'TaskFamily cgi' "$BATS_FILE_TMPDIR/outputs" # down knows the revisions by the stack's name
}

@test "deploy registers this commit's images, brings MinCount tasks up, and shows what ECS says meanwhile" {
    has_images v2
    IMAGE_TAG=v2 ecs deploy
    expect_done
    expect_match 'has started 3 tasks' "$output"
    expect_match 'has reached a steady state' "$output"
    expect_match '^cgi:2 runs, 3 tasks, at http://' "${lines[-1]}"
    expect_equal 'cgi:2 3' "$(serves "$SERVICE")"
    expect_equal "$(expected_images v2)" "$(images_in_use)"
}

@test "what is registered is docker-compose.yml, container by container, and Fargate's" {
    definition cgi:2 >"$BATS_TEST_TMPDIR/registered"
    run "$BUILD_DIR/aws/bin/python" "$ROOT/tests/ecs/task_definition.py" \
        123456789012.dkr.ecr.eu-central-1.amazonaws.com/cgi v2 <"$BATS_TEST_TMPDIR/registered"
    expect_equal '' "$output"
    expect_status 0
    # The rest is the template's, and goes from one revision to the next.
    local of_revision='.taskDefinition | [.networkMode, .requiresCompatibilities[0], .cpu, .memory, (.containerDefinitions |
        map(.healthCheck.command[0], .logConfiguration.options["awslogs-group"]))]'
    expect_equal '["awsvpc","FARGATE","512","1024",["CMD","/ecs/cgi","CMD","/ecs/cgi","CMD","/ecs/cgi"]]' \
        "$(jq -c "$of_revision" "$BATS_TEST_TMPDIR/registered")"
    definition cgi:1 >"$BATS_TEST_TMPDIR/template"
    local same='.taskDefinition | del(.revision, .taskDefinitionArn, .registeredAt, .containerDefinitions[].image)'
    diff <(jq -S "$same" "$BATS_TEST_TMPDIR/template") <(jq -S "$same" "$BATS_TEST_TMPDIR/registered") >&2
}

@test "deploy of the same commit registers nothing and starts nothing; up after a deployment leaves what runs" {
    IMAGE_TAG=v2 ecs deploy
    expect_done
    expect_no_match 'has started' "$output"
    expect_equal '1 2' "$(registered)"
    IMAGE_TAG=v3 ecs up
    expect_done
    expect_no_match 'made repository' "$output"
    expect_equal v2 "$(parameter ImageTag)"
    expect_equal -1 "$(parameter DesiredCount)"
    expect_equal 3 "$(parameter MinCount)"
    expect_equal 'cgi:3 3' "$(serves "$SERVICE")" "the stack has a revision of its own, of the same"
    expect_equal "$(expected_images v2)" "$(images_in_use)"
}

@test "scale sets how many tasks run, within what scaling keeps; deploy leaves it" {
    ecs scale 5
    expect_done
    expect_equal 'cgi:3 5' "$(serves "$SERVICE")"
    ecs scale 2
    expect_refused '2 is not in 3 to 8, where scaling keeps it; ./scripts/ecs up MinCount='
    has_images v3
    IMAGE_TAG=v3 ecs deploy
    expect_done
    expect_equal 'cgi:4 5' "$(serves "$SERVICE")"
    expect_equal "$(expected_images v3)" "$(images_in_use)"
}

@test "a canary gets its part of the requests and of the tasks; what else would change the service waits for its end" {
    has_images v4
    IMAGE_TAG=v4 ecs deploy --canary 10
    expect_done
    expect_match '^cgi:5 has 10% of the requests' "${lines[-1]}"
    expect_equal '90 10' "$(weights)"
    expect_equal 'cgi:5 1' "$(serves "$CANARY")"
    expect_equal 'cgi:4 5' "$(serves "$SERVICE")"
    IMAGE_TAG=v4 ecs deploy --canary 50
    expect_done
    expect_equal '50 50' "$(weights)"
    expect_equal 'cgi:5 3' "$(serves "$CANARY")"
    local command
    for command in rollback up; do
        IMAGE_TAG=v4 ecs "$command"
        expect_refused 'cgi:5 is a canary; ./scripts/ecs promote or abort it first'
    done
    has_images v5
    IMAGE_TAG=v5 ecs deploy --canary 10
    expect_refused 'cgi:5 is a canary'
    ecs status
    expect_done
    expect_match 'canary +cgi:5 +v4 +3 +3 +0 COMPLETED +50%' "$output"
    expect_match 'service +cgi:4 +v3 +5 +5 +0 COMPLETED +50%' "$output"
}

@test "abort takes all requests back, ends the canary, and its revision is none to go back to" {
    ecs abort
    expect_done
    expect_equal '100 0' "$(weights)"
    expect_equal 'cgi:5 0' "$(serves "$CANARY")"
    expect_equal 'cgi:4 5' "$(serves "$SERVICE")"
    expect_equal '2 3 4 (5)' "$(registered)"
    ecs abort
    expect_refused 'there is no canary; ./scripts/ecs deploy --canary 10 begins one'
}

@test "promote brings the canary's revision to all requests" {
    IMAGE_TAG=v5 ecs deploy --canary 10
    expect_done
    ecs promote
    expect_done
    expect_equal '100 0' "$(weights)"
    expect_equal 'cgi:6 5' "$(serves "$SERVICE")"
    expect_equal 'cgi:6 0' "$(serves "$CANARY")"
    expect_equal "$(expected_images v5)" "$(images_in_use)"
    ecs promote
    expect_refused 'there is no canary'
}

@test "rollback goes to the revision before that has its images, and what was left is none to go back to" {
    expect_equal '[]' "$(ecr_api BatchDeleteImage \
        '{"repositoryName": "cgi/cgi-nginx", "imageIds": [{"imageTag": "v3"}]}' '.failures | tojson')"
    ecs rollback
    expect_done
    expect_equal 'cgi:3 5' "$(serves "$SERVICE")"
    expect_equal "$(expected_images v2)" "$(images_in_use)"
    expect_equal '2 3 4 (5) (6)' "$(registered)"
    ecs rollback
    expect_refused 'there is no revision before cgi:3 whose images are in the registry'
    expect_equal 'cgi:3 5' "$(serves "$SERVICE")"
}

@test "a rollback that broke off is finished by the next, not taken one further" {
    has_images v6
    IMAGE_TAG=v6 ecs deploy
    expect_done
    local left
    left=$(serves "$SERVICE")
    # as far as the first call came: ECS is told, nobody looked since
    ecs_api UpdateService "{\"cluster\": \"$CLUSTER\", \"service\": \"$SERVICE\", \"taskDefinition\":
        \"$(definition cgi:3 | jq -r .taskDefinition.taskDefinitionArn)\"}" 'if .service then empty else error(tojson) end'
    ecs rollback
    expect_done
    expect_match "^going back from ${left% *} to cgi:3" "${lines[0]}"
    expect_equal 'cgi:3 5' "$(serves "$SERVICE")"
    expect_equal '2 3 4 (5) (6) (7)' "$(registered)"
}

@test "logs shows what the containers wrote" {
    ask '@' logs create-log-stream --log-group-name /ecs/cgi --log-stream-name app >/dev/null
    ask '@' logs put-log-events --log-group-name /ecs/cgi --log-stream-name app \
        --log-events "timestamp=$(date +%s000),message=the-services-own-line" >/dev/null
    ecs logs
    expect_done
    expect_match 'the-services-own-line' "$output"
}

@test "down asks for the stack's name; then nothing is left, and again is no error" {
    run --separate-stderr "$ROOT/scripts/ecs" down <<<'yes'
    expect_equal 1 "$status"
    expect_match 'its name, to do so: ecs: nothing was deleted' "$stderr"
    expect_equal 'cgi:3 5' "$(serves "$SERVICE")"
    run --separate-stderr "$ROOT/scripts/ecs" down <<<'cgi'
    expect_equal 0 "$status"
    expect_match '^nothing is left of cgi in eu-central-1' "${lines[-1]}"
    expect_equal '' "$(registered)"
    expect_equal '[]' "$(ecr_api DescribeRepositories '{}' '.repositories | tojson')"
    ecs down --yes
    expect_done
    ecs status
    expect_refused 'there is no stack cgi in eu-central-1; ./scripts/ecs up makes it'
}
