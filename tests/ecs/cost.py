#!/usr/bin/env python3
"""What a stack of cloudformation.yml costs a month, from its resources, as Markdown.

usage: cost.py         the table of the stack without options, and what each option and use adds: that of docs/ecs-cost.md
       cost.py types   each type of resource that is neither priced nor free here

The prices are on-demand ones of us-east-1 in US dollars, without a free tier; other regions are up to a third dearer.
"""

import sys

from template import Stack, load

AS_OF = "March 2026"
HOURS = 730  # of a month
ZONES = 2
INSIGHTS_METRICS = 30  # roughly, of a cluster with a service and a task definition

VCPU, GIB, ADDRESS, BALANCER = 0.04048, 0.004445, 0.005, 0.0225  # an hour
ALARM, INSIGHT, HEALTH_CHECK, ZONE, DASHBOARD = 0.10, 0.30, 0.50 + 1.00, 0.50, 3.00  # a month; a health check by HTTPS

FREE = {f"AWS::{name}" for name in """
    EC2::VPC EC2::InternetGateway EC2::VPCGatewayAttachment EC2::Subnet EC2::RouteTable EC2::Route EC2::VPCCidrBlock
    EC2::SubnetCidrBlock EC2::SubnetRouteTableAssociation EC2::SecurityGroup EC2::SecurityGroupIngress IAM::Role IAM::Policy
    ElasticLoadBalancingV2::TargetGroup ElasticLoadBalancingV2::Listener ElasticLoadBalancingV2::ListenerRule
    CertificateManager::Certificate Route53::RecordSet Logs::LogGroup ECS::TaskDefinition SNS::Topic SNS::Subscription
    ApplicationAutoScaling::ScalableTarget""".split()}


def of_balancer(_):
    yield "the load balancer", f"{HOURS} h", BALANCER * HOURS
    yield "its public addresses, one a zone", f"{ZONES} × {HOURS} h", ADDRESS * HOURS * ZONES


def of_service(stack):
    """Of the least that scaling keeps; the canary's has none but in a release."""
    task, count = stack.resources()["TaskDefinition"]["Properties"], stack.values["MinCount"]
    cpu, memory = task["Cpu"] / 1024, task["Memory"] / 1024
    yield "CPU of the tasks", f"{count} × {cpu:g} vCPU × {HOURS} h", count * cpu * HOURS * VCPU
    yield "memory of the tasks", f"{count} × {memory:g} GB × {HOURS} h", count * memory * HOURS * GIB
    yield "their public addresses", f"{count} × {HOURS} h", count * ADDRESS * HOURS


def of_cluster(stack):
    if stack.values["ContainerInsights"] != "disabled":
        yield "Container Insights", f"about {INSIGHTS_METRICS} metrics", INSIGHTS_METRICS * INSIGHT


PRICED = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": of_balancer,
    "AWS::ECS::Service": of_service,
    "AWS::ECS::Cluster": of_cluster,
    "AWS::CloudWatch::Alarm": None,  # counted together
    "AWS::ApplicationAutoScaling::ScalingPolicy": None,
    "AWS::Route53::HealthCheck": lambda _: [("the health check of the name", "1, by HTTPS", HEALTH_CHECK)],
    "AWS::ServiceDiscovery::PrivateDnsNamespace": lambda _: [("the private zone of Namespace", "1", ZONE)],
    "AWS::ServiceDiscovery::Service": lambda _: [],
    "AWS::CloudWatch::Dashboard": lambda _: [("the dashboard", "1", DASHBOARD)],
}

OPTIONS = [
    ("a name, with its certificate, by IPv4 and IPv6", {"DnsName": "cgi.example.org", "DnsZoneId": "Z1"}),
    ("the same, shared with other stacks", {"DnsName": "cgi.example.org", "DnsZoneId": "Z1", "DnsWeight": "100"}),
    ("`Namespace=…`", {"Namespace": "internal"}),
    ("`ShowDashboard=on`", {"ShowDashboard": "on"}),
    ("`MoreAlarms=on`", {"MoreAlarms": "on"}),
    ("`ContainerInsights=disabled`", {"ContainerInsights": "disabled"}),
]

BY_USE = [
    ("capacity unit of the load balancer (25 new connections a second, or 1 GB an hour), all month", 0.008 * HOURS),
    ("GB to clients", 0.09),
    ("GB of logs", 0.50),
    ("GB of images", 0.10),
]


def alarm_metrics(resources):
    """An alarm is paid by metric; target tracking makes two of one metric."""
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield sum("MetricStat" in one for one in resource["Properties"].get("Metrics", [])) or 1
        elif resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy":
            yield 2


def rows(**given):
    stack = Stack(load(), given)
    resources = stack.resources()
    for name, resource in resources.items():
        price = PRICED.get(resource["Type"])
        if price and name != "CanaryService":
            yield from price(stack)
    count = sum(alarm_metrics(resources))
    yield "alarms, scaling's too", f"{count} metrics", count * ALARM


def total(**given):
    return sum(price for _, _, price in rows(**given))


def table():
    print(f"| as of {AS_OF}, us-east-1 | how much | $ a month |\n|---|---|--:|")
    for what, amount, price in rows():
        print(f"| {what} | {amount} | {price:.2f} |")
    print(f"| **together** | | **{total():.2f}** |")
    for what, given in OPTIONS:
        print(f"| {what} | | {total(**given) - total():+.2f} |")
    print(f"| a task more, of at most {Stack(load(), {}).values['MaxCount']} | | {total(MinCount=3) - total(MinCount=2):+.2f} |")
    for what, price in BY_USE:
        print(f"| each {what} | | {price:+.2f} |")


def types():
    for name in sorted({one["Type"] for one in load()["Resources"].values()} - FREE - set(PRICED)):
        print(f"{name} has no price in tests/ecs/cost.py; add it there, or to what is free")


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["types"]):
        sys.exit(__doc__)
    types() if sys.argv[1:] else table()
