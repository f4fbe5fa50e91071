#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; bats' `run` sets what it sets
# The life of a stack with every option, from up to down, in this order; life.bats has none. That Route 53 asks for /_health and
# divides clients by weights, and that ACM validates a certificate, only AWS can show. moto makes no Namespace (template.bats has it).
# needs: ecs-test

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/ecs
load ../lib/moto

setup_file() {
    start_aws
    ! why_no_aws >/dev/null || return 0
    ZONE=$(make_zone example.org)
    export ZONE NAME=shop.example.org
}

teardown_file() {
    end_aws
}

setup() {
    need_aws
    [[ ! -e $BATS_FILE_TMPDIR/outputs ]] || load_outputs
}

# make_zone DOMAIN [OPTION...] : its id
make_zone() {
    ask HostedZone.Id route53 create-hosted-zone --name "$1" --caller-reference "$*" "${@:2}" | sed 's|.*/||'
}

# put_record ACTION RECORD : of NAME, JSON without it
put_record() {
    ask '@' route53 change-resource-record-sets --hosted-zone-id "$ZONE" --change-batch "$(jq -nc --arg action "$1" \
        --argjson record "$2" --arg name "$NAME" '{Changes: [{Action: $action, ResourceRecordSet: ($record + {Name: $name})}]}')"
}

# records FILTER : of the name
records() {
    /usr/bin/aws --endpoint-url "$AWS_ENDPOINT_URL" --region "$AWS_REGION" --output json route53 list-resource-record-sets \
        --hosted-zone-id "$ZONE" | jq -c --arg name "$NAME." "[.ResourceRecordSets[] | select(.Name == \$name)] | $1"
}

# canary_rule : the weights of the service and of the canary for who asks for the canary
canary_rule() {
    local rule
    rule=$(stack_says "Outputs[?OutputKey=='CanaryRule'].OutputValue")
    ask "Rules[0].Actions[0].ForwardConfig.TargetGroups[].Weight" elbv2 describe-rules --rule-arns "$rule"
}

other_region() {
    jq -nc --argjson weight "$1" '{Type: "A", SetIdentifier: "cgi-eu-west-3", Weight: $weight, TTL: 60,
        ResourceRecords: [{Value: "192.0.2.7"}]}'
}

@test "a zone that is not there, is private, is of another domain, or has the name already: up refuses it before anything is made" {
    IMAGE_TAG=v1
    export IMAGE_TAG
    ecs up DnsName="$NAME"
    expect_refused 'DnsName and DnsZoneId belong together; set both, or none'
    ecs up DnsName="$NAME" DnsZoneId=Z000NOTHERE
    expect_refused 'there is no hosted zone Z000NOTHERE; aws route53 list-hosted-zones'
    local zone
    zone=$(make_zone example.net)
    ecs up DnsName="$NAME" DnsZoneId="$zone"
    expect_refused "DnsName $NAME is not in hosted zone $zone, which has example.net"
    zone=$(make_zone example.org --hosted-zone-config PrivateZone=true --vpc VPCRegion=eu-central-1,VPCId=vpc-1)
    ecs up DnsName="$NAME" DnsZoneId="$zone"
    expect_refused "hosted zone $zone of example.org is private"
    local plain='{"Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "elsewhere.example.net"}]}'
    put_record CREATE "$plain"
    ecs up DnsName="$NAME" DnsZoneId="$ZONE"
    expect_refused "$NAME has a record of type CNAME without a weight; delete that, or choose another DnsName"
    put_record DELETE "$plain"
    ecs status
    expect_refused 'there is no stack cgi'
    expect_equal '[]' "$(ecr_api DescribeRepositories '{}' '.repositories | tojson')"
}

@test "a certificate that nobody validates, a quota: up says what to do about it" {
    STACK=unproven-1 ecs up
    expect_equal 1 "$status"
    expect_match "^ecs: stack unproven-1 is in ROLLBACK_COMPLETE: the certificate was not validated; have DnsName's domain" "$stderr"
    STACK=waiting-1 WAIT_SECONDS=2 ecs up
    expect_equal 1 "$status"
    expect_match 'in CREATE_IN_PROGRESS after 2 s, and its certificate is not validated; do the name servers .* AWS goes on' "$stderr"
    STACK=crowded-1 ecs up
    expect_match '^ecs: stack crowded-1 is in ROLLBACK_COMPLETE: a quota of the account is used up; have it raised' "$stderr"
}

@test "with every option up makes the records of the name, A and AAAA, with a certificate of its own, and says the name" {
    IMAGE_TAG=v1 ecs up DnsName="$NAME" DnsZoneId="$ZONE" MoreAlarms=on ShowDashboard=on AlarmEmail=ops@example.org \
        AlarmUrl=https://pager.example.org/in MinCount=3 TrustedProxies=192.0.2.0/24
    expect_done
    expect_match "brings this commit to https://$NAME\$" "${lines[-1]}"
    note_outputs
    load_outputs
    expect_equal '[["A","cgi-eu-central-1",1,null,false],["AAAA","cgi-eu-central-1",1,null,false]]' \
        "$(records 'map([.Type, .SetIdentifier, .Weight, .HealthCheckId, .AliasTarget.EvaluateTargetHealth]) | sort')"
    local certificate
    certificate=$(ask 'Listeners[0].Certificates[0].CertificateArn' elbv2 describe-listeners --listener-arns "$LISTENER")
    expect_equal "$NAME DNS" "$(ask 'Certificate.[DomainName, DomainValidationOptions[0].ValidationMethod]' \
        acm describe-certificate --certificate-arn "$certificate")"
    IMAGE_TAG=v1 ecs up
    expect_done
    ecs status
    expect_done
    expect_match "^address  https://$NAME\$" "${lines[1]}"
}

@test "what AWS is sent is the template without its comments, with room for services more in the 51,200 bytes that it takes" {
    ask TemplateBody cloudformation get-template --stack-name cgi >"$BATS_TEST_TMPDIR/sent"
    local bytes
    bytes=$(sed -E '/^ *#/d; /^Parameters:/,/^Rules:/ { /^    Description: /d }' "$ROOT/cloudformation.yml" | wc -c)
    ((bytes < 51200 - 4 * 1800)) || { echo "$bytes bytes" >&2 && return 1; }
    run ! grep -q 'A request with this in its X-Canary header' "$BATS_TEST_TMPDIR/sent"
    grep -q 'DnsIpv6Record' "$BATS_TEST_TMPDIR/sent"
}

@test "deploy, canary and promote are as without options; X-Canary goes to the service while there is no canary" {
    has_images v2
    IMAGE_TAG=v2 ecs deploy
    expect_done
    expect_match "runs, 3 tasks, at https://$NAME\$" "${lines[-1]}"
    expect_equal '100 0' "$(canary_rule)"
    has_images v3
    IMAGE_TAG=v3 ecs deploy --canary 10
    expect_done
    expect_equal '0 100' "$(canary_rule)"
    ecs abort
    expect_done
    expect_equal '100 0' "$(canary_rule)"
    IMAGE_TAG=v3 ecs deploy --canary 10
    expect_done
    ecs promote
    expect_done
    expect_equal '100 0' "$(canary_rule)"
    expect_equal "$(full_images 123456789012.dkr.ecr.eu-central-1.amazonaws.com/cgi v3)" "$(images_in_use)"
    ecs rollback
    expect_done
    ecs scale 4
    expect_done
}

@test "nginx trusts the load balancer, in both its subnets, beside TrustedProxies" {
    expect_equal '10.0.0.0/20 10.0.16.0/20 192.0.2.0/24' "$(definition cgi:1 | jq -r '.taskDefinition.containerDefinitions[0]
        .environment[] | select(.name == "TRUSTED_PROXIES").value')"
}

@test "dns gives this stack its part of the name, with a health check, and changes nothing else" {
    put_record CREATE "$(other_region 50)"
    local serves
    serves=$(serves "$SERVICE")
    ecs dns 150
    expect_done
    expect_equal "stack cgi has weight 150 of 200 for $NAME" "${lines[-1]}"
    expect_equal '[["A",150,true],["AAAA",150,true]]' "$(records 'map(select(.SetIdentifier == "cgi-eu-central-1"))
        | map([.Type, .Weight, .HealthCheckId != null]) | sort')"
    expect_equal '/_health 443 HTTPS' \
        "$(ask 'HealthChecks[].HealthCheckConfig.[ResourcePath, Port, Type][]' route53 list-health-checks)"
    expect_equal "$serves" "$(serves "$SERVICE")"
    ecs status
    expect_match "^dns      weight 150 of 200 for $NAME\$" "${lines[2]}"
    ecs dns 0
    expect_done
    expect_equal '[0,0]' "$(records 'map(select(.SetIdentifier == "cgi-eu-central-1").Weight)')"
}

@test "0 is refused while no other stack has a part of the name, and a stack without a name has none" {
    put_record UPSERT "$(other_region 0)"
    ecs dns 0
    expect_refused "no other stack has a part of $NAME, so 0 would take nobody elsewhere"
    STACK=plain IMAGE_TAG=v1 ecs up
    expect_done
    STACK=plain ecs dns 10
    expect_refused 'stack plain has no name; ./scripts/ecs up DnsName=… DnsZoneId=… gives it one'
}

@test "PULL_BY=digest has ECS pull what the tag is now; status and rollback know its tag" {
    has_images v5
    PULL_BY=digest IMAGE_TAG=v5 ecs deploy
    expect_done
    local digest
    digest=$(ecr_api DescribeImages '{"repositoryName": "cgi/cgi-nginx", "imageIds": [{"imageTag": "v5"}]}' '.imageDetails[0].imageDigest')
    expect_match '^sha256:' "$digest"
    expect_match "^123456789012.dkr.ecr.eu-central-1.amazonaws.com/cgi/cgi-nginx@$digest " "$(images_in_use)"
    ecs status
    expect_match 'service +cgi:[0-9]+ +v5 ' "$output"
    has_images v6
    PULL_BY=digest IMAGE_TAG=v6 ecs deploy
    expect_done
    ecs rollback
    expect_done
    expect_match "cgi-nginx@$digest " "$(images_in_use)"
}

@test "status says what ECR's scanner has found" {
    ecs status
    expect_match '^scanner  cgi-nginx:v5 +not scanned' "$(grep nginx: <<<"$output")"
    ask '@' ecr start-image-scan --repository-name cgi/cgi-nginx --image-id imageTag=v5
    ecs status
    expect_match '^scanner  cgi-nginx:v5 +1 high$' "$(grep nginx: <<<"$output")"
}

# replication : the registry's rules, each as filter and places
replication() {
    ecr_api DescribeRegistry '{}' '[.replicationConfiguration.rules[]
        | [.repositoryFilters[0].filter, (.destinations[] | "\(.region)@\(.registryId)")]] | tojson'
}

@test "REPLICATE_TO has ECR copy this stack's images to other regions and accounts; rules of others stay; none ends it" {
    local other='{"destinations": [{"region": "eu-west-2", "registryId": "123456789012"}],
        "repositoryFilters": [{"filter": "shop/", "filterType": "PREFIX_MATCH"}]}'
    expect_equal eu-west-2 "$(ecr_api PutReplicationConfiguration "{\"replicationConfiguration\": {\"rules\": [$other]}}" \
        '.replicationConfiguration.rules[0].destinations[0].region')"
    REPLICATE_TO='eu-west-1 us-east-1@210987654321' ecs up
    expect_done
    expect_equal '[["shop/","eu-west-2@123456789012"],["cgi/","eu-west-1@123456789012","us-east-1@210987654321"]]' "$(replication)"
    ecs up
    expect_done
    expect_match '"cgi/"' "$(replication)"
    REPLICATE_TO=none ecs up
    expect_done
    expect_equal '[["shop/","eu-west-2@123456789012"]]' "$(replication)"
    REPLICATE_TO=eu-west-1 ecs up
    expect_done
}

@test "two changes at once: the second is told whose the first is; after kill -9, unlock lets others in" {
    has_images stuck-9
    IMAGE_TAG=stuck-9 POLL_SECONDS=1 "$ROOT/scripts/ecs" deploy >"$BATS_TEST_TMPDIR/first" 2>&1 3>&- &
    local first=$!
    wait_until 30 grep -q deploying "$BATS_TEST_TMPDIR/first"
    local command
    for command in 'deploy' 'up' 'scale 3' 'dns 1' 'rollback' 'down --yes'; do
        # shellcheck disable=SC2086 # words
        IMAGE_TAG=v3 ecs $command
        expect_refused "stack cgi is being changed by ./scripts/ecs deploy of .* \(process $first\), .*; wait, or if that was killed"
    done
    ecs status
    expect_done
    kill -9 "$first"
    wait "$first" || true
    IMAGE_TAG=v3 ecs deploy
    expect_refused 'stack cgi is being changed by'
    ecs unlock
    expect_done
    expect_match "^./scripts/ecs deploy of .* keeps nobody out any more" "$output"
    ecs unlock
    expect_refused 'nothing keeps others out of stack cgi'
    IMAGE_TAG=v3 ecs deploy
    expect_done
}

@test "a change that is interrupted lets the next one in" {
    has_images stuck-10
    IMAGE_TAG=stuck-10 POLL_SECONDS=1 "$ROOT/scripts/ecs" deploy >"$BATS_TEST_TMPDIR/first" 2>&1 3>&- &
    local first=$!
    wait_until 30 grep -q deploying "$BATS_TEST_TMPDIR/first"
    kill -TERM "$first"
    wait "$first" || true
    IMAGE_TAG=v3 ecs deploy
    expect_done
}

@test "down takes the records and the certificate along, and leaves those of others" {
    ecs down --yes
    expect_done
    expect_equal '[["A","cgi-eu-west-3"]]' "$(records 'map([.Type, .SetIdentifier])')"
    expect_equal '' "$(ask 'CertificateSummaryList[].CertificateArn' acm list-certificates)"
    expect_equal '[["shop/","eu-west-2@123456789012"]]' "$(replication)"
    ecs unlock
    expect_refused 'nothing keeps others out of stack cgi'
}
