#!/usr/bin/env python3
"""usage: pod.py kubernetes.yml docker-compose.yml docker-compose.override.yml

Say where the first differs from the others in what all tell: images, ports, the services' addresses, read-only root,
memory, writable folders, and how long each may take to end. And check what only Kubernetes knows: that all that selects the
pod finds it, that no user is insisted on, and that what ends after another waits for the longest time that the other may
take. Nothing is printed, and the status is 0, when all agrees.
"""

import os
import re
import sys

import yaml

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SHARED = "/run/pod"  # the folder of the services' sockets, and of the lock by which they see that nginx has gone
UNITS = {"m": 1 << 20, "M": 1 << 20, "Mi": 1 << 20, "G": 1 << 30, "Gi": 1 << 30}


def in_bytes(text):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", text).groups()
    return int(number) * UNITS[unit]


def default(text):
    """${NAME:-default} as compose reads it where nothing is set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def from_pod(spec, container):
    context = {**spec["securityContext"], **container["securityContext"]}
    return {
        "image is": container["image"],
        "ports are": [port["containerPort"] for port in container.get("ports", []) if port["name"] != "metrics"],
        "root is read-only:": context["readOnlyRootFilesystem"],
        "dropped capabilities are": context["capabilities"]["drop"],
        "privileges can be gained:": context["allowPrivilegeEscalation"],
        "memory is": in_bytes(container["resources"]["limits"]["memory"]),
        "writable folders are": [mount["mountPath"] for mount in container["volumeMounts"] if mount["mountPath"] != SHARED],
    }


def from_compose(service):
    return {
        "image is": default(service["image"]),
        "ports are": [int(default(port).split(":")[-1]) for port in service.get("ports", [])],
        "root is read-only:": service["read_only"],
        "dropped capabilities are": service["cap_drop"],
        "privileges can be gained:": "no-new-privileges" not in service["security_opt"],
        "memory is": in_bytes(service["mem_limit"]),
        "writable folders are": [volume for volume in service["volumes"] if volume != "sockets:/run/cgi"],
    }


def differences(deployment, compose):
    spec = deployment["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    if list(containers) != list(compose["services"]):
        yield f"the containers are {list(containers)}, in docker-compose.yml {list(compose['services'])}"
        return
    for name, service in compose["services"].items():
        pod, other = from_pod(spec, containers[name]), from_compose(service)
        for what, value in pod.items():
            if value != other[what]:
                yield f"{name}: the {what} {value}, in docker-compose.yml {other[what]}"
    for variable in containers["nginx"]["env"]:
        if not variable["name"].endswith("_ADDR"):
            continue
        socket = f"unix:{SHARED}/{variable['name'].removesuffix('_ADDR').lower()}.sock"
        if variable["value"] != socket:
            yield f"nginx: {variable['name']} is {variable['value']}, and has to be {socket}"


def longest_drain():
    """Of nginx and of a service, in seconds, as they have it themselves."""
    with open(f"{ROOT}/scripts/lib/times.sh", encoding="utf-8") as file:
        nginx = int(re.search(r"^NGINX_DRAIN_SECONDS=(\d+)", file.read(), re.M)[1])
    with open(f"{ROOT}/cgi-common/responder/dispatcher.c", encoding="utf-8") as file:
        service = int(re.search(r"DISPATCHER_DRAIN_MS = (\d+) \* 1000,", file.read())[1])
    return nginx, service


def pod_end_faults(spec):
    """preStop and drain of nginx, then those of the services, then the pod is killed: each within what waits for it."""
    nginx_drain, service_drain = longest_drain()
    ends = {c["name"]: c["lifecycle"]["preStop"]["exec"]["command"] for c in spec["containers"]}
    holder = next(c["command"] for c in spec["containers"] if c["name"] == "nginx")
    nginx_gone = int(ends.pop("nginx")[1]) + nginx_drain
    for name, (*command, wait, lock, _) in ends.items():
        if command != ["flock", "--shared", "--timeout"] or holder[:3] != ["flock", "--no-fork", lock]:
            yield f"{name}: its preStop does not wait for the lock that nginx holds"
        if int(wait) <= nginx_gone:
            yield f"{name}: waits {wait} s for nginx, which may take {nginx_gone}"
        if spec["terminationGracePeriodSeconds"] <= int(wait) + service_drain:
            yield f"{name}: may take {int(wait) + service_drain} s, the pod has {spec['terminationGracePeriodSeconds']}"


def compose_end_faults(compose):
    for name, service in compose["services"].items():
        drain = longest_drain()[name != "nginx"]
        if int(service["stop_grace_period"].rstrip("s")) <= drain:
            yield f"{name}: is killed by docker-compose.yml after {service['stop_grace_period']}, and may take {drain} s"


def probe_faults(spec):
    """A container that hangs is replaced within 30 s: probes that fail, the end that it gets, 2 s that it always gets."""
    for container in spec["containers"]:
        probe = container["livenessProbe"]
        failed = probe["periodSeconds"] * probe.get("failureThreshold", 3) + probe["timeoutSeconds"]
        if failed + probe["terminationGracePeriodSeconds"] + 2 > 30:
            yield f"{container['name']}: hangs for more than 30 s until it is replaced"


def memory_faults(spec):
    """As many workers of nginx as its limit allows (scripts/lib/workers.sh) take no more at rest than it asks for."""
    resources = next(c["resources"] for c in spec["containers"] if c["name"] == "nginx")
    with open(f"{ROOT}/scripts/lib/workers.sh", encoding="utf-8") as file:
        share = int(re.search(r"^WORKER_MIB=(\d+)", file.read(), re.M)[1])
    workers = in_bytes(resources["limits"]["memory"]) // UNITS["Mi"] // share
    if in_bytes(resources["requests"]["memory"]) // UNITS["Mi"] < 19 + 8.5 * workers:
        yield f"nginx: asks for less memory than {workers} workers take at rest"


def metrics_faults(template, service, policy):
    """Prometheus reads where the annotations say, and no client reaches that."""
    notes = template["metadata"]["annotations"]
    nginx = next(c for c in template["spec"]["containers"] if c["name"] == "nginx")
    listen = {variable["name"]: variable["value"] for variable in nginx["env"]}["METRICS_LISTEN"]
    port = next(port["containerPort"] for port in nginx["ports"] if port["name"] == "metrics")
    if (listen, notes["prometheus.io/port"]) != (f"0.0.0.0:{port}", str(port)):
        yield f'METRICS_LISTEN is {listen}, the port {port}, prometheus.io/port {notes["prometheus.io/port"]}'
    if any(one["targetPort"] in ("metrics", port) for one in service["spec"]["ports"]):
        yield "the Service could send clients to the page for Prometheus"
    for rule in policy["spec"]["ingress"]:
        if "from" not in rule and any(one["port"] in ("metrics", port) for one in rule["ports"]):
            yield "the NetworkPolicy lets anybody read the page for Prometheus"


def inside_faults(spec):
    """Nothing of the cluster gets into the pod but by nginx's ports."""
    if spec.get("enableServiceLinks", True):
        yield "enableServiceLinks is not false"
    for container in spec["containers"]:
        socket = f"{SHARED}/{container['name']}.sock"
        if container["name"] != "nginx" and container.get("args") != [socket]:
            yield f"{container['name']}: listens for more than its pod"
        if container["name"] != "nginx" and container["livenessProbe"]["exec"]["command"] != ["is-healthy", socket]:
            yield f"{container['name']}: is asked for its health where it does not listen"


def user_faults(spec):
    for context in [spec["securityContext"], *(container["securityContext"] for container in spec["containers"])]:
        for key in {"runAsUser", "runAsGroup", "fsGroup"} & context.keys():
            yield f"{key} is {context[key]}; OpenShift chooses it"
    if not spec["securityContext"]["runAsNonRoot"]:
        yield "root may run it"


def faults(deployment, service, scaler, budget, policy):
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    if not labels.items() >= service["spec"]["selector"].items():
        yield "the Service does not select the pod"
    if not labels.items() >= deployment["spec"]["selector"]["matchLabels"].items():
        yield "the Deployment does not select the pod"
    names = {port["name"] for c in template["spec"]["containers"] for port in c.get("ports", [])}
    for port in service["spec"]["ports"]:
        if port["targetPort"] not in names:
            yield f"the Service's {port['name']} goes to {port['targetPort']}, which is no port of the pod"
    target = scaler["spec"]["scaleTargetRef"]
    if (target["kind"], target["name"]) != ("Deployment", deployment["metadata"]["name"]):
        yield "the HorizontalPodAutoscaler scales something else"
    for container in template["spec"]["containers"]:
        if "cpu" not in container["resources"]["requests"]:
            yield f"{container['name']}: requests no cpu, so the HorizontalPodAutoscaler has nothing to go by"
    selectors = [budget["spec"]["selector"], policy["spec"]["podSelector"]]
    selectors += [spread["labelSelector"] for spread in template["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        if selector["matchLabels"] != deployment["spec"]["selector"]["matchLabels"]:
            yield f"{selector} does not select the pod as the Deployment does"
    yield from metrics_faults(template, service, policy)
    for check in (pod_end_faults, probe_faults, memory_faults, inside_faults, user_faults):
        yield from check(template["spec"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        deployment, *others = yaml.safe_load_all(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        compose = yaml.safe_load(file)
    with open(sys.argv[3], encoding="utf-8") as file:
        for name, more in yaml.safe_load(file)["services"].items():
            volumes = compose["services"][name].get("volumes", []) + more["volumes"]
            compose["services"][name].update({**more, "volumes": volumes})
    found = [*differences(deployment, compose), *faults(deployment, *others), *compose_end_faults(compose)]
    for line in found:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
