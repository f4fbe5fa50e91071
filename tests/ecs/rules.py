"""What ECS wants of a task, and no schema can say: each rule is a function, which gives (file, key, what is wrong)."""

import json
import os
import re

from units import duration, memory, ports

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
LOOPBACK = ("127.0.0.1", "localhost")
FARGATE_LOG_DRIVERS = ("awslogs", "splunk", "awsfirelens")
# CPU units, and the MiB that go with them: least, most, step (the least 256 units take 512, 1024 or 2048)
FARGATE_SIZES = {256: (512, 2048, 512), 512: (1024, 4096, 1024), 1024: (2048, 8192, 1024), 2048: (4096, 16384, 1024),
                 4096: (8192, 30720, 1024), 8192: (16384, 61440, 4096), 16384: (32768, 122880, 8192)}
AWSLOGS_OPTIONS = ("awslogs-group", "awslogs-region", "awslogs-stream-prefix")


class Task:
    """Both files as one: the services of the compose file, and what ecs-params says of them."""

    def __init__(self, kind, compose_file, compose, params_file, params):
        self.fargate = kind == "fargate"
        self.compose_file = compose_file
        self.services = compose["services"]
        self.volumes = compose.get("volumes", {})
        self.params_file = params_file
        self.definition = params["task_definition"]
        self.params = self.definition["services"]
        self.run = params.get("run_params") or {}
        self.mode = self.definition.get("ecs_network_mode", "bridge")
        self.shared = self.mode in ("awsvpc", "host")  # the containers of a task share their network

    def at(self, service, key):
        return self.compose_file, f"services.{service}.{key}"

    def at_params(self, service, key):
        return self.params_file, f"task_definition.services.{service}.{key}"

    def each(self, key):
        return [(service, content[key]) for service, content in self.services.items() if key in content]

    def health(self, service):
        """ecs-params' health check, over the compose files'."""
        own = self.params.get(service, {}).get("healthcheck", {})
        return {**self.services[service].get("healthcheck", {}), **own}


def cycle(graph):
    """A node that is on its own way, or None."""
    def reaches(node, goal, seen):
        return any(to == goal or (to not in seen and reaches(to, goal, seen | {to})) for to in graph.get(node, ()))
    return next((node for node in graph if reaches(node, node, {node})), None)


# ---- the compose file ----

def image_is_named(task):
    for service, content in task.services.items():
        if "image" not in content:
            yield *task.at(service, "image"), "ecs-cli builds nothing; without image, the task gets an empty one"


def depends_on_services(task):
    for service, names in task.each("depends_on"):
        for name in names:
            if name not in task.services:
                yield *task.at(service, "depends_on"), f'there is no service "{name}"'


# ---- network ----

def links(task):
    graph = {service: [link.split(":")[0] for link in content] for service, content in task.each("links")}
    for service, names in graph.items():
        if task.mode != "bridge":
            yield *task.at(service, "links"), f"there are no links in network mode {task.mode}"
        for name in names:
            if name not in task.services:
                yield *task.at(service, "links"), f'there is no service "{name}"'
    if cycle(graph):
        yield *task.at(cycle(graph), "links"), "links form a cycle; nothing would start"


def names_in_awsvpc(task):
    for key in ("hostname", "extra_hosts", "dns", "dns_search"):
        for service, _ in task.each(key) if task.mode == "awsvpc" else ():
            yield *task.at(service, key), "not allowed in network mode awsvpc"


def port_mappings(task):
    taken = {}
    for service, texts in task.each("ports"):
        for host, container in (pair for text in texts for pair in ports(text)):
            if task.shared and host not in (None, container):
                yield (*task.at(service, "ports"), f"host port {host} must be the container's, {container}, in network mode "
                       f"{task.mode}; let the load balancer listen on {host}")
            port = container if task.shared else host
            if port is not None and port in taken:
                yield *task.at(service, "ports"), f"port {port} is {taken[port]}'s already"
            taken[port] = service
        if sum(host is None for text in texts for host, _ in ports(text)) > 1:
            yield *task.at(service, "ports"), "ecs-cli keeps one port without a host port, the last; name the host ports"


def addresses(task):
    """NAME_ADDR, a host and a port that a service is told to call."""
    for service, variables in task.each("environment"):
        calls = {name: str(value).rsplit(":", 1) for name, value in variables.items() if name.endswith("_ADDR")}
        known = LOOPBACK if task.shared else [link.split(":")[-1] for link in task.services[service].get("links", [])]
        for name, (host, *port) in calls.items():
            key = task.at(service, "environment")[0], f"services.{service}.environment.{name}"
            if host not in known:
                yield *key, (f"the containers of a task share 127.0.0.1 in network mode {task.mode}" if task.shared else
                             f'"{host}" is known only by a link in network mode {task.mode}')
            if task.shared and [other for other in calls if calls[other][1:] == port][0] != name:
                yield *key, f"port {port[0]} is another service's, and the containers share their network"


# ---- what a container may and has ----

def volumes(task):
    for service, texts in task.each("volumes"):
        for source in (text.split(":")[0] for text in texts if ":" in text):
            if source.startswith((".", "~")):
                yield (*task.at(service, "volumes"), f'"{source}" becomes a folder of the machine that runs ecs-cli, '
                       "which no instance has")
            elif not source.startswith("/") and source not in task.volumes:
                yield *task.at(service, "volumes"), f'"{source}" stands in no top-level volumes'


def fargate_privileges(task):
    if not task.fargate:
        return
    for key in ("security_opt", "privileged", "devices"):
        for service, value in task.each(key):
            if value:
                yield *task.at(service, key), "not allowed on Fargate"
    for service, names in task.each("cap_add"):
        if set(names) - {"SYS_PTRACE"}:
            yield *task.at(service, "cap_add"), "only SYS_PTRACE is allowed on Fargate"


def stop_time(task):
    for service, text in task.each("stop_grace_period"):
        if task.fargate and not 2 <= duration(text) <= 120:
            yield *task.at(service, "stop_grace_period"), f"{text} is not from 2 s to the 120 s that Fargate waits"


def logs(task):
    for service, content in task.services.items():
        log = content.get("logging", {"driver": None})
        if task.fargate and log["driver"] not in FARGATE_LOG_DRIVERS:
            yield *task.at(service, "logging"), f"the driver is one of {', '.join(FARGATE_LOG_DRIVERS)} on Fargate"
        for option in AWSLOGS_OPTIONS if log["driver"] == "awslogs" else ():
            if not log.get("options", {}).get(option):
                yield task.at(service, "logging")[0], f"services.{service}.logging.options.{option}", "awslogs wants it"


# ---- ecs-params ----

def params_services(task):
    for service in task.params:
        if service not in task.services:
            yield task.params_file, f"task_definition.services.{service}", "no compose file has such a service"
    for service in task.services:
        if service not in task.params:
            yield task.params_file, f"task_definition.services.{service}", "missing; it would have 512 MiB and no health check"


def params_memory(task):
    for service, content in task.params.items():
        most, least = memory(content["mem_limit"]), memory(content.get("mem_reservation", "6m"))
        if min(most, least) < 6:
            yield *task.at_params(service, "mem_limit"), "Docker wants 6m at least (and under 1m, ecs-cli makes it 512)"
        if least > most:
            yield *task.at_params(service, "mem_reservation"), "more than mem_limit"
        limits = task.services.get(service, {}).get("deploy", {}).get("resources", {}).get("limits", {})
        if "memory" in limits and memory(limits["memory"]) != most:
            yield *task.at_params(service, "mem_limit"), f"deploy.resources.limits.memory is {limits['memory']}; say the same"


def image_health(build):
    """HEALTHCHECK's command as a list, "CMD" before it; None where there is none. is-healthy has the image's port in it."""
    with open(os.path.join(ROOT, build.get("dockerfile", os.devnull)), encoding="utf-8") as file:
        command = re.search(r"^HEALTHCHECK (?:.*\\\n)?.*?CMD (\[.*\])$", file.read(), re.MULTILINE)
    words = command and json.loads(command[1])
    if words == ["is-healthy"] and "PORT" in build["args"]:
        words = ["ask-health", build["args"]["PORT"]]
    return words and ["CMD", *words]


def params_health(task):
    bounds = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "start_period": (0, 300)}
    for service in task.params.keys() & task.services.keys():
        health = task.health(service)
        if "test" in health and "command" in health:
            yield *task.at_params(service, "healthcheck"), "test and command are two names of one thing; say one"
        if not health.get("test", health.get("command")):
            yield *task.at_params(service, "healthcheck.test"), "missing; ECS looks at no HEALTHCHECK of an image"
        for key, (least, most) in bounds.items():
            value = health.get(key, least)
            if not least <= (value if isinstance(value, int) else duration(value)) <= most:
                yield *task.at_params(service, f"healthcheck.{key}"), f"{value} is not from {least} to {most}"
        if duration(health.get("timeout", "2s")) > duration(health.get("interval", "30s")):
            yield *task.at_params(service, "healthcheck.timeout"), "longer than interval"
        image = image_health(task.services[service].get("build", {}))
        if image and image != health.get("test", image):
            yield *task.at_params(service, "healthcheck.test"), f"the image says {image}; say the same"


def params_order(task):
    graph = {}
    for service, content in task.params.items():
        for one in content.get("depends_on", []):
            name, condition = one["container_name"], one["condition"]
            graph.setdefault(service, []).append(name)
            if name not in task.services:
                yield *task.at_params(service, "depends_on"), f'there is no container "{name}"'
            elif condition in ("COMPLETE", "SUCCESS") and task.params.get(name, {}).get("essential", True):
                yield *task.at_params(service, "depends_on"), f"{condition} waits for an end, and {name} is essential"
    if cycle(graph):
        yield *task.at_params(cycle(graph), "depends_on"), "these form a cycle; nothing would start"


def order_of_compose(task):
    for service, names in task.each("depends_on"):
        said = [one["container_name"] for one in task.params.get(service, {}).get("depends_on", [])
                if one["condition"] == "HEALTHY"]
        for name in names:
            if name in task.services and name not in said:
                yield *task.at_params(service, "depends_on"), f'ecs-cli passes over depends_on "{name}" of the compose file'


def params_essential(task):
    if not any(content.get("essential", True) for content in task.params.values()):
        yield task.params_file, "task_definition.services", "one container at least is essential"


def fargate_size(task):
    size = task.definition.get("task_size")
    if not size:
        if task.fargate:
            yield task.params_file, "task_definition.task_size", "missing; Fargate wants it"
        return
    cpu, most = int(size["cpu_limit"]), int(size["mem_limit"])
    least, top, step = FARGATE_SIZES.get(cpu, (0, 0, 1))
    if task.fargate and not (least <= most <= top and most % step == 0 and (cpu, most) != (256, 1536)):
        yield task.params_file, "task_definition.task_size", f"Fargate has no {cpu} CPU units with {most} MiB"
    for key, own, unit in (("cpu_limit", "cpu_shares", int), ("mem_limit", "mem_limit", memory)):
        wanted = sum(unit(content.get(own, 0)) for content in task.params.values())
        if wanted > int(size[key]):
            yield task.params_file, f"task_definition.task_size.{key}", "the containers want more"


def network_and_roles(task):
    if task.fargate and task.mode != "awsvpc":
        yield task.params_file, "task_definition.ecs_network_mode", "Fargate has awsvpc, nothing else"
    if task.fargate and not task.definition.get("task_execution_role"):
        yield task.params_file, "task_definition.task_execution_role", "missing; Fargate pulls images and logs with it"
    if (task.mode == "awsvpc") != ("network_configuration" in task.run):
        yield (task.params_file, "run_params.network_configuration",
               "missing" if task.mode == "awsvpc" else f"has no effect in network mode {task.mode}")
    if task.fargate and "task_placement" in task.run:
        yield task.params_file, "run_params.task_placement", "Fargate places tasks itself"


def references(task):
    """Image references that a registry could take."""
    for service, image in task.each("image"):
        if not re.fullmatch(r"[a-z0-9._:/-]+:[A-Za-z0-9_][A-Za-z0-9_.-]*", image):
            yield *task.at(service, "image"), f'"{image}" is no name of an image with a tag'


RULES = (image_is_named, references, depends_on_services, links, names_in_awsvpc, port_mappings, addresses, volumes, fargate_privileges, stop_time, logs, params_services,
         params_memory, params_health, params_order, order_of_compose, params_essential, fargate_size, network_and_roles)
