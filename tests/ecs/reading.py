"""The files as ecs-cli reads them: strict YAML, variables from the environment, one compose file added to the other."""

import os
import re

import yaml

VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([^}]*)\})")
IN_BRACES = re.compile(r"([A-Za-z_]\w*)(?:(:?[-?])(.*))?$", re.DOTALL)


class Problem(Exception):
    """A file, a key in it, and the rule that is broken."""

    def __init__(self, file, key, rule):
        super().__init__(f"{file}: {key}: {rule}")


class Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML's reader takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f'"{key}" stands twice', node.start_mark)
        return super().construct_mapping(node, deep)


def parse(file, text):
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Problem(file, f"line {mark.line + 1}" if mark else "-", f"no YAML: {getattr(error, 'problem', error)}")


# ---- variables ----

def substitute(file, key, text, environment):
    """A string of a compose file, with its variables filled in."""
    def value(match):
        dollar, plain, braces = match.groups()
        if dollar:
            return "$"
        parts = IN_BRACES.match(plain or braces)
        if not parts:
            raise Problem(file, key, f"ecs-cli does not take ${{{braces}}}; a default is ${{NAME:-text}}")
        name, operator, word = parts.groups()
        if environment.get(name) or (name in environment and operator in (None, "-", "?")):
            return environment[name]
        if operator in ("?", ":?"):
            raise Problem(file, key, f"{name} is not set; {word}")
        if operator is None:
            raise Problem(file, key, f"{name} is not set, and would be empty; set it, or give it a default")
        return word
    return VARIABLE.sub(value, text)


def substitute_all(file, key, value, environment):
    if isinstance(value, dict):
        return {name: substitute_all(file, f"{key}.{name}".lstrip("."), inner, environment)
                for name, inner in value.items()}
    if isinstance(value, list):
        return [substitute_all(file, key, inner, environment) for inner in value]
    return substitute(file, key, value, environment) if isinstance(value, str) else value


def expand(file, text, environment):
    """ecs-params.yml, with its variables filled in: before it is read as YAML, without defaults, empty when not set."""
    def value(match):
        dollar, plain, braces = match.groups()
        name = plain or braces
        if dollar or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise Problem(file, match.group(), "ecs-cli makes nothing of it here; only $NAME and ${NAME} are taken")
        if not environment.get(name):
            raise Problem(file, match.group(), f"{name} is not set, and ecs-cli knows no default here")
        return environment[name]
    return re.sub(r"(?m)^(?!\s*#).*$", lambda line: VARIABLE.sub(value, line.group()), text)


# ---- the files ----

def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def read_compose(folder, name, environment):
    return substitute_all(name, "", parse(name, read(folder, name)), environment)


def read_params(folder, name, environment):
    return parse(name, expand(name, read(folder, name), environment))
