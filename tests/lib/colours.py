"""Whether each answer came from the colour that scripts/route was asked for.

usage: colours.py CHANGES ACCESS_LOG

CHANGES has a line for each call of scripts/route: when it began and returned (Unix time), and its words: "app green",
"app blue=50 green=50". Looks at what left from 2 s after a change of a service to the begin of the next of it: all colours
of the change are there, and no other. Fails if not, or if there is nothing to look at.
"""

import json
import re
import sys

GRACE_S = 2


def changes_of(path):
    """service -> [(begun, returned, colours)], in order"""
    changes = {}
    with open(path) as lines:
        for line in lines:
            begun, returned, service, *parts = line.split()
            colours = {part.split("=")[0] for part in parts}
            changes.setdefault(service, []).append((float(begun), float(returned), colours))
    return changes


def answers_of(path):
    """service -> [(time, colour)], in order of time"""
    answers = {}
    with open(path) as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["uri"] == "/api":
                for service, colour in re.findall(r"/(app|transform)-([a-z]+)-", entry["upstream_addr"]):
                    answers.setdefault(service, []).append((entry["msec"], colour))
    return {service: sorted(all_of) for service, all_of in answers.items()}


def main():
    changes, answers, failed = changes_of(sys.argv[1]), answers_of(sys.argv[2]), 0
    for service, all_of in changes.items():
        ends = [begun for begun, _, _ in all_of[1:]] + [float("inf")]
        for (_, returned, asked), end in zip(all_of, ends):
            window = [colour for time, colour in answers[service] if returned + GRACE_S < time < end]
            if not window or set(window) != asked:
                failed += 1
                print(f"{service} {sorted(asked)}: {len(window)} answers by {sorted(set(window))}")
    return 1 if failed else 0


sys.exit(main())
