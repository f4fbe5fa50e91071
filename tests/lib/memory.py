"""A service whose memory, descriptors or epoll run short when a test says so; called from memory.bats.

    memory.py control FILE                                       make the file that the preloaded library shares
    memory.py each SERVICE ADDRESS CONTROL LOG PID one|all       each allocation of each request fails, alone or with all
                                                                 behind it; prints how many there are
    memory.py first SERVICE PROGRAM LIBRARY DIR                  the same for the first request of a process
    memory.py accept SERVICE ADDRESS CONTROL LOG PID             accept and epoll fail

SERVICE is app, transform or status (the status socket of transform). The service runs with LD_PRELOAD=failing_malloc.so
and FAILING_MALLOC=CONTROL (tests/unit/failing_malloc.c).

A request for which an allocation fails ends in what it gets otherwise, byte for byte, in a 503, or in a close before
any byte of an answer; the latter two with a line in the log.
"""

import fcntl
import itertools
import json
import mmap
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import fcgi
from cgi import transformed
from fcgi import Closed, Peer
from scenarios import cpu_seconds, expect, is_running, stat_of, wait_until

BOUND = 10            # seconds in which a request ends
ALL = (1 << 63) - 1   # to the last allocation that there will ever be
NUMBERS = ("first", "last", "seen", "fired", "after_accept", "accepts", "watches", "accept_errno")


class Control:
    """What the preloaded library and this test share: numbers by the names that failing_malloc.c gives them."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 8 * len(NUMBERS))

    def __getitem__(self, name):
        return struct.unpack_from("q", self.shared, 8 * NUMBERS.index(name))[0]

    def __setitem__(self, name, value):
        struct.pack_into("q", self.shared, 8 * NUMBERS.index(name), value)

    def arm(self, first, last, after_accept=0):
        self["seen"] = self["fired"] = 0
        self["after_accept"], self["last"] = after_accept, last
        self["first"] = first

    def disarm(self):
        self["first"] = 0


def control(path):
    with open(path, "wb") as file:
        file.write(bytes(8 * len(NUMBERS)))


# ---- requests, and what is right ----

MIXED = "naïve Ελλάδα мир 日本語 𝒳 " * 26  # 1 KiB of UTF-8
BODIES = {
    "the usual small one": fcgi.message("hello"),
    "escapes": rb'{"message":"a\n\u00e9\ud83d\ude00\"b\\\u0000c"}',
    "1 KiB of mixed scripts": fcgi.message(MIXED),
    "other members, with numbers": b'{"y":1e999,"x":[1,-2.5e3,18446744073709551616,true,null],"message":"hello","z":{"a":"b"}}',
    "not JSON": b'{"message": oops}',
    "300 KiB": fcgi.message("The quick brown fox. " * 14629),
}
PATHS = {"app": ("", "/api"), "transform": ("/reverse", "/message")}
GETS = {"app": ("/", "/_health", "/nothing"), "transform": ("/_health", "/nothing"), "status": ("/_status", "/_health")}


def requests_of(service):
    """By name: bytes of a request. Its path comes in two parts where it can, which costs an allocation more."""
    found = {f"GET {path}": fcgi.request("GET", path, HTTP_X_REQUEST_ID="an-id") for path in GETS[service]}
    if service in PATHS:
        script, info = PATHS[service]
        found |= {name: fcgi.request("POST", script, body, PATH_INFO=info) for name, body in BODIES.items()}
    return found


def expect_right_at_all(name, reply):
    """An answer with memory in plenty, against what transform makes of the body as a plain CGI program."""
    expect(400 if name == "not JSON" else 404 if "nothing" in name else 200, reply.status, f"{name}: the status")
    if name in BODIES and reply.status == 200 and b"<!--#" not in reply.body:
        expect(transformed(BODIES[name]), reply.json, f"{name}: the answer")


def same(reply):
    """An answer without what differs each time."""
    out = re.sub(rb'"rand":0\.\d{16}', b'"rand":N', reply.out)
    if b'"uptime"' in out:
        told = json.loads(reply.body)
        expect(told["requests"], sum(told["statuses"].values()), "requests, and the sum of them by status")
        return sorted(told)
    return out


# ---- one request ----

def taken(peer):
    """All bytes up to the end of the answer, or of the connection. They are taken when no more come: so a large answer
    has filled the socket, and the rest of it has to wait in the service."""
    data, deadline = b"", time.monotonic() + BOUND
    while not fcgi.answers(data)[0]:
        expect(True, time.monotonic() < deadline, f"answered or closed within {BOUND} s; there are {len(data)} bytes")
        settle(peer.socket)
        if not (piece := peer.receive(1 << 20)):
            break
        data += piece
    return data


def settle(sock):
    """Until there is something to read, and its size does not change any more."""
    before = -1
    select.select([sock], [], [], BOUND)
    while (now := waiting(sock)) != before and now > 1 << 15:
        before = now
        select.select([], [], [], 0.005)


def waiting(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def outcome(peer, data):
    """The answer, or None for a close without one. A close after a part of one is a fault."""
    try:
        peer.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    data = taken(peer)
    whole, rest = fcgi.answers(data)
    expect(b"", rest[:200], "bytes of an answer that is not whole, before the connection was closed")
    return whole[0] if whole else None


class Log:
    """Lines of a service's log from now on."""

    def __init__(self, path):
        self.path, self.at = path, os.path.getsize(path)

    def problems(self):
        with open(self.path, encoding="utf-8") as log:
            log.seek(self.at)
            return [line for line in log if '"level":"warning"' in line or '"level":"error"' in line]

    def expect_line(self, what):
        wait_until(5, self.problems, f"a line in the log about {what}")


def judge(reply, right, log):
    """One that failed: right all the same, or a 503 or a close, each of which the log knows of."""
    if reply is None:
        return log.expect_line("a close")
    if reply.status == 503:
        expect("application/problem+json", reply.head.get("content-type"), "the content type of the 503")
        expect(503, json.loads(reply.body)["status"], "the problem document of the 503")
        return log.expect_line("a 503")
    return expect(right, same(reply), "the answer")


# ---- each allocation ----

class Trial:
    """A service, and what it answers when memory is not short."""

    def __init__(self, service, address, shared, log):
        self.address, self.control, self.log = address, Control(shared), log
        self.requests, self.right = requests_of(service), {}
        for name, data in self.requests.items():
            with Peer(address) as peer:
                reply = outcome(peer, data)
            expect_right_at_all(name, reply)
            self.right[name] = same(reply)

    def once(self, name, peer, number, last):
        """Send the request while allocations from `number` to `last` fail. Returns whether one did."""
        log = Log(self.log)
        self.control.arm(number, last)
        try:
            peer = peer or Peer(self.address)
            reply = outcome(peer, self.requests[name])
            fired = self.control["fired"] > 0
        finally:
            self.control.disarm()
        if fired:
            judge(reply, self.right[name], log)
        else:
            expect(True, reply is not None and same(reply) == self.right[name], f"without a failure: {reply}")
        return fired

    def kept(self, name):
        """A connection that has served such a request already."""
        peer = Peer(self.address)
        expect(self.right[name], same(outcome(peer, self.requests[name])), "a call before")
        return peer

    def expect_well(self, name):
        """The next call is answered as ever."""
        with Peer(self.address) as peer:
            reply = outcome(peer, self.requests[name])
            expect(True, reply is not None and same(reply) == self.right[name], f"the call afterwards: {reply}")


def count_failures(fail):
    """Call fail(n) for n from 1 until twice in a row nothing failed. Returns how many did."""
    count, quiet = 0, 0
    for number in itertools.count(1):
        fired = fail(number)
        count, quiet = count + fired, 0 if fired else quiet + 1
        if quiet == 2:
            return count


def expect_none(faults):
    """Those that differ only in the allocation are said once."""
    groups = {}
    for what, number, problem in faults:
        groups.setdefault((what, str(problem)), []).append(number)
    if groups:
        raise AssertionError("\n".join(f"{what}, allocation {', '.join(map(str, numbers))}: {problem}"
                                       for (what, problem), numbers in groups.items()))


def tried(what, number, faults, fail):
    """fail(), or True after adding what went wrong to `faults`: all of them are said, not the first."""
    try:
        return fail()
    except (AssertionError, OSError, Closed, ValueError) as problem:
        faults.append((what, number, f"{type(problem).__name__}: {problem}"))
        return True


def each(service, address, shared, log, pid, extent):
    """Every allocation of every request, on a fresh connection and on a kept one."""
    trial, faults = Trial(service, address, shared, log), []
    for name, kept in itertools.product(trial.requests, (False, True)):
        what = f"{service}, {name}, {'a kept' if kept else 'a fresh'} connection"

        def fail(number, name=name, kept=kept, what=what):
            fired = tried(what, number, faults, lambda: trial.once(
                name, trial.kept(name) if kept else None, number, number if extent == "one" else ALL))
            expect(True, is_running(pid), f"{what}, allocation {number}: the process lives")
            trial.expect_well(name)
            return fired

        print(f"{what}: {count_failures(fail)} allocations, {'each' if extent == 'one' else 'each and all behind it'} failed")
    expect_none(faults)


# ---- the first request of a process ----

def is_settled(pid):
    """Its threads are there and all of them wait."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return len(threads) >= 2 and all(stat_of(f"{pid}/task/{thread}")[0] == "S" for thread in threads)
    except OSError:
        return False


def first(service, program, library, folder):
    address, shared, log = (os.path.join(folder, name) for name in ("first", "first.control", "first.log"))
    control(shared)
    environment = {**os.environ, "LD_PRELOAD": library, "FAILING_MALLOC": shared}
    right, faults = {}, []

    def fail(name, data, number):
        with open(log, "ab") as lines, subprocess.Popen(
                ["spawn-fcgi", "-s", address, "-n", "--", program], env=environment, stderr=lines) as process:
            try:
                wait_until(BOUND, lambda: "serving with" in open(log, encoding="utf-8").read(), "a service")
                wait_until(BOUND, lambda: is_settled(process.pid), "its threads")
                return fail_started(name, data, number)
            finally:
                process.send_signal(signal.SIGTERM)
                expect(0, process.wait(BOUND), f"{name}, allocation {number}: its end")
                os.unlink(log)

    def fail_started(name, data, number):
        shared_control, said = Control(shared), Log(log)
        shared_control.arm(number, number, after_accept=1)
        try:
            with Peer(address) as peer:
                reply = outcome(peer, data)
            fired = shared_control["fired"] > 0
        finally:
            shared_control.disarm()
        if number == ALL:
            right[name] = same(reply)
        elif fired:
            judge(reply, right[name], said)
        return fired

    for name, data in requests_of(service).items():
        if name not in ("the usual small one", "other members, with numbers"):
            continue
        fail(name, data, ALL)

        def number_fails(number, name=name, data=data):
            return tried(f"{service}, {name}, a fresh process", number, faults, lambda: fail(name, data, number))

        print(f"{service}, {name}, a fresh process: {count_failures(number_fails)} allocations, each failed")
    expect_none(faults)


# ---- accept and epoll ----

ERRORS = {"EMFILE": 24, "ENFILE": 23, "ENOBUFS": 105, "ENOMEM": 12}


def accept(service, address, shared, log, pid):
    """accept has no descriptor or no memory for a second: some tries, few lines, no spinning, then served."""
    failing, said, cpu = Control(shared), Log(log), cpu_seconds(pid)
    data = requests_of(service)[f"GET {GETS[service][0]}"]
    for error, number in ERRORS.items():
        failing["accept_errno"], failing["accepts"] = number, ALL
        with Peer(address) as peer:
            peer.send(data)
            expect([], select.select([peer.socket], [], [], 1)[0], f"{error}: an answer without a descriptor")
            tries = ALL - failing["accepts"]
            failing["accepts"] = 0
            expect(True, outcome(peer, b"") is not None, f"{error}: an answer once accept succeeds")
        expect(True, 1 < tries < 50, f"{error}: accept is tried again now and then; it was {tries} times in 1 s")
    expect(True, cpu_seconds(pid) - cpu < 1, f"under 1 s of processor time in {len(ERRORS)} s")
    lines = said.problems()
    expect(True, 1 <= len(lines) <= 2 * len(ERRORS), f"some lines about it; they are {len(lines)}, the last {lines[-1:]}")
    expect_watched_again(failing, address, data, log)


def expect_watched_again(failing, address, data, log):
    """epoll takes no connection: it is closed, and the log knows; then the next one is served."""
    said = Log(log)
    failing["watches"] = 3
    for _ in range(3):
        with Peer(address) as peer:
            expect(None, outcome(peer, data), "an answer on a connection that cannot be watched")
    said.expect_line("connections that are closed")
    with Peer(address) as peer:
        expect(True, outcome(peer, data) is not None, "an answer once epoll has memory again")


def main():
    name, *arguments = sys.argv[1:]
    try:
        {"control": control, "each": each, "first": first, "accept": accept}[name](*arguments)
    except AssertionError as problem:
        return str(problem)
    except (OSError, Closed) as problem:
        return f"{name}: {type(problem).__name__}: {problem}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
