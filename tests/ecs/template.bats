#!/usr/bin/env bats
# shellcheck shell=bats
# shellcheck disable=SC2154 # bats' `run` sets what it sets
# cloudformation.yml: read by cfn-lint, made by moto's CloudFormation with and without a certificate, and looked at through
# the API. Stack `plain` has the template's own values, `secure` a certificate, a TLS pair and an address for alarms.
#
# moto 5.2 does not make AWS::ApplicationAutoScaling::*, AWS::CloudWatch::Alarm and AWS::SNS::Subscription; of a service
# it keeps name, cluster, task definition and count; of a task definition containers and volumes; of a security group no
# way out; of load balancer, target groups and cluster no attributes and settings. That is looked at in the template with
# its parameters filled in (tests/ecs/template.py), alarms and scaling are put into moto by their own calls.
# Whether a task starts, is called, scales and rolls back: only AWS can show that.
# needs: ecs-test

bats_require_minimum_version 1.5.0
load ../lib/helpers
load ../lib/ecs
load ../lib/moto

SECRET=arn:aws:secretsmanager:eu-west-1:123456789012:secret:tls-AbCdEf

setup_file() {
    ! why_no_aws >/dev/null || return 0
    start_moto
    export MOTO_PID
    openssl req -x509 -newkey rsa:2048 -noenc -days 2 -subj /CN=shop.test \
        -keyout "$BATS_FILE_TMPDIR/key.pem" -out "$BATS_FILE_TMPDIR/cert.pem" 2>/dev/null
    CERTIFICATE=$(aws_cli acm import-certificate --certificate "fileb://$BATS_FILE_TMPDIR/cert.pem" \
        --private-key "fileb://$BATS_FILE_TMPDIR/key.pem" | jq -r .CertificateArn)
    export CERTIFICATE
    create plain
    create secure CertificateArn="$CERTIFICATE" TlsSecretArn="$SECRET" AlarmEmail=ops@example.org
}

teardown_file() {
    stop_moto
}

setup() {
    need_aws
}

# create STACK [NAME=VALUE...]
create() {
    local parameters=() one
    for one in "ImageRegistry=registry.example.org/$1" ImageTag=1.2.3 "${@:2}"; do
        parameters+=("ParameterKey=${one%%=*},ParameterValue=${one#*=}")
    done
    aws_cli cloudformation create-stack --stack-name "$1" --template-body "file://$ROOT/cloudformation.yml" \
        --capabilities CAPABILITY_IAM --parameters "${parameters[@]}" >/dev/null
    aws_cli cloudformation describe-stacks --stack-name "$1" >"$BATS_FILE_TMPDIR/$1.json"
    aws_cli cloudformation list-stack-resources --stack-name "$1" >"$BATS_FILE_TMPDIR/$1.resources.json"
}

# output STACK NAME
output() {
    jq -r --arg name "$2" '.Stacks[0].Outputs[] | select(.OutputKey == $name).OutputValue' "$BATS_FILE_TMPDIR/$1.json"
}

# id STACK LOGICAL_ID : what the resource is called
id() {
    jq -r --arg name "$2" '.StackResourceSummaries[] | select(.LogicalResourceId == $name).PhysicalResourceId' \
        "$BATS_FILE_TMPDIR/$1.resources.json"
}

# template WORDS... : tests/ecs/template.py
template() {
    "$AWS_PYTHON" "$ROOT/tests/ecs/template.py" "$@"
}

# listeners STACK
listeners() {
    aws_cli elbv2 describe-listeners --load-balancer-arn "$(id "$1" LoadBalancer)"
}

@test "cfn-lint finds nothing" {
    run "$BUILD_DIR/aws/bin/cfn-lint" "$ROOT/cloudformation.yml"
    expect_equal '' "$output"
    expect_status 0
}

@test "each parameter has a default and a description; what is a number in a resource is one of these" {
    expect_equal '' "$(template parameters)"
    local allowed='Port(\.If)? (443|8080|8443)$|Select [01]$|Cidr (2|64)$|HttpCode 200$|Command [0-9]{4,5}$'
    expect_equal 'CanaryRule.Priority 1
CanaryRule.Actions.ForwardConfig.TargetGroups.Weight 100
CanaryRule.Actions.ForwardConfig.TargetGroups.Weight 0
DnsRecord.Weight.If 1
DnsIpv6Record.Weight.If 1
Discovery.HealthCheckCustomConfig.FailureThreshold 1
CanaryService.DesiredCount 0' "$(template numbers | grep -Ev "$allowed")"
}

@test "both stacks are made whole, with each output; the URL says whether there is a certificate" {
    local stack name
    for stack in plain secure; do
        expect_json '"CREATE_COMPLETE"' '.Stacks[0].StackStatus' <"$BATS_FILE_TMPDIR/$stack.json"
        for name in Cluster Service CanaryService TargetGroup CanaryTargetGroup Listener CanaryRule TaskFamily LogGroup Url; do
            expect_match . "$(output "$stack" "$name")" "output $name of $stack"
        done
    done
    expect_match '^http://.*:80$' "$(output plain Url)"
    expect_match '^https://.*:443$' "$(output secure Url)"
}

@test "the task definition is docker-compose.yml's, container by container; with a TLS pair, nginx gets it as secrets" {
    local stack
    for stack in plain secure; do
        aws_cli ecs describe-task-definition --task-definition "$(output "$stack" TaskFamily)" \
            >"$BATS_TEST_TMPDIR/$stack.json"
        run "$AWS_PYTHON" "$ROOT/tests/ecs/task_definition.py" "registry.example.org/$stack" 1.2.3 \
            <"$BATS_TEST_TMPDIR/$stack.json"
        expect_equal '' "$output" "$stack"
        expect_status 0
    done
    expect_json '[]' '[.taskDefinition.containerDefinitions[] | select(.secrets)]' <"$BATS_TEST_TMPDIR/plain.json"
    expect_json "[[\"nginx\",{\"TLS_CERT_PEM\":\"$SECRET:certificate::\",\"TLS_KEY_PEM\":\"$SECRET:key::\"}]]" \
        '[.taskDefinition.containerDefinitions[] | select(.secrets)
          | [.name, (.secrets | map({key: .name, value: .valueFrom}) | from_entries)]]' <"$BATS_TEST_TMPDIR/secure.json"
}

@test "a task definition that is not docker-compose.yml's is told, with the container and what differs" {
    local change what
    aws_cli ecs describe-task-definition --task-definition "$(output plain TaskFamily)" >"$BATS_TEST_TMPDIR/good.json"
    while IFS=$'\t' read -r change what; do
        jq ".taskDefinition.containerDefinitions |= $change" "$BATS_TEST_TMPDIR/good.json" >"$BATS_TEST_TMPDIR/bad.json"
        run "$AWS_PYTHON" "$ROOT/tests/ecs/task_definition.py" registry.example.org/plain 1.2.3 <"$BATS_TEST_TMPDIR/bad.json"
        expect_status 1
        expect_match "^$what: expected" "$output"
    done <<'CHANGES'
(.[1].image = "registry.example.org/plain/cgi-app:1.2.4")	app: image
(.[0].environment[0].value = "app:9000")	nginx: environment
(.[1].environment = [])	app: environment
(.[0].portMappings = [])	nginx: ports
(.[1].user = "0")	app: user
(.[1].readonlyRootFilesystem = false)	app: readonlyRootFilesystem
(.[1].linuxParameters.capabilities = {})	app: drop
(.[1].linuxParameters.initProcessEnabled = false)	app: init
(.[1].stopTimeout = 5)	app: stopTimeout
(.[1].healthCheck.startPeriod = 0)	app: healthCheck
(.[0].dependsOn[0].condition = "START")	nginx: dependsOn
(.[0].mountPoints = [])	nginx: mounts
(.[1].memory = 64)	app: memory
(.[1].privileged = true)	app: others
(.[1].logConfiguration.logDriver = "json-file")	app: log
(del(.[2]))	containers
CHANGES
}

@test "without a certificate, port 80 forwards to the service; with one, it sends clients to 443, which does" {
    listeners plain | expect_json "[[80,\"HTTP\",\"forward\",\"$(output plain TargetGroup)\"]]" \
        '[.Listeners[] | [.Port, .Protocol, .DefaultActions[0].Type, .DefaultActions[0].TargetGroupArn]]'
    expect_equal "$(id plain HttpListener)" "$(output plain Listener)"
    listeners secure | expect_json '[80,"HTTP",["redirect"],{"Protocol":"HTTPS","Port":"443","StatusCode":"HTTP_301"}]' \
        '.Listeners[] | select(.Port == 80) | [.Port, .Protocol, [.DefaultActions[].Type], .DefaultActions[0].RedirectConfig]'
    listeners secure | expect_json "[\"HTTPS\",\"$CERTIFICATE\",\"forward\",\"$(output secure TargetGroup)\"]" \
        '.Listeners[] | select(.Port == 443)
         | [.Protocol, .Certificates[0].CertificateArn, .DefaultActions[0].Type, .DefaultActions[0].TargetGroupArn]'
    listeners secure | expect_json '["ELBSecurityPolicy-TLS13-1-2-2021-06"]' '[.Listeners[].SslPolicy | values]'
    expect_equal "$(id secure HttpsListener)" "$(output secure Listener)"
}

@test "the canary's target group is known to the listener that forwards, by a header, and has no request while it is empty" {
    local stack
    for stack in plain secure; do
        aws_cli elbv2 describe-rules --listener-arn "$(output "$stack" Listener)" | expect_json \
            "[\"X-Canary\",[\"always\"],[\"$(output "$stack" TargetGroup)\",100],[\"$(output "$stack" CanaryTargetGroup)\",0]]" \
            '.Rules[] | select(.Priority == "1") | [(.Conditions[0].HttpHeaderConfig | .HttpHeaderName, .Values),
                (.Actions[0].ForwardConfig.TargetGroups[] | [.TargetGroupArn, .Weight])]'
    done
}

@test "both target groups ask for /_health, as the load balancer calls nginx: by HTTPS when it has a TLS pair" {
    local stack
    for stack in plain secure; do
        aws_cli elbv2 describe-target-groups --target-group-arns "$(output "$stack" TargetGroup)" \
            "$(output "$stack" CanaryTargetGroup)" | jq -c '.TargetGroups[] | [.TargetType, .Protocol, .Port,
                .HealthCheckProtocol, .HealthCheckPort, .HealthCheckPath, .Matcher.HttpCode, .HealthCheckIntervalSeconds,
                .HealthCheckTimeoutSeconds, .HealthyThresholdCount, .UnhealthyThresholdCount]' >"$BATS_TEST_TMPDIR/$stack"
    done
    local plain='["ip","HTTP",8080,"HTTP","traffic-port","/_health","200",10,5,2,3]'
    expect_equal "$plain"$'\n'"$plain" "$(<"$BATS_TEST_TMPDIR/plain")"
    local secure='["ip","HTTPS",8443,"HTTPS","traffic-port","/_health","200",10,5,2,3]'
    expect_equal "$secure"$'\n'"$secure" "$(<"$BATS_TEST_TMPDIR/secure")"
}

# rules GROUP : of stack and logical id: from port, to port, from where, one a line
rules() {
    aws_cli ec2 describe-security-groups --group-ids "$(id "$1" "$2")" | jq -c '[.SecurityGroups[0].IpPermissions[]
        | [.FromPort, .ToPort, (.IpRanges[].CidrIp, .UserIdGroupPairs[].GroupId)]] | sort'
}

@test "clients reach the load balancer, it alone reaches nginx, and nobody the services" {
    expect_equal '[[80,80,"0.0.0.0/0"]]' "$(rules plain LoadBalancerGroup)"
    expect_equal '[[80,80,"0.0.0.0/0"],[443,443,"0.0.0.0/0"]]' "$(rules secure LoadBalancerGroup)"
    expect_equal "[[8080,8080,\"$(id plain LoadBalancerGroup)\"]]" "$(rules plain TaskGroup)"
    expect_equal "[[8443,8443,\"$(id secure LoadBalancerGroup)\"]]" "$(rules secure TaskGroup)"
    template resources TlsSecretArn="$SECRET" >"$BATS_TEST_TMPDIR/resources"
    expect_json '[[8443,"10.0.0.0/16"],[443,"0.0.0.0/0"]]' '[.LoadBalancerGroup, .TaskGroup
        | .Properties.SecurityGroupEgress[] | [.FromPort, .CidrIp]]' <"$BATS_TEST_TMPDIR/resources"
}

@test "two public subnets, in two zones, with a way out" {
    aws_cli ec2 describe-subnets --subnet-ids "$(id plain SubnetA)" "$(id plain SubnetB)" >"$BATS_TEST_TMPDIR/subnets"
    expect_json '["10.0.0.0/20","10.0.16.0/20"]' '[.Subnets[].CidrBlock] | sort' <"$BATS_TEST_TMPDIR/subnets"
    expect_json 2 '[.Subnets[].AvailabilityZone] | unique | length' <"$BATS_TEST_TMPDIR/subnets"
    aws_cli ec2 describe-route-tables --route-table-ids "$(id plain RouteTable)" >"$BATS_TEST_TMPDIR/routes"
    expect_json "[\"$(id plain InternetGateway)\"]" '[.RouteTables[0].Routes[] | select(.DestinationCidrBlock == "0.0.0.0/0")
        .GatewayId]' <"$BATS_TEST_TMPDIR/routes"
    # moto tells of no association that a stack has made
    template resources | expect_json '[["@SubnetA","@RouteTable"],["@SubnetB","@RouteTable"]]' \
        '[.RouteOfSubnetA, .RouteOfSubnetB | .Properties | [.SubnetId, .RouteTableId]]'
}

# may STACK ROLE : what the role's own policies allow, each action with its resource, one a line; and whose it is
may() {
    local role policy
    role=$(id "$1" "$2")
    aws_cli iam get-role --role-name "$role" | jq -r '.Role.AssumeRolePolicyDocument.Statement[]
        | "\(.Principal.Service) \(.Condition.StringEquals["aws:SourceAccount"])"'
    aws_cli iam list-role-policies --role-name "$role" | jq -r '.PolicyNames[]' | while read -r policy; do
        aws_cli iam get-role-policy --role-name "$role" --policy-name "$policy" | "$AWS_PYTHON" -c '
import ast, json, sys
document = json.load(sys.stdin)["PolicyDocument"]  # moto prints what CloudFormation gave it as Python does
for one in (ast.literal_eval(document) if isinstance(document, str) else document)["Statement"]:
    for action in one["Action"] if isinstance(one["Action"], list) else [one["Action"]]:
        print(one["Effect"], action, one["Resource"])'
    done
}

@test "the execution role may pull this stack's images, write its log, read its TLS pair; the task role may do nothing" {
    local of_tasks='ecs-tasks.amazonaws.com 123456789012' plain repository=arn:aws:ecr:eu-west-1:123456789012:repository
    plain="$of_tasks
Allow ecr:GetAuthorizationToken *
Allow ecr:BatchCheckLayerAvailability $repository/plain/*
Allow ecr:GetDownloadUrlForLayer $repository/plain/*
Allow ecr:BatchGetImage $repository/plain/*
Allow logs:CreateLogStream arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/plain
Allow logs:PutLogEvents arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/plain"
    expect_equal "$plain" "$(may plain ExecutionRole)"
    expect_equal "$of_tasks" "$(may plain TaskRole)"
    expect_equal "$of_tasks" "$(may secure TaskRole)"
    expect_equal "${plain//\/plain/\/secure}"$'\n'"Allow secretsmanager:GetSecretValue $SECRET" "$(may secure ExecutionRole)"
}

@test "a TLS pair under a key of one's own may be decrypted, for Secrets Manager alone" {
    local key=arn:aws:kms:eu-west-1:123456789012:key/0a1b
    template resources TlsSecretArn="$SECRET" TlsKeyArn="$key" | expect_json \
        "[[\"kms:Decrypt\",\"$key\",{\"StringEquals\":{\"kms:ViaService\":\"secretsmanager.eu-west-1.amazonaws.com\"}}]]" \
        '[.TlsKeyPolicy.Properties.PolicyDocument.Statement[] | [.Action, .Resource, .Condition]]'
    template resources TlsKeyArn="$key" | expect_json false 'has("TlsKeyPolicy")'
}

@test "an option that is not asked for makes nothing" {
    template resources | expect_json '[]' '[to_entries[] | select(.value.Condition).key]'
    template resources | expect_json '["ipv4",false]' '.LoadBalancer.Properties
        | [.IpAddressType, has("Tags")]'
}

@test "a name has records of both kinds for the load balancer, by IPv4 and IPv6, and HTTPS by a certificate of its zone" {
    template resources DnsName=shop.example.org DnsZoneId=Z1 >"$BATS_TEST_TMPDIR/resources"
    expect_json '[["A","shop.example.org","Z1","@LoadBalancer.DNSName"],["AAAA","shop.example.org","Z1","@LoadBalancer.DNSName"]]' \
        '[.DnsRecord, .DnsIpv6Record | .Properties | [.Type, .Name, .HostedZoneId, .AliasTarget.DNSName]]' <"$BATS_TEST_TMPDIR/resources"
    expect_json '["dualstack","::/0","::/0","@Vpc.Ipv6CidrBlocks[0]#0","@Vpc.Ipv6CidrBlocks[0]#1"]' \
        '[.LoadBalancer.Properties.IpAddressType, (.HttpIpv6Ingress, .HttpsIpv6Ingress | .Properties.CidrIpv6),
            (.SubnetAIpv6, .SubnetBIpv6 | .Properties.Ipv6CidrBlock)]' <"$BATS_TEST_TMPDIR/resources"
    expect_json '[["@Certificate"],"DNS",[{"DomainName":"shop.example.org","HostedZoneId":"Z1"}],"redirect"]' \
        '[[.HttpsListener.Properties.Certificates[].CertificateArn], (.Certificate.Properties | .ValidationMethod,
            .DomainValidationOptions), .HttpListener.Properties.DefaultActions[0].Type]' <"$BATS_TEST_TMPDIR/resources"
    template resources DnsName=shop.example.org DnsZoneId=Z1 CertificateArn="$CERTIFICATE" | expect_json \
        "[false,\"$CERTIFICATE\"]" '[has("Certificate"), .HttpsListener.Properties.Certificates[0].CertificateArn]'
}

@test "clients that ClientCidr keeps out do not get in by IPv6" {
    local name=(DnsName=shop.example.org DnsZoneId=Z1)
    template resources "${name[@]}" ClientCidr=192.0.2.0/24 | expect_json '[["DnsRecord"],"ipv4",false]' \
        '[[keys[] | select(test("^Dns.*Record"))], .LoadBalancer.Properties.IpAddressType, has("HttpsIpv6Ingress")]'
    template resources "${name[@]}" ClientCidr=192.0.2.0/24 ClientCidr6=2001:db8::/32 |
        expect_json '"2001:db8::/32"' .HttpsIpv6Ingress.Properties.CidrIpv6
}

@test "others in the VPC find the tasks in a private zone, and reach them from the security group that is named" {
    template resources Namespace=internal CallerGroup=sg-0a1 TlsSecretArn="$SECRET" >"$BATS_TEST_TMPDIR/resources"
    expect_json '["internal","@Vpc","shop","@PrivateZone.Id","A",10,[{"RegistryArn":"@Discovery.Arn"}]]' '[(.PrivateZone.Properties
        | .Name, .Vpc), (.Discovery.Properties | .Name, .NamespaceId, (.DnsConfig.DnsRecords[] | .Type, .TTL)),
            .Service.Properties.ServiceRegistries]' <"$BATS_TEST_TMPDIR/resources"
    expect_json '["@TaskGroup.GroupId",8443,8443,"sg-0a1"]' \
        '.CallerIngress.Properties | [.GroupId, .FromPort, .ToPort, .SourceSecurityGroupId]' <"$BATS_TEST_TMPDIR/resources"
    template resources Namespace=internal | expect_json '[true,false]' '[has("Discovery"), has("CallerIngress")]'
}

@test "logs are kept for 30 days, and metrics of the containers are on" {
    aws_cli logs describe-log-groups --log-group-name-prefix "$(output plain LogGroup)" |
        expect_json '[["/ecs/plain",30]]' '[.logGroups[] | [.logGroupName, .retentionInDays]]'
    template resources | expect_json '[{"name":"containerInsights","value":"enabled"}]' \
        '.Cluster.Properties.ClusterSettings | map({name: .Name, value: .Value})'
}

@test "the services begin with no task; what they deploy keeps 100 to 200 %, and is rolled back when it fails" {
    local service
    for service in Service CanaryService; do
        aws_cli ecs describe-services --cluster "$(output plain Cluster)" --services "$(output plain "$service")" |
            expect_json '["ACTIVE",0]' '.services[0] | [.status, .desiredCount]'
        template resources | expect_json \
            '["FARGATE",0,{"DeploymentCircuitBreaker":{"Enable":true,"Rollback":true},"MinimumHealthyPercent":100,"MaximumPercent":200}]' \
            ".$service.Properties | [.LaunchType, .DesiredCount, .DeploymentConfiguration]"
        template resources | expect_json '["CanaryRule",["@SubnetA","@SubnetB"],["@TaskGroup.GroupId"]]' \
            ".$service | [.DependsOn, (.Properties.NetworkConfiguration.AwsvpcConfiguration | .Subnets, .SecurityGroups)]"
    done
    template resources | expect_json '[["nginx",8080,"@TargetGroup"],["nginx",8080,"@CanaryTargetGroup"]]' \
        '[.Service, .CanaryService | .Properties.LoadBalancers[] | [.ContainerName, .ContainerPort, .TargetGroupArn]]'
    template resources TlsSecretArn="$SECRET" | expect_json '[8443,8443]' \
        '[.Service, .CanaryService | .Properties.LoadBalancers[].ContainerPort]'
}

@test "an update of the stack leaves the number of tasks that runs: DesiredCount=-1 says none" {
    template resources DesiredCount=3 | expect_json 3 .Service.Properties.DesiredCount
    template resources DesiredCount=-1 | expect_json false '.Service.Properties | has("DesiredCount")'
}

@test "a task: awsvpc, a size that Fargate has, the two roles, a volume for what nginx writes" {
    template resources TaskCpu=1024 TaskMemory=2048 | expect_json \
        '["awsvpc",["FARGATE"],1024,2048,"@ExecutionRole.Arn","@TaskRole.Arn",[{"Name":"run"}],"X86_64"]' \
        '.TaskDefinition.Properties | [.NetworkMode, .RequiresCompatibilities, .Cpu, .Memory, .ExecutionRoleArn, .TaskRoleArn,
            .Volumes, .RuntimePlatform.CpuArchitecture]'
}

@test "scaling follows CPU and requests per task, from 2 tasks to 8" {
    local resource
    resource=service/$(output plain Cluster)/$(output plain Service)
    template resources >"$BATS_TEST_TMPDIR/resources"
    expect_json '["ecs","ecs:service:DesiredCount","service/@Cluster/@Service.Name",2,8]' '.ScalableTarget.Properties
        | [.ServiceNamespace, .ScalableDimension, .ResourceId, .MinCapacity, .MaxCapacity]' <"$BATS_TEST_TMPDIR/resources"
    aws_cli application-autoscaling register-scalable-target --service-namespace ecs \
        --scalable-dimension ecs:service:DesiredCount --resource-id "$resource" --min-capacity 2 --max-capacity 8
    local policy
    for policy in CpuScaling RequestScaling; do
        jq --arg resource "$resource" ".$policy.Properties | del(.ScalingTargetId) + {ServiceNamespace: \"ecs\",
            ScalableDimension: \"ecs:service:DesiredCount\", ResourceId: \$resource}" "$BATS_TEST_TMPDIR/resources" \
            >"$BATS_TEST_TMPDIR/policy"
        aws_cli application-autoscaling put-scaling-policy --cli-input-json "file://$BATS_TEST_TMPDIR/policy" >/dev/null
    done
    aws_cli application-autoscaling describe-scaling-policies --service-namespace ecs --resource-id "$resource" | expect_json \
        '[["cpu","ECSServiceAverageCPUUtilization",60,60,300],["requests","ALBRequestCountPerTarget",200000,60,300]]' \
        '[.ScalingPolicies[] | [.PolicyName, (.TargetTrackingScalingPolicyConfiguration
            | .PredefinedMetricSpecification.PredefinedMetricType, .TargetValue, .ScaleOutCooldown, .ScaleInCooldown)]] | sort'
    expect_json '"@LoadBalancer.LoadBalancerFullName/@TargetGroup.TargetGroupFullName"' '.RequestScaling.Properties
        .TargetTrackingScalingPolicyConfiguration.PredefinedMetricSpecification.ResourceLabel' <"$BATS_TEST_TMPDIR/resources"
}

@test "alarms on 5xx of the load balancer and of the tasks, and on unhealthy tasks, go to the topic and from there by mail" {
    local topic alarm
    topic=$(id secure AlarmTopic)
    template resources AlarmEmail=ops@example.org >"$BATS_TEST_TMPDIR/resources"
    for alarm in TargetErrors LoadBalancerErrors UnhealthyHosts UnhealthyCanary; do
        jq --arg topic "$topic" --arg name "$alarm" '.[$name].Properties + {AlarmName: $name}
            | walk(if . == "@AlarmTopic" then $topic else . end)' "$BATS_TEST_TMPDIR/resources" >"$BATS_TEST_TMPDIR/alarm"
        aws_cli cloudwatch put-metric-alarm --cli-input-json "file://$BATS_TEST_TMPDIR/alarm"
    done
    aws_cli cloudwatch describe-alarms --alarm-names TargetErrors LoadBalancerErrors UnhealthyHosts UnhealthyCanary >"$BATS_TEST_TMPDIR/alarms"
    expect_json "[[\"$topic\"],[\"$topic\"],\"notBreaching\",\"GreaterThanThreshold\",60,3]" '[.MetricAlarms[] | [.AlarmActions,
        .OKActions, .TreatMissingData, .ComparisonOperator, .Period, .EvaluationPeriods]] | unique[]' <"$BATS_TEST_TMPDIR/alarms"
    expect_equal 'LoadBalancerErrors HTTPCode_ELB_5XX_Count Sum 5 @LoadBalancer.LoadBalancerFullName
TargetErrors HTTPCode_Target_5XX_Count Sum 5 @LoadBalancer.LoadBalancerFullName
UnhealthyCanary UnHealthyHostCount Maximum 0 @LoadBalancer.LoadBalancerFullName @CanaryTargetGroup.TargetGroupFullName
UnhealthyHosts UnHealthyHostCount Maximum 0 @LoadBalancer.LoadBalancerFullName @TargetGroup.TargetGroupFullName' \
        "$(jq -r '.MetricAlarms | sort_by(.AlarmName)[] | [.AlarmName, .MetricName, .Statistic, .Threshold,
            .Dimensions[].Value] | join(" ")' "$BATS_TEST_TMPDIR/alarms")"
    expect_json '["email","ops@example.org","@AlarmTopic"]' '.AlarmSubscription.Properties | [.Protocol, .Endpoint, .TopicArn]' \
        <"$BATS_TEST_TMPDIR/resources"
    expect_json '["https","https://pager.example.org/in","@AlarmTopic"]' '.AlarmCall.Properties | [.Protocol, .Endpoint, .TopicArn]' \
        < <(template resources AlarmUrl=https://pager.example.org/in)
    template resources | expect_json '[false,false]' '[has("AlarmSubscription"), has("AlarmCall")]'
}

@test "the dashboard has the graphs of the requests that Grafana's has: rate, errors, duration" {
    template resources ShowDashboard=on >"$BATS_TEST_TMPDIR/resources"
    aws_cli cloudwatch put-dashboard --dashboard-name shop --dashboard-body \
        "$(jq -r .Dashboard.Properties.DashboardBody "$BATS_TEST_TMPDIR/resources")"
    aws_cli cloudwatch get-dashboard --dashboard-name shop | jq -r .DashboardBody >"$BATS_TEST_TMPDIR/body"
    expect_json "$(jq -c '[.panels[] | select(.type != "row").title][:3]' "$ROOT/monitoring/dashboard.json")" \
        '[.widgets[].properties.title]' <"$BATS_TEST_TMPDIR/body"
    expect_json '["p50","p90","p99"]' '[.widgets[2].properties.metrics[][4].stat]' <"$BATS_TEST_TMPDIR/body"
    expect_json '["@LoadBalancer.LoadBalancerFullName"]' '[.widgets[].properties.metrics[][3] | values] | unique' <"$BATS_TEST_TMPDIR/body"
}

@test "more alarms: on the rate of 4xx, on slow answers, on no healthy task, on too few tasks; each says what is next" {
    local alarm
    template resources MoreAlarms=on ClientErrorsAllowed=10 >"$BATS_TEST_TMPDIR/resources"
    for alarm in ClientErrors SlowAnswers NoHealthyHost TooFewTasks; do
        jq --arg name "$alarm" '.[$name].Properties + {AlarmName: $name}' "$BATS_TEST_TMPDIR/resources" >"$BATS_TEST_TMPDIR/alarm"
        aws_cli cloudwatch put-metric-alarm --cli-input-json "file://$BATS_TEST_TMPDIR/alarm"
    done
    aws_cli cloudwatch describe-alarms --alarm-names ClientErrors SlowAnswers NoHealthyHost TooFewTasks >"$BATS_TEST_TMPDIR/alarms"
    expect_equal 'ClientErrors GreaterThanThreshold 10 IF(requests >= 100, 100 * FILL(errors, 0) / requests, 0)
NoHealthyHost LessThanThreshold 1 HealthyHostCount Maximum
SlowAnswers GreaterThanThreshold 0.25 TargetResponseTime p99
TooFewTasks GreaterThanThreshold 0 wanted - running' "$(jq -r '.MetricAlarms | sort_by(.AlarmName)[] | [.AlarmName,
        .ComparisonOperator, .Threshold, .MetricName, .Statistic // .ExtendedStatistic, .Metrics[0].Expression? // empty]
        | map(values) | join(" ")' "$BATS_TEST_TMPDIR/alarms")"
    expect_json '[]' '[to_entries[] | select(.value.Type == "AWS::CloudWatch::Alarm"
        and (.value.Properties.AlarmDescription | test("\\. Next: ") | not)).key]' <"$BATS_TEST_TMPDIR/resources"
    template resources MoreAlarms=on ContainerInsights=disabled | expect_json false 'has("TooFewTasks")'
}

@test "the load balancer gives up an idle connection before nginx does, so that nginx never closes one under a request" {
    template resources | expect_json 60 '.LoadBalancer.Properties.LoadBalancerAttributes[]
        | select(.Key == "idle_timeout.timeout_seconds").Value'
    expect_equal 'keepalive_timeout 75s;' "$(grep -rhE '^ *keepalive_timeout ' "$ROOT/nginx")"
}

@test "a task that goes has 30 s for what it has begun, and 25 s to drain then" {
    template resources | expect_json '[30,30]' '[.TargetGroup, .CanaryTargetGroup | .Properties.TargetGroupAttributes[].Value]'
    template resources | expect_json '[25]' '[.TaskDefinition.Properties.ContainerDefinitions[].StopTimeout] | unique'
}
