#!/usr/bin/env python3
"""usage: pod.py kubernetes.yml docker-compose.yml docker-compose.override.yml

Say where the first differs from the others in what all tell: images, ports, the services' addresses, user, read-only root, memory. And
check what only Kubernetes knows: that the Service and the autoscaler find the pod, and that nginx, which calls the others,
is told to end before them. Nothing is printed, and the status is 0, when all agrees.
"""

import re
import sys

import yaml

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
        "ports are": [port["containerPort"] for port in container.get("ports", [])],
        "user is": f'{context["runAsUser"]}:{context["runAsGroup"]}',
        "root is read-only:": context["readOnlyRootFilesystem"],
        "dropped capabilities are": context["capabilities"]["drop"],
        "privileges can be gained:": context["allowPrivilegeEscalation"],
        "memory is": in_bytes(container["resources"]["limits"]["memory"]),
        "writable folders are": [mount["mountPath"] for mount in container.get("volumeMounts", [])],
    }


def from_compose(service):
    return {
        "image is": default(service["image"]),
        "ports are": [int(default(port).split(":")[-1]) for port in service.get("ports", [])],
        "user is": service["user"],
        "root is read-only:": service["read_only"],
        "dropped capabilities are": service["cap_drop"],
        "privileges can be gained:": "no-new-privileges" not in service["security_opt"],
        "memory is": in_bytes(service["mem_limit"]),
        "writable folders are": service.get("volumes", []),
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
        port = default(compose["services"]["nginx"]["environment"][variable["name"]]).split(":")[1]
        if variable["value"] != f"127.0.0.1:{port}":
            yield f"nginx: {variable['name']} is {variable['value']}, and has to be 127.0.0.1:{port}"


def metrics_faults(template, service):
    """The page is where the annotations say, and only the cluster's inside reaches it."""
    notes = template["metadata"]["annotations"]
    nginx = next(c for c in template["spec"]["containers"] if c["name"] == "nginx")
    listen = {variable["name"]: variable["value"] for variable in nginx["env"]}["METRICS_LISTEN"]
    if listen != f'0.0.0.0:{notes["prometheus.io/port"]}':
        yield f'METRICS_LISTEN is {listen}, and prometheus.io/port {notes["prometheus.io/port"]}'
    open_ports = {port["containerPort"]: port["name"] for c in template["spec"]["containers"] for port in c.get("ports", [])}
    port = int(notes["prometheus.io/port"])
    if port in open_ports or port in {p["targetPort"] for p in service["spec"]["ports"]}:
        yield f"the Service could send clients to {port}, where the page for Prometheus is"


def faults(deployment, service, scaler):
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
    yield from metrics_faults(template, service)
    target = scaler["spec"]["scaleTargetRef"]
    if (target["kind"], target["name"]) != ("Deployment", deployment["metadata"]["name"]):
        yield "the HorizontalPodAutoscaler scales something else"
    for container in template["spec"]["containers"]:
        if "cpu" not in container["resources"]["requests"]:
            yield f"{container['name']}: requests no cpu, so the HorizontalPodAutoscaler has nothing to go by"
    waits = {c["name"]: int(c["lifecycle"]["preStop"]["exec"]["command"][1]) for c in template["spec"]["containers"]}
    if waits["nginx"] >= min(wait for name, wait in waits.items() if name != "nginx"):
        yield "nginx does not end before the services"
    if template["spec"]["terminationGracePeriodSeconds"] <= max(waits.values()):
        yield "the pod is killed before all were told to end"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        deployment, service, scaler = yaml.safe_load_all(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        compose = yaml.safe_load(file)
    with open(sys.argv[3], encoding="utf-8") as file:
        for name, more in yaml.safe_load(file)["services"].items():
            compose["services"][name].update(more)
    found = [*differences(deployment, compose), *faults(deployment, service, scaler)]
    for line in found:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
