"""Many clients of a copy, and how fairly they are served; called from failure.bats and load.bats.

usage: fair.py frozen PORT RATE SECONDS PID...     freeze these services, offer RATE calls a second for so long, let them go on;
                                                   print which part of those offered after 3 s was right within 1 s
       fair.py slow PORT PID CALLS                 one connection: freeze this service until a call has taken over 0.5 s, let
                                                   it go on, and make so many calls
       fair.py kept PORT COUNT                     so many connections, a call on each, then another on each; print how many
                                                   of the second ones were answered with 200
       fair.py workers PORT COUNT                  so many connections, one by one, a request on each; print how many each worker has
       fair.py too-many PORT COUNT                 so many connections come and go; print how many of 20 requests after it are answered
       fair.py one-by-one PORT GAP COUNT PID...    so many connections, GAP ms apart, a call on each; then calls on all of them;
                                                   print which part of the CPU time each of these nginx workers took
"""

import asyncio
import collections
import os
import resource
import select
import signal
import socket
import sys
import time

import sample
from reload import freeze

SETTLED = 3    # seconds until others do the work of a frozen instance
IN_TIME = 1    # seconds
BOUND = 60     # seconds; an end to waiting, and never what is measured
ROUNDS = 60    # calls on each connection of one-by-one
CALL = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(sample.REQUEST), sample.REQUEST)


def more_descriptors():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


# ---- one connection ----

class Client:
    """A connection that is kept."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), BOUND)

    def send(self):
        try:
            self.socket.sendall(CALL)
        except ConnectionError:
            pass  # receive sees the end

    def receive(self):
        """The status of the answer; 0 when there is none."""
        data = bytearray()
        try:
            while not is_whole(data):
                piece = self.socket.recv(65536)
                if not piece:
                    return 0
                data += piece
        except ConnectionError:
            return 0
        return int(data[9:12])

    def call(self):
        self.send()
        return self.receive()


def is_whole(data):
    head, gap, body = bytes(data).partition(b"\r\n\r\n")
    return gap and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


# ---- a frozen instance ----

async def timed_call(port):
    """How long a right answer took, on a connection of its own; BOUND when there is none."""
    begun = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CALL.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"))
        answer = await asyncio.wait_for(reader.read(), BOUND)
        writer.close()
    except (OSError, asyncio.TimeoutError):
        return BOUND
    return time.monotonic() - begun if answer.startswith(b"HTTP/1.1 200") else BOUND


async def offer(port, rate, seconds):
    """Begin a call whenever one is due, whatever has become of those before. The times of those due once it has settled."""
    begun, calls = time.monotonic(), []
    for i in range(int(rate * seconds)):
        await asyncio.sleep(max(0, begun + i / rate - time.monotonic()))
        calls.append(asyncio.ensure_future(timed_call(port)))
    return (await asyncio.gather(*calls))[int(rate * SETTLED):]


def frozen(port, rate, seconds, *pids):
    freeze(pids)
    try:
        times = asyncio.run(offer(int(port), int(rate), int(seconds)))
    finally:
        for pid in pids:
            os.kill(int(pid), signal.SIGCONT)
    print(sum(took < IN_TIME for took in times) / len(times))


def slow(port, pid, calls):
    client, took = Client(port), 0
    freeze([pid])
    try:
        while took < 0.5:
            begun = time.monotonic()
            client.call()
            took = time.monotonic() - begun
    finally:
        os.kill(int(pid), signal.SIGCONT)
    for _ in range(int(calls)):
        client.call()


# ---- many connections ----

def kept(port, count):
    more_descriptors()
    clients = [Client(port) for _ in range(int(count))]
    for client in clients:
        client.call()
    print(sum(client.call() == 200 for client in clients))


def said(client):
    """What the nginx of accept-module.bats answers: the pid of the worker; nothing when it does not."""
    client.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    data, piece = bytearray(), b"-"
    while piece and not is_whole(data):
        piece = client.socket.recv(65536)
        data += piece
    return bytes(data).partition(b"\r\n\r\n")[2]


def workers(port, count):
    clients, of = [], collections.Counter()
    for _ in range(int(count)):
        clients.append(Client(port))
        of[said(clients[-1])] += 1
    print(*of.values(), sep="\n")


def too_many(port, count):
    clients = [Client(port) for _ in range(int(count))]
    select.select([clients[-1].socket], [], [], 1)  # nginx has had its time
    for client in clients:
        client.socket.close()
    print("answered", sum(said(Client(port)) != b"" for _ in range(20)), "of 20")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def connect_one_by_one(port, gap, count):
    clients = []
    for _ in range(int(count)):
        clients.append(Client(port))
        clients[-1].call()
        select.select([], [], [], int(gap) / 1000)
    return clients


def one_by_one(port, gap, count, *workers):
    clients = connect_one_by_one(port, gap, count)
    before = [cpu_ticks(pid) for pid in workers]
    for _ in range(ROUNDS):
        for client in clients:
            client.send()
        for client in clients:
            client.receive()
    used = [cpu_ticks(pid) - ticks for pid, ticks in zip(workers, before)]
    print(*(round(ticks / sum(used), 2) for ticks in used))


if __name__ == "__main__":
    {"frozen": frozen, "slow": slow, "kept": kept, "workers": workers, "too-many": too_many, "one-by-one": one_by_one}[sys.argv[1]](*sys.argv[2:])
