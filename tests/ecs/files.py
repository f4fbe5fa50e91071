#!/usr/bin/env python3
"""Are the compose file and ecs-params such as ecs-cli and ECS take them? ecs-cli itself passes over a misspelt key.

usage: files.py check ec2|fargate FOLDER      print each problem as "FILE: KEY: RULE"; 1 if there is one
       files.py cases TABLE FOLDER            the same of each case in the table: a change, and a problem that it brings.
                                              Print what came otherwise, and how many cases there were; 1 if one did
"""

import json
import os
import shutil
import sys
import tempfile

import jsonschema
import yaml

from reading import Problem, read_compose, read_params
from rules import RULES, Task

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = {
    "ec2": ("docker-compose.ecs.yml", "ecs-params.yml"),
    "fargate": ("docker-compose.fargate.yml", "ecs-params.fargate.yml"),
}
# What the operator sets (docs/operations.md)
ENVIRONMENT = {
    "ec2": {"AWS_REGION": "eu-west-1"},
    "fargate": {"AWS_REGION": "eu-west-1", "HTTP_PORT": "8080", "HTTPS_PORT": "8443", "EXECUTION_ROLE": "start-tasks",
                "TASK_ROLE": "task", "SUBNET_A": "subnet-1", "SUBNET_B": "subnet-2", "SECURITY_GROUP": "sg-1"},
}


def schema(name):
    with open(os.path.join(HERE, "schemas", name), encoding="utf-8") as file:
        return jsonschema.Draft202012Validator(yaml.safe_load(file))


SCHEMAS = {"compose": schema("compose.yml"), "ecs-params": schema("ecs-params.yml")}


# ---- one file ----

def unknown_keys(error):
    known, why = error.schema.get("properties", {}), error.schema.get("why", {})
    for key in error.instance:
        if key not in known:
            rule = why.get(key) or (why.get("x-") if key.startswith("x-") else None)
            yield ".".join([*map(str, error.absolute_path), key]), rule or "no such key"


def broken(file, kind, content):
    """What breaks the schema, as (file, key, rule)."""
    for error in sorted(SCHEMAS[kind].iter_errors(content), key=str):
        if error.validator == "additionalProperties" and error.schema["additionalProperties"] is False:
            yield from ((file, key, rule) for key, rule in unknown_keys(error))
        else:
            key = ".".join(map(str, error.absolute_path)) or "-"
            yield file, key, error.schema.get("description", error.message)


# ---- both files ----

def problems(kind, folder, environment):
    compose_file, params_file = FILES[kind]
    try:
        compose = read_compose(folder, compose_file, environment)
        params = read_params(folder, params_file, environment)
    except Problem as problem:
        return [str(problem)]
    found = [*broken(compose_file, "compose", compose), *broken(params_file, "ecs-params", params)]
    if not found:
        task = Task(kind, compose_file, compose, params_file, params)
        found = [problem for rule in RULES for problem in rule(task)]
    return [f"{file}: {key}: {rule}" for file, key, rule in found]


def check(kind, folder):
    found = problems(kind, folder, ENVIRONMENT[kind])
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


# ---- cases ----

def change(path, key, value):
    """Set what the dotted key names to the value (JSON), or take it away (-)."""
    with open(path, encoding="utf-8") as stream:
        content = json.loads(json.dumps(yaml.safe_load(stream)))  # what an anchor shares is changed in one place
    *parents, last = key.split(".")
    inner = content
    for name in parents:
        inner = inner.setdefault(name, {})
    if value == "-":
        del inner[last]
    else:
        inner[last] = json.loads(value)
    with open(path, "w", encoding="utf-8") as stream:
        yaml.safe_dump(content, stream, sort_keys=False)


def found_in_case(kind, place, key, value, real):
    """The place is a file, several with + between, one with "text of" before it (a line is added), or "environment"."""
    environment = dict(ENVIRONMENT[kind])
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES[kind]:
            shutil.copy(os.path.join(real, name), folder)
        if place == "environment":
            environment[key] = "" if value == "-" else value
        elif place.startswith("text of "):
            with open(os.path.join(folder, place.removeprefix("text of ")), "a", encoding="utf-8") as stream:
                stream.write(f"{key}: {value}\n")
        else:
            for name in place.split("+"):
                change(os.path.join(folder, name), key, value)
        return problems(kind, folder, environment)


def cases(table, real):
    count = wrong = 0
    with open(table, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            title, kind, place, key, value, message = line.rstrip("\n").split("\t")
            count += 1
            found = found_in_case(kind, place, key, value, real)
            if message not in found:
                wrong += 1
                print(f"{title}\n  expected: {message}\n  found:    " + "\n            ".join(found or ["nothing"]))
    print(count)
    return 1 if wrong or not count else 0


COMMANDS = {"check": check, "cases": cases}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))
