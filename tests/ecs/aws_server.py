"""
usage: aws_server.py --port PORT

AWS for the tests: moto's server, with what moto 5.2 does not have and scripts/ecs lives by.

- ECS's scheduler. moto's services keep the deployment that they were made with, and have no events and no tasks. Here an
  update starts a deployment, and each look at the service takes it one step on, with the states and the events that
  ECS documents. Its end is in the tag of its images: broken-* has tasks that do not start, so that the circuit breaker
  takes it back; stuck-* never gets anywhere, nor does crowded-*, for a quota; hollow-* is broken, and there is no circuit breaker to see it; any other
  gets stable.
- CloudFormation: that it takes its time; the properties of a task definition beside containers and volumes; the previous
  value of a parameter that was the default; a parameter within a text; route tables that go with their stack; a certificate,
  which is validated at once; DNS records that have a weight; two names of a load balancer. ECR: more than one rule of
  replication. A stack refused-* cannot be made,
  nor can crowded-*, for a quota, and unproven-*, since nobody validates its certificate, for which waiting-* waits forever.

Not played: what stands on a changed resource in a stack, changed with it; an image that is pulled, a container that runs,
a target that is healthy, the requests that a load balancer passes on, roles and their permissions, scaling by load, a
repository that keeps its tags. Only AWS shows these.
"""
import itertools
import json
import re
import sys

from moto.acm.models import acm_backends
from moto.cloudformation import models as cloudformation
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.core.utils import pascal_to_camelcase, remap_nested_keys, utcnow
from moto.ec2.models.route_tables import RouteTable
from moto.ecr.models import ECRBackend
from moto.ecs import models as ecs
from moto.elbv2.models import FakeLoadBalancer
from moto.route53.models import RecordSet, route53_backends
from moto.server import main

numbers = itertools.count(1)


# ---- ECS: deployments ----

def deployment(service, task_definition):
    return {
        "id": f"ecs-svc/{next(numbers):019}", "status": "PRIMARY", "taskDefinition": task_definition,
        "desiredCount": service.desired_count, "pendingCount": service.desired_count, "runningCount": 0,
        "failedTasks": 0, "createdAt": utcnow(), "updatedAt": utcnow(), "launchType": "FARGATE",
        "rolloutState": "IN_PROGRESS", "rolloutStateReason": "ECS deployment in progress.",
    }


def event(service, text):
    service.events.insert(0, {"id": f"event-{next(numbers)}", "createdAt": utcnow(),
                              "message": f"(service {service.name}) {text}"})


def replace(service, task_definition):
    """What runs goes on running, a new deployment comes first."""
    for old in service.deployments:
        old["status"] = "ACTIVE"
    service.deployments.insert(0, deployment(service, task_definition))
    service.task_definition = task_definition
    service.looks = 0


def tag_of(backend, arn):
    image = backend.describe_task_definition(arn).container_definitions[0]["image"]
    return image.rsplit(":", 1)[1]


def stop_a_task(backend, service, now):
    """A task of the deployment could not be started, and says why."""
    definition = backend.describe_task_definition(now["taskDefinition"])
    cluster = backend._get_cluster(service.cluster_name)
    network = {"awsvpcConfiguration": {"subnets": [], "securityGroups": []}}
    network_mode, definition.network_mode = definition.network_mode, "host"  # or moto looks for subnets
    task = ecs.Task(cluster, definition, None, {}, backend, f"service:{service.name}", "FARGATE",
                    started_by=now["id"], networking_configuration=network)
    definition.network_mode = network_mode
    task.desired_status, task.last_status = "STOPPED", "STOPPED"
    task.stopped_reason = "Task failed container health checks"
    backend.tasks.setdefault(cluster.name, {})[task.task_arn] = task


def step(backend, service):
    """Where the deployment under way has come to, now that somebody looks again."""
    now = service.deployments[0]
    if now["rolloutState"] != "IN_PROGRESS":
        return
    service.looks = getattr(service, "looks", 0) + 1
    fate = tag_of(backend, now["taskDefinition"]).split("-")[0] if service.desired_count else ""
    if fate == "crowded" and service.looks == 1:
        event(service, "was unable to place a task. Reason: You've reached the limit on the number of vCPUs you can run "
              "concurrently.")
    elif fate == "crowded":
        return
    elif fate in ("broken", "stuck", "hollow"):
        fail(backend, service, now, fate)
    elif service.looks == 1 and service.desired_count:
        now["runningCount"], now["pendingCount"] = service.desired_count, 0
        event(service, f"has started {service.desired_count} tasks: (task {next(numbers):032}).")
    else:
        now.update(rolloutState="COMPLETED", rolloutStateReason=f"ECS deployment {now['id']} completed.",
                   runningCount=service.desired_count, pendingCount=0, updatedAt=utcnow())
        service.deployments[1:] = []
        event(service, "has reached a steady state.")


def fail(backend, service, now, fate):
    if service.looks == 2:
        now["failedTasks"] = 1
        event(service, "(task 0123456789abcdef) failed container health checks.")
        stop_a_task(backend, service, now)
    if service.looks < 4 or fate == "stuck":
        return
    now.update(rolloutState="FAILED", rolloutStateReason="ECS deployment circuit breaker: tasks failed to start.")
    event(service, f"(deployment {now['id']}) deployment failed: tasks failed to start.")
    if fate == "broken":
        event(service, f"rolling back to deployment {service.deployments[1]['id']}.")
        replace(service, service.deployments[1]["taskDefinition"])


def update_service(backend, properties):
    wanted, force = properties.get("task_definition"), properties.get("force_new_deployment")
    service = moto_update_service(backend, properties)
    service.running_count, service.pending_count = service.desired_count, 0
    primary = service.deployments[0]
    if force or wanted and wanted != primary["taskDefinition"]:
        replace(service, wanted or primary["taskDefinition"])
    elif primary["desiredCount"] != service.desired_count:  # the same deployment, with more tasks or fewer
        primary.update(desiredCount=service.desired_count, runningCount=service.desired_count, pendingCount=0)
    return service


def describe_services(backend, *arguments):
    services, failures = moto_describe_services(backend, *arguments)
    for service in services:
        step(backend, service)
    return services, failures


moto_update_service = ecs.EC2ContainerServiceBackend.update_service
moto_describe_services = ecs.EC2ContainerServiceBackend.describe_services
ecs.EC2ContainerServiceBackend.update_service = update_service
ecs.EC2ContainerServiceBackend.describe_services = describe_services


# ---- CloudFormation ----

def task_definition(properties, account, region):
    wanted = remap_nested_keys(properties, pascal_to_camelcase)
    return ecs.ecs_backends[account][region].register_task_definition(
        family=wanted["family"], container_definitions=wanted["containerDefinitions"],
        volumes=wanted.get("volumes"), network_mode=wanted["networkMode"], cpu=str(wanted["cpu"]),
        memory=str(wanted["memory"]), requires_compatibilities=wanted["requiresCompatibilities"],
        task_role_arn=wanted["taskRoleArn"], execution_role_arn=wanted["executionRoleArn"],
        runtime_platform=wanted["runtimePlatform"])


def create_task_definition(cls, _, cloudformation_json, account_id, region_name, **__):
    return task_definition(cloudformation_json["Properties"], account_id, region_name)


def update_task_definition(cls, original_resource, cloudformation_json, account_id, region_name, **_):
    new = task_definition(cloudformation_json["Properties"], account_id, region_name)
    ecs.ecs_backends[account_id][region_name].deregister_task_definition(original_resource.arn)
    return new


def resolve_parameters(backend, instance, incoming_params):
    """The previous value of a parameter may be the template's default."""
    known = [one for one in incoming_params if "ParameterValue" in one or one["ParameterKey"] in instance.parameters]
    return moto_resolve_parameters(backend, instance=instance, incoming_params=known)


def create_stack(backend, name, *arguments, **named):
    """It takes until the next look but one; what moto has noted as its end is said only then."""
    stack = moto_create_stack(backend, name, *arguments, **named)
    stack.status, stack.later = "CREATE_IN_PROGRESS", [stack.events.pop()]
    if name.startswith("waiting-"):
        stack.events.append(cloudformation.Event(stack.stack_id, name, "Certificate", "", "AWS::CertificateManager::Certificate",
                                                 "CREATE_IN_PROGRESS", None, None))
    failure = FAILURES.get(name.split("-")[0])
    if failure:
        stack.later.insert(0, cloudformation.Event(stack.stack_id, name, failure[0], "", failure[1], "CREATE_FAILED",
                                                   f"Resource handler returned message: {failure[2]}", None))
        stack.later[1].resource_status = "ROLLBACK_COMPLETE"
    return stack


FAILURES = {
    "refused": ("Service", "AWS::ECS::Service", "Invalid request provided"),
    "crowded": ("LoadBalancer", "AWS::ElasticLoadBalancingV2::LoadBalancer", "The limit exceeded: load balancers"),
    "unproven": ("Certificate", "AWS::CertificateManager::Certificate", "Certificate validation timed out"),
}


def describe_stacks(backend, *arguments, **named):
    stacks = moto_describe_stacks(backend, *arguments, **named)
    for stack in stacks:
        stack.looks = getattr(stack, "looks", 0) + 1
        if stack.looks == 2 and not stack.name.startswith("waiting-"):
            stack.events += stack.later
            stack.status = stack.later[-1].resource_status
    return stacks


def delete_route_table(table, account_id, region_name):
    table._associations.clear()
    table.ec2_backend.delete_route_table(table.id)


class Certificate(CloudFormationModel):
    """Of ACM, validated by a record that ACM itself writes into the zone."""

    __module__ = "moto.acm.models"  # where moto looks for what CloudFormation can make

    def __init__(self, arn):
        self.arn = arn

    @property
    def physical_resource_id(self):
        return self.arn

    @staticmethod
    def cloudformation_name_type():
        return ""

    @staticmethod
    def cloudformation_type():
        return "AWS::CertificateManager::Certificate"

    @classmethod
    def create_from_cloudformation_json(cls, _, cloudformation_json, account_id, region_name, **__):
        return cls(acm_backends[account_id][region_name].request_certificate(
            domain_name=cloudformation_json["Properties"]["DomainName"], idempotency_token=None, subject_alt_names=[], tags=[]))

    def delete(self, account_id, region_name):
        acm_backends[account_id][region_name].delete_certificate(self.arn)


def put_replication_configuration(backend, replication_config):
    backend.replication_config = replication_config
    return {"replicationConfiguration": replication_config}


def zone_of(record, account):
    return route53_backends[account]["aws"].get_hosted_zone(record["HostedZoneId"])


def put_record(cloudformation_json, account):
    record = cloudformation_json["Properties"]
    return zone_of(record, account).upsert_rrset({**record, "Name": f"{record['Name']}."})


def delete_record(record, account, _):
    zone = zone_of({"HostedZoneId": record.hosted_zone_id}, account)
    zone.rrsets = [one for one in zone.rrsets if one is not record]


def load_balancer_attribute(load_balancer, name):
    if name == "CanonicalHostedZoneID":
        return "Z215JYRZR1TBD5"
    if name == "LoadBalancerFullName":
        return load_balancer.arn.split("loadbalancer/")[1]
    return moto_load_balancer_attribute(load_balancer, name)


def references(template):
    """Of parameters, also within a text: ${ImageTag}."""
    return moto_references(template) + re.findall(r"\${(\w+)}", json.dumps(template))


moto_references = parsing.get_references_from_template
parsing.get_references_from_template = references
moto_resolve_parameters = cloudformation.CloudFormationBackend._resolve_update_parameters
moto_create_stack = cloudformation.CloudFormationBackend.create_stack
moto_describe_stacks = cloudformation.CloudFormationBackend.describe_stacks
cloudformation.CloudFormationBackend._resolve_update_parameters = resolve_parameters
cloudformation.CloudFormationBackend.create_stack = create_stack
cloudformation.CloudFormationBackend.describe_stacks = describe_stacks
RouteTable.delete = delete_route_table
moto_load_balancer_attribute = FakeLoadBalancer.get_cfn_attribute
FakeLoadBalancer.get_cfn_attribute = load_balancer_attribute
RecordSet.create_from_cloudformation_json = classmethod(lambda _, __, json, account, ___, **____: put_record(json, account))
RecordSet.update_from_cloudformation_json = classmethod(
    lambda _, original_resource, new_resource_name, cloudformation_json, account_id, region_name:
    put_record(cloudformation_json, account_id))
RecordSet.delete = delete_record
ECRBackend.put_replication_configuration = put_replication_configuration
ecs.TaskDefinition.create_from_cloudformation_json = classmethod(create_task_definition)
ecs.TaskDefinition.update_from_cloudformation_json = classmethod(update_task_definition)

if __name__ == "__main__":
    sys.exit(main())
