#!/usr/bin/env python3
"""Is a registered task definition what docker-compose.fargate.yml and its ecs-params say, container by container?

usage: task_definition.py REGISTRY IMAGE_TAG < DESCRIPTION      DESCRIPTION is what describe-task-definition prints.
                                                                Print each difference; 1 if there is one
"""

import json
import os
import sys

from files import ENVIRONMENT, FILES
from reading import read_compose, read_params
from units import duration, memory, ports

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")

LOAD_BALANCER = "10.0.0.0/20 10.0.16.0/20 "  # the subnets that it is in, and TrustedProxies


def said(registry, tag):
    """The services of the compose file, and ecs-params."""
    environment = {**ENVIRONMENT["fargate"], "REGISTRY": registry, "IMAGE_TAG": tag, "TRUSTED_PROXIES": LOAD_BALANCER}
    compose, params = FILES["fargate"]
    return read_compose(ROOT, compose, environment)["services"], read_params(ROOT, params, environment)["task_definition"]["services"]


def health(check):
    return {"command": check["test"], "interval": duration(check["interval"]), "timeout": duration(check["timeout"]),
            "retries": check["retries"], "startPeriod": duration(check["start_period"])}


def expected(name, service, params):
    """A container of the files, in the API's words."""
    return {
        "name": name,
        "image": service["image"],
        "essential": params.get("essential", True),
        "cpu": params["cpu_shares"],
        "memory": memory(params["mem_limit"]),
        "ports": sorted(container for text in service.get("ports", []) for _, container in ports(text)),
        "environment": {key: str(value) for key, value in service["environment"].items()},
        "user": service["user"],
        "readonlyRootFilesystem": service["read_only"],
        "drop": service["cap_drop"],
        "init": params["init_process_enabled"],
        "stopTimeout": duration(service["stop_grace_period"]),
        "healthCheck": health(params["healthcheck"]),
        "dependsOn": {one["container_name"]: one["condition"] for one in params.get("depends_on", [])},
        "mounts": service.get("volumes", []),
        "log": (service["logging"]["driver"], sorted(service["logging"]["options"])),
        "others": [],
    }


READ = {"name", "image", "essential", "cpu", "memory", "portMappings", "environment", "user", "readonlyRootFilesystem",
        "linuxParameters", "stopTimeout", "healthCheck", "dependsOn", "mountPoints", "logConfiguration", "secrets"}


def found(container):
    """The same of a container that the API described; others is what the files say nothing of."""
    linux, log = container.get("linuxParameters", {}), container.get("logConfiguration", {})
    return {
        **{key: container.get(key) for key in ("name", "image", "essential", "cpu", "memory", "user", "stopTimeout",
                                               "readonlyRootFilesystem", "healthCheck")},
        "ports": sorted(one["containerPort"] for one in container.get("portMappings", [])),
        "environment": {one["name"]: one["value"] for one in container.get("environment", [])},
        "drop": linux.get("capabilities", {}).get("drop"),
        "init": linux.get("initProcessEnabled"),
        "dependsOn": {one["containerName"]: one["condition"] for one in container.get("dependsOn", [])},
        "mounts": [one["containerPath"] for one in container.get("mountPoints", [])],
        "log": (log.get("logDriver"), sorted(log.get("options", {}))),
        "others": sorted(key for key, value in container.items() if key not in READ and value),
    }


def main(registry, tag):
    services, params = said(registry, tag)
    containers = {one["name"]: one for one in json.load(sys.stdin)["taskDefinition"]["containerDefinitions"]}
    wrong = 0
    if set(containers) != set(services):
        sys.exit(f"containers: expected {sorted(services)}, found {sorted(containers)}")
    for name, service in services.items():
        want, have = expected(name, service, params[name]), found(containers[name])
        for key in [key for key in want if want[key] != have[key]]:
            print(f"{name}: {key}: expected {want[key]}, found {have[key]}")
            wrong = 1
    return wrong


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
