#!/usr/bin/env python3
"""What a request costs a service: instructions (valgrind's callgrind) and system calls (strace), per request.

usage: costs.py SERVICE PROGRAM DIR [--by-function]

Runs PROGRAM twice under each tool, with few requests and with many, and divides the difference: start and end cancel
out. Instructions do not depend on what else the machine does; neither does the count of calls while requests come one
at a time. Prints lines of: service, message, metric, number, tab-separated. --by-function: callgrind's own table instead.
"""

import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from fcgi import Peer, message  # noqa: E402

PATHS = {"app": "/api", "transform": "/reverse/message"}
MESSAGES = {"32 B": "hello, my friends", "1 KiB ASCII": "abcdefgh" * 128, "1 KiB mixed": "añ日本語ω " * 57}
FEW, MANY = 50, 550


def start(service, program, folder, tool):
    """PROGRAM under `tool` on a socket, with one thread, so that all it does is one after the other."""
    path = os.path.join(folder, f"{service}.sock")
    if os.path.exists(path):
        os.unlink(path)
    environment = os.environ | {"THREADS": "1", "LOG_LEVEL": "error"}
    process = subprocess.Popen(["spawn-fcgi", "-s", path, "-n", "--", *tool, program], env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"costs.py: {program} did not start under {tool[0]}")
        time.sleep(0.01)
    return process, path


def drive(service, program, folder, tool, text, count):
    """`count` requests on one kept connection, then a drain."""
    process, path = start(service, program, folder, tool)
    with Peer(path) as peer:
        for _ in range(count):
            if peer.call("POST", PATHS[service], message(text), HTTP_X_REQUEST_ID="0123456789abcdef" * 2).status != 200:
                sys.exit(f"costs.py: {service} did not answer with 200")
    os.kill(process.pid if tool[0].endswith("valgrind") else child_of(process.pid), signal.SIGTERM)
    process.wait(30)


def child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


def valgrind(folder):
    out = os.path.join(folder, "callgrind.out")
    return ["/usr/bin/valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], out


def instructions(service, program, folder, text, count):
    tool, out = valgrind(folder)
    drive(service, program, folder, tool, text, count)
    with open(out, encoding="utf-8") as lines:
        return int(re.search(r"^(?:summary|totals): (\d+)", lines.read(), re.MULTILINE)[1])


def calls(service, program, folder, text, count):
    out = os.path.join(folder, "strace.out")
    drive(service, program, folder, ["/usr/bin/strace", "-f", "-c", "-o", out], text, count)
    with open(out, encoding="utf-8") as lines:
        return int(re.search(r"(\d+)(?:\s+\d+)?\s+total$", lines.read(), re.MULTILINE)[1])


def by_function(service, program, folder):
    tool, out = valgrind(folder)
    drive(service, program, folder, tool, MESSAGES["32 B"], MANY)
    subprocess.run(["callgrind_annotate", "--threshold=95", out], check=True)


def main():
    service, program, folder = sys.argv[1:4]
    if "--by-function" in sys.argv:
        return by_function(service, program, folder)
    for metric, measure in ("instructions", instructions), ("system calls", calls):
        for name, text in MESSAGES.items():
            if metric == "system calls" and name != "32 B":
                continue
            few, many = (measure(service, program, folder, text, count) for count in (FEW, MANY))
            print(f"{service}\t{name}\t{metric}\t{(many - few) / (MANY - FEW):.1f}", flush=True)


if __name__ == "__main__":
    main()
