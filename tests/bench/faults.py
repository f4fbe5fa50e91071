#!/usr/bin/env python3
"""What clients, or a process that fails, do to all others: loads that once took this system down. Each prints a JSON object.

usage: faults.py NAME FOLDER HTTP_PORT HTTPS_PORT OPENLOOP BODY-FILE SECONDS RATE

FOLDER: RUN_DIR of a copy of the system as it is shipped. OPENLOOP: the program of openloop.c. RATE: 30 % of the
capacity.
  arrival   64 clients that connect one by one, then all at work: the part of nginx's CPU time of its idlest worker
  slow      66 HTTP/2 connections with 128 requests each that send a byte now and then; what others get meanwhile
  frozen    one of two instances of transform is stopped; from 3 s on, how much of RATE is answered in a second
  killed    all of nginx's workers are killed ten times under 64 clients; what 200 calls get afterwards
  deaf      600 clients send 1 MiB each and read nothing: nginx's memory, and what others get meanwhile
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from reload import DATA, END_HEADERS, HEADERS, Client, Client2, Nginx, freeze, wait_until  # noqa: E402

MIB = 1 << 20
OTHERS = 500  # requests/s of those who only want to be served
HEAD = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Copy:
    def __init__(self, folder, http_port, https_port, openloop, body, seconds, rate):
        self.folder, self.port, self.tls_port = folder, int(http_port), int(https_port)
        self.openloop, self.body, self.seconds, self.rate = openloop, body, float(seconds), int(rate)
        self.nginx = Nginx(os.path.join(folder, "nginx.pid"))

    def open_loop(self, rate, seconds, connections=128):
        said = subprocess.run([self.openloop, str(self.port), str(rate), str(seconds), str(connections), self.body],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(said)

    def workers(self, service):
        """pids of a service's workers: each is a child of a multiwatch."""
        names = [name for name in os.listdir(self.folder) if name.startswith(service) and name.endswith(".pid")]
        for name in sorted(names):
            with open(os.path.join(self.folder, name), encoding="ascii") as file:
                pid = file.read().strip()
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                yield from map(int, file.read().split())

    def nginx_mib(self):
        total = 0
        for pid in self.nginx.workers():
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total / MIB


def nanoseconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


# ---- arrival ----

def ask_on_all(clients, seconds):
    """One request at a time on each. Returns how many answers came, and how many of them were no 200."""
    by_fd = {client.socket.fileno(): client for client in clients}
    poll, end, answers, bad = select.epoll(), time.monotonic() + seconds, 0, 0
    for fd, client in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        client.send()
    while time.monotonic() < end:
        for fd, _ in poll.poll(0.1):
            head, _ = by_fd[fd].receive()
            answers += 1
            bad += not head.startswith(b"HTTP/1.1 200")
            by_fd[fd].send()
    return answers, bad


def arrival(copy):
    clients = []
    for _ in range(64):
        clients.append(Client(copy.port))
        time.sleep(0.01)
    before = {pid: nanoseconds(pid) for pid in copy.nginx.workers()}
    answers, bad = ask_on_all(clients, copy.seconds)
    used = [nanoseconds(pid) - then for pid, then in before.items()]
    return {"requests": answers, "seconds": copy.seconds, "errors": bad, "least_share": min(used) / sum(used)}


# ---- slow bodies ----

FIELDS = {b":method": b"POST", b":scheme": b"https", b":path": b"/api", b":authority": b"x"}
BLOCK = b"".join(b"\0%c%s%c%s" % (len(n), n, len(v), v) for n, v in FIELDS.items())
STREAMS = range(1, 2 * 128, 2)  # nginx takes no more of a connection; 64 of these are the default of MAX_CLIENTS


class SlowClients:
    """Each stream sends a byte of its body every two seconds; all of it never comes."""

    def __init__(self, port, count):
        self.clients = [Client2(port) for _ in range(count)]
        self.ended = threading.Event()
        for client in self.clients:
            for stream in STREAMS:
                client.send_frame(HEADERS, END_HEADERS, stream, BLOCK)
        self.send_bytes()
        self.thread = threading.Thread(target=self.go_on)
        self.thread.start()

    def send_bytes(self):
        for client in self.clients:
            try:
                for stream in STREAMS:
                    client.send_frame(DATA, 0, stream, b"{")
            except OSError:  # it was closed, which is a good answer
                pass

    def go_on(self):
        while not self.ended.wait(2):
            self.send_bytes()

    def leave(self):
        self.ended.set()
        self.thread.join()
        for client in self.clients:
            client.socket.close()


def slow(copy):
    clients = SlowClients(copy.tls_port, 66)
    try:
        return copy.open_loop(OTHERS, copy.seconds)
    finally:
        clients.leave()


# ---- a frozen instance ----

def frozen(copy):
    victim = next(copy.workers("transform"))
    freeze([victim])
    try:
        copy.open_loop(copy.rate, 3, 1024)
        return copy.open_loop(copy.rate, copy.seconds, 1024)
    finally:
        os.kill(victim, signal.SIGCONT)


# ---- killed workers of nginx ----

def is_answered(port):
    try:
        client = Client(port)
        client.send()
        return client.receive()[0].startswith(b"HTTP/1.1 200")
    except (OSError, AssertionError):
        return False


def kill_workers(nginx):
    old = nginx.workers()
    for pid in old:
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: len(nginx.workers()) == len(old) and nginx.is_rid_of(old), "nginx starts no new workers")


def killed(copy):
    load = subprocess.Popen(["wrk", "-t", "2", "-c", "64", "-d", "30s", "-s", os.path.join(HERE, "post.lua"),
                             f"http://127.0.0.1:{copy.port}/api"], env=os.environ | {"BODY": copy.body},
                            stdout=subprocess.DEVNULL)
    for _ in range(10):
        time.sleep(0.2)  # requests are under way again
        kill_workers(copy.nginx)
    load.send_signal(signal.SIGINT)
    load.wait(30)
    return {"requests": 200, "errors": sum(not is_answered(copy.port) for _ in range(200))}


# ---- clients that do not read ----

class Deaf:
    def __init__(self, port, request):
        self.left = memoryview(request)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)

    def send(self):
        """Returns whether there is more to send."""
        try:
            self.left = self.left[self.socket.send(self.left):]
        except BlockingIOError:
            pass
        except OSError:  # it was refused
            return False
        return len(self.left) > 0


def send_all(clients):
    by_fd, poll = {client.socket.fileno(): client for client in clients}, select.poll()
    deadline = time.monotonic() + 30
    for fd in by_fd:
        poll.register(fd, select.POLLOUT)
    while by_fd and time.monotonic() < deadline:
        for fd, _ in poll.poll(100):
            if not by_fd[fd].send():
                poll.unregister(fd)
                del by_fd[fd]


class Watch(threading.Thread):
    """The most memory that nginx had, looked at ten times a second."""

    def __init__(self, nginx_mib):
        super().__init__()
        self.nginx_mib, self.ended, self.most, self.grown_at = nginx_mib, threading.Event(), 0, 0
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            if (now := self.nginx_mib()) > self.most + 1:
                self.most, self.grown_at = now, time.monotonic()

    def has_settled(self):
        return time.monotonic() - self.grown_at > 2

    def end(self):
        self.ended.set()
        self.join()
        return self.most


def deaf(copy):
    body = b'{"message":"%s"}' % (b"x" * (MIB - 14))
    watch = Watch(copy.nginx_mib)
    clients = [Deaf(copy.port, HEAD % len(body) + body) for _ in range(600)]
    try:
        send_all(clients)
        others = copy.open_loop(OTHERS, copy.seconds)
        wait_until(watch.has_settled, "nginx's memory grows without an end")
    finally:
        most = watch.end()
        for client in clients:
            client.socket.close()
    return others | {"nginx_mib": most}


if __name__ == "__main__":
    FAULTS = {function.__name__: function for function in (arrival, slow, frozen, killed, deaf)}
    if len(sys.argv) != 9 or sys.argv[1] not in FAULTS:
        sys.exit(__doc__)
    print(json.dumps(FAULTS[sys.argv[1]](Copy(*sys.argv[2:]))))
