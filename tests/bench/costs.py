#!/usr/bin/env python3
"""What a request costs a process: instructions (valgrind's callgrind) and system calls (strace), per request.

usage: costs.py SERVICE PROGRAM DIR PATH [--by-function]     PATH takes a message
       costs.py nginx CONFIGURATION DIR / [--by-function]    its upstreams run, its first port is free

Runs it twice under each tool, with few requests and with many, and divides the difference: start and end cancel out.
Instructions do not depend on what else the machine does. System calls do a little, as what comes in one piece or in two is
read by one or two of them: the least of three tries counts. Prints lines of: process, message, metric, number, tab-separated. --by-function: callgrind's own table instead.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from fcgi import Peer, listens, message  # noqa: E402

MESSAGES = {"32 B": "hello, my friends", "1 KiB ASCII": "abcdefgh" * 128, "1 KiB mixed": "añ日本語ω " * 57}
FEW, MANY = 50, 550
CALLED_AT = sys.argv[4]


def wait_for(condition, process):
    deadline = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"costs.py: {' '.join(process.args)} did not start")
        time.sleep(0.01)


class Service:
    """PROGRAM on a socket of its own, with one thread, so that all it does is one after the other."""

    def __init__(self, name, program, folder, tool):
        self.path = os.path.join(folder, f"{name}.sock")
        self.under_strace = tool[0].endswith("strace")
        if os.path.exists(self.path):
            os.unlink(self.path)
        environment = os.environ | {"THREADS": "1", "LOG_LEVEL": "error"}
        self.process = subprocess.Popen(["spawn-fcgi", "-s", self.path, "-n", "--", *tool, program], env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.path), self.process)

    def call(self, text, count):
        with Peer(self.path) as peer:
            for _ in range(count):
                yield peer.call("POST", CALLED_AT, message(text), HTTP_X_REQUEST_ID="0123456789abcdef" * 2).status

    stop_signal = signal.SIGTERM


class Nginx:
    """nginx as one process, without a master."""

    def __init__(self, _, configuration, __, tool):
        with open(os.path.join(os.path.dirname(configuration), "edge.conf"), encoding="utf-8") as edge:
            self.port = int(re.search(r"listen \S+:(\d+)", edge.read())[1])
        self.under_strace = tool[0].endswith("strace")
        self.process = subprocess.Popen([*tool, "/usr/sbin/nginx", "-e", "stderr", "-c", configuration,
                                         "-g", "daemon off; master_process off;"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.listens, self.process)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def call(self, text, count):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        for _ in range(count):
            connection.request("POST", "/api", message(text))
            reply = connection.getresponse()
            reply.read()
            yield reply.status
        connection.close()

    stop_signal = signal.SIGQUIT


def drive(name, program, folder, tool, text, count):
    """`count` requests on one kept connection, then a drain."""
    running = (Nginx if name == "nginx" else Service)(name, program, folder, tool)
    if any(status != 200 for status in running.call(text, count)):
        sys.exit(f"costs.py: {name} did not answer with 200")
    os.kill(child_of(running.process.pid) if running.under_strace else running.process.pid, running.stop_signal)
    running.process.wait(30)


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
    out, counts = os.path.join(folder, "strace.out"), []
    for _ in range(3):
        drive(service, program, folder, ["/usr/bin/strace", "-f", "-c", "-o", out], text, count)
        with open(out, encoding="utf-8") as lines:
            counts.append(int(re.search(r"(\d+)(?:\s+\d+)?\s+total$", lines.read(), re.MULTILINE)[1]))
    return min(counts)


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
