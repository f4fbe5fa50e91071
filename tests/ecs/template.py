#!/usr/bin/env python3
"""cloudformation.yml with its parameters filled in, for what moto's CloudFormation does not make.

usage: template.py resources [NAME=VALUE]...   the resources, as JSON; another resource is "@Name" or "@Name.Attribute"
       template.py numbers                     each number that stands in a resource and is no parameter, with its place
       template.py parameters                  each parameter without a default or a description
"""

import json
import os
import re
import sys

import yaml

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../cloudformation.yml")
PSEUDO = {"AWS::StackName": "shop", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws",
          "AWS::URLSuffix": "amazonaws.com"}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """!Sub "x" becomes {"Sub": "x"}."""


def construct(loader, tag, node):
    if isinstance(node, yaml.SequenceNode):
        return {tag: loader.construct_sequence(node, deep=True)}
    return {tag: loader.construct_scalar(node)}


Loader.add_multi_constructor("!", construct)


def load():
    with open(TEMPLATE, encoding="utf-8") as file:
        return yaml.load(file, Loader)


def number(text):
    return float(text) if "." in str(text) else int(text)


class Stack:
    def __init__(self, template, given):
        self.template = template
        self.values = {**PSEUDO, "AWS::NoValue": NOTHING}
        for name, parameter in template["Parameters"].items():
            self.values[name] = given.pop(name, parameter["Default"])
            if parameter["Type"] == "Number":
                self.values[name] = number(self.values[name])
        if given:
            sys.exit(f"there is no parameter {' '.join(given)}")

    def holds(self, condition):
        (name, value), = condition.items()
        return self.conditions[name](self, value)

    @staticmethod
    def select(index, values):
        """Of a list; of another resource's attribute, which is one, "@Name.Attribute[0]"."""
        return values[index] if isinstance(values, list) else f"{values}[{index}]"

    def ref(self, name):
        return self.values.get(name, f"@{name}")

    conditions = {
        "Equals": lambda self, pair: str(self.resolve(pair[0])) == str(self.resolve(pair[1])),
        "Not": lambda self, one: not self.holds(one[0]),
        "And": lambda self, all_of: all(map(self.holds, all_of)),
        "Or": lambda self, any_of: any(map(self.holds, any_of)),
        "Condition": lambda self, name: self.holds(self.template["Conditions"][name]),
    }

    functions = {
        "Ref": lambda self, name: self.ref(name),
        "GetAtt": lambda self, name: f"@{name}",
        "GetAZs": lambda self, _: ["zone-a", "zone-b", "zone-c"],
        "Select": lambda self, pair: self.select(int(pair[0]), self.resolve(pair[1])),
        "Sub": lambda self, text: re.sub(r"\$\{([^}]*)\}", lambda match: str(self.ref(match[1])), text),
        "Cidr": lambda self, three: [f"{self.resolve(three[0])}#{one}" for one in range(int(three[1]))],
        "If": lambda self, three: self.resolve(
            three[1 if self.holds(self.template["Conditions"][three[0]]) else 2]),
    }

    def resolve(self, value):
        if isinstance(value, dict):
            if len(value) == 1 and (name := next(iter(value))) in self.functions:
                return self.functions[name](self, value[name])
            inner = {key: self.resolve(one) for key, one in value.items()}
            return {key: one for key, one in inner.items() if one is not NOTHING}
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NOTHING]
        return value

    def resources(self):
        conditions = self.template["Conditions"]
        return {name: self.resolve(resource) for name, resource in self.template["Resources"].items()
                if "Condition" not in resource or self.holds(conditions[resource["Condition"]])}


def resources(*words):
    json.dump(Stack(load(), dict(word.split("=", 1) for word in words)).resources(), sys.stdout, indent=1)


def numbers_in(place, value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers_in(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(place, inner)
    elif not isinstance(value, bool) and re.fullmatch(r"-?[0-9]+", str(value)):
        yield f"{place} {value}"


def numbers():
    for name, resource in load()["Resources"].items():
        for found in numbers_in(name, resource["Properties"] if "Properties" in resource else {}):
            print(found)


def parameters():
    for name, parameter in load()["Parameters"].items():
        for key in ("Default", "Description"):
            if key not in parameter:
                print(f"{name} has no {key}")


COMMANDS = {"resources": resources, "numbers": numbers, "parameters": parameters}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
