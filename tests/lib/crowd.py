"""Many bad peers at once, on a service's request socket and its status socket, and a good one among them.

    crowd.py all REQUESTS STATUS PID [NAME...]   every kind of peer there is below, several of each
    crowd.py halves REQUESTS STATUS PID COUNT    so many peers with half of 1 MiB each
    crowd.py left REQUESTS STATUS PID COUNT SIZE    so many with half of a request, this half SIZE bytes; then they leave
    crowd.py answers REQUESTS STATUS PID COUNT   so many peers that take nothing of an answer of 1 MiB

REQUESTS is the address of cgi-transform, STATUS its status socket's path. While they are there, good calls are
answered on both; each peer is answered or closed in time; memory stays bounded; then no processor time is used, no
worker is busy. Called from peers.bats. What a limit on memory cannot be held to in a sanitizer's build is left out.
"""

import os
import resource
import select
import socket
import struct
import sys
import time

import fcgi
from fcgi import Closed, Peer, record
from raw_peers import BOUND, Requests, Status, assemble, count_descriptors, get_values, lying_lengths
from scenarios import NAMES, cpu_seconds, expect, wait_until

SANITIZED = bool(os.environ.get("SANITIZE"))
EACH = 4 if SANITIZED else 10  # peers of a kind on the request socket; on the status socket, which takes fewer, 1
VISIT = 4 * BOUND if SANITIZED else 2 * BOUND  # seconds in which all of them come to their end
ON_STATUS = 32        # of these at once
MIB = 1 << 20
A_MIB = "y" * (MIB - len(fcgi.message("")))  # a message whose body has 1 MiB, which is all that it may have
MEMORY = 128 * MIB    # what the shipped containers and units allow a service
FEW = 8 * MIB         # what a process may keep of large requests
SENT_AT_ONCE = 1 << 18  # bytes: in a crowd it may be long before it is a peer's turn again
EVER = 1 << 40        # times
POLLRDHUP = 0x2000


# ---- one of the crowd ----

class Guest:
    """
    A peer: the bytes that it sends (so many times), whether it reads, and how its visit must end: by a "close", by
    the "answer" to "x" as the last of its answers, by a close or a first answer ("either"), or not at all ("stay").
    """

    def __init__(self, kind, target, data, times=1, ends="close", reads=True, step=1 << 16, pause=0.0, parting=None):
        self.kind, self.target, self.ends, self.reads = kind, target, ends, reads
        self.whole, self.times, self.data = memoryview(data), times - 1, memoryview(data)
        self.step, self.pause, self.parting = step, pause, parting
        self.peer, self.taken, self.next, self.closed = None, bytearray(), 0.0, False

    def come(self):
        self.peer = self.target.peer()
        self.peer.socket.setblocking(False)

    def fileno(self):
        return self.peer.socket.fileno()

    def events(self, now):
        """What to wait for: room for a byte that is due, something to read, the other side's end."""
        sends = len(self.data) > 0 and now >= self.next
        return (select.POLLOUT if sends else 0) | (select.POLLIN if self.reads else 0) | POLLRDHUP

    def serve(self, events, now):
        try:
            if events & select.POLLIN and self.reads:
                self.take()
            if events & (POLLRDHUP | select.POLLHUP | select.POLLERR) and not events & select.POLLIN:
                self.closed = True
            budget = SENT_AT_ONCE
            while events & select.POLLOUT and self.data and budget > 0 and now >= self.next and not self.closed:
                budget -= min(self.step, len(self.data))
                self.give(now)
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def take(self):
        piece = self.peer.socket.recv(1 << 20)
        self.taken += piece
        self.closed = self.closed or not piece

    def give(self, now):
        self.data = self.data[self.peer.socket.send(self.data[:self.step]):]
        self.next = now + self.pause if self.pause else 0.0
        if not self.data and self.times > 0:
            self.data, self.times = self.whole, self.times - 1
        if not self.data and self.parting:
            self.parting(self)

    def is_done(self):
        if self.closed or self.ends == "close":
            return self.closed
        return (self.ends == "either" or not self.data) and self.answer() is not None

    def answer(self):
        """The last answer among what was taken, or None while there is none, or one is not whole."""
        whole, rest = fcgi.answers(self.taken)
        return whole[-1] if whole and not rest else None

    def check(self):
        """That it ended as it must."""
        if self.ends == "answer":
            reply = self.answer()
            expect(True, reply is not None and self.target.is_right(reply, "x"),
                   f"{self}: answered right; it got {bytes(self.taken[-300:])!r}")
        if self.closed or self.answer():
            self.peer.close()

    def __str__(self):
        return f"{self.kind} on {self.target.address}"


def leave(guest):
    guest.peer.close()
    guest.closed = True


def reset(guest):
    """Leave with a reset: on TCP by SO_LINGER, on a Unix socket an end like any other."""
    guest.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    leave(guest)


def end_side(guest):
    guest.peer.socket.shutdown(socket.SHUT_WR)


# ---- the kinds ----

def fallen_silent(target):
    """Peers that stop where they may not."""
    whole = target.ask("x")
    yield from (Guest(f"{sent} of {len(whole)} bytes", target, whole[:sent]) for sent in (1, 4, 8, 15, 16, 20, 60))
    yield Guest("all but the last byte", target, whole[:-1])
    yield Guest("a byte now and then", target, target.ask("y" * 5000)[:2000], step=1, pause=0.2)
    yield Guest("nothing", target, b"", ends="stay")


def slow_but_good(target):
    yield Guest("byte by byte", target, target.ask("x"), ends="answer", step=1)
    yield Guest("an end of its side behind a request", target, target.ask("x"), ends="answer", parting=end_side)
    yield Guest("900 params", target, target.ask("x", **{f"HTTP_X_{i}": "y" for i in range(900)}), ends="answer")
    yield Guest("500 requests at once", target, target.ask("x") * 500, ends="answer")


def too_much(target):
    many = fcgi.pairs((f"HTTP_X_{i}", "y") for i in range(10000))
    yield Guest("10,000 params", target, fcgi.begin() + fcgi.stream(fcgi.PARAMS, many))
    yield Guest("params for ever", target, fcgi.begin() + record(fcgi.PARAMS, b"\x04\x04nameabcd" * 6000) * 5)
    begun = assemble(target.parts("x", CONTENT_LENGTH="1000000000")[:3], {})
    for what, size in (("a body for ever", 65528), ("a body by single bytes for ever", 1)):
        for reads in (True, False):
            yield EndlessBody(what if reads else f"{what}, deaf", target, begun, record(fcgi.STDIN, b"y" * size), reads)


def not_the_protocol(target):
    parts = target.parts("x")
    yield Guest("HTTP", target, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    yield Guest("TLS", target, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
    yield Guest("all bytes", target, bytes(range(255, -1, -1)) * 100)
    yield Guest("an authorizer's role", target, fcgi.begin(role=2) + assemble(parts[1:], {}), parting=end_side)
    yield Guest("an end of its side within a request", target, target.ask("x")[:40], parting=end_side)
    yield Guest("a second id", target, fcgi.begin() + target.ask("x", number=2), parting=end_side)
    yield Guest("an unknown type within", target, fcgi.begin() + record(99, b"y" * 9) + assemble(parts[1:], {}),
                parting=end_side)
    for place in (0, 1, 2, 3, 5):
        aborted = assemble(parts[:place], {}) + record(fcgi.ABORT)
        yield Guest(f"an abort in place {place}", target, aborted, parting=end_side)


def management(target):
    flood = get_values(NAMES) * 2000
    yield Guest("2,000 questions", target, flood + target.ask("x"), ends="answer")
    yield Guest("questions for ever, deaf", target, get_values(NAMES) * 1000, times=EVER, reads=False)
    yield Guest("unknown types for ever, deaf", target, record(77, b"", 0) * 1000, times=EVER, reads=False)
    yield Guest("unknown types", target, record(77, b"y" * 100, 0) * 100 + target.ask("x"), ends="answer")
    yield from (Guest(f"lengths {content[:8].hex()}", target, record(fcgi.GET_VALUES, content, 0))
                for content in list(lying_lengths())[::60])


def deaf(target):
    """Peers that take nothing: the answers fill the socket, and are given up."""
    yield Guest("requests for ever, deaf", target, target.ask("x") * 100, times=EVER, reads=False)
    yield Guest("large requests, deaf", target, target.ask("y" * 500000), times=EVER, reads=False)


def gone(target):
    whole = target.ask("x")
    for what, part in (("a begin", whole[:16]), ("half", whole[:60]), ("a request", whole), ("many", whole * 100)):
        yield Guest(f"gone behind {what}", target, part, parting=leave)
        yield Guest(f"gone with a reset behind {what}", target, part, parting=reset)


class EndlessBody(Guest):
    """The beginning of a request, then one record again and again."""

    def __init__(self, kind, target, begun, again, reads):
        super().__init__(kind, target, again * (65536 // len(again)), times=EVER, reads=reads)
        self.data = memoryview(begun)


class Urgent(Guest):
    """Its bytes with one of urgent data behind each step."""

    def give(self, now):
        super().give(now)
        if not self.closed:
            self.peer.socket.send(b"!", socket.MSG_OOB)


class Passing(Guest):
    """A descriptor with each step, where the socket can pass one."""

    def give(self, now):
        if self.peer.socket.family == socket.AF_UNIX:
            sent = socket.send_fds(self.peer.socket, [self.data[:self.step]], [0])
            self.data = self.data[sent:]
        else:
            super().give(now)


def beside_the_stream(target):
    yield Urgent("urgent data", target, target.ask("x") * 3, step=50, parting=end_side)
    yield Urgent("urgent data, then silence", target, target.ask("x")[:-1], step=50)
    yield Passing("descriptors", target, target.ask("x") * 3, ends="answer", step=50)
    yield Passing("descriptors, then silence", target, target.ask("x")[:-1], step=50)


KINDS = (fallen_silent, slow_but_good, too_much, not_the_protocol, management, deaf, gone, beside_the_stream)


# ---- the service meanwhile ----

def memory_of(pid, name):
    """VmRSS or VmHWM of a process, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))


def expect_bounded(pid):
    used = memory_of(pid, "VmHWM")
    expect(True, SANITIZED or used < MEMORY, f"under {MEMORY >> 20} MiB of memory; it was {used >> 20}")


class House:
    """The service: its sockets, its process, and the good peer that asks it again and again."""

    def __init__(self, requests, status, pid):
        self.requests, self.status, self.pid = Requests(requests), Status(status), int(pid)
        self.calls, self.last = 0, 0.0

    def meanwhile(self):
        """Good calls on both sockets, four times a second: each on a connection of its own, so it is accepted too."""
        if time.monotonic() - self.last < 0.25:
            return
        for target in (self.requests, self.status):
            target.expect_service(f"{self.calls} good calls in a crowd")
            self.calls += 1
        self.last = time.monotonic()

    def told(self):
        with Peer(self.status.address) as peer:
            return peer.call("GET", "/_status").json

    def expect_quiet(self):
        """No worker is held, no processor time is used by what is still connected."""
        wait_until(BOUND, lambda: self.told()["busy"] == 0, "all workers to be free")
        begun = cpu_seconds(self.pid)
        expect([], select.select([], [], [], 2)[0], "nothing")
        used = cpu_seconds(self.pid) - begun
        expect(True, used < 0.3, f"nothing to do for 2 s takes under 0.3 s of processor time; it took {used}")


def visit(guests, house, is_done=Guest.is_done):
    """Let them all do what they do, until each has come to its end. Who is to stay comes, and is left alone."""
    deadline, outside, inside = time.monotonic() + VISIT, list(guests), {}
    while outside or inside:
        outside = let_in(outside, inside)
        now, poll = time.monotonic(), select.poll()
        expect(True, now < deadline, f"answered or closed within {VISIT} s: "
               + ", ".join(sorted({str(guest) for guest in inside.values()})))
        for fd, guest in inside.items():
            poll.register(fd, guest.events(now))
        for fd, events in poll.poll(20):
            inside[fd].serve(events, now)
            if is_done(inside[fd]):
                inside.pop(fd).check()
        house.meanwhile()


def let_in(outside, inside):
    """All of them on the request socket; on the status socket so many that a good one finds room. Returns the rest."""
    rest, on_status = [], sum(isinstance(guest.target, Status) for guest in inside.values())
    for guest in outside:
        if isinstance(guest.target, Status) and on_status >= ON_STATUS:
            rest.append(guest)
            continue
        guest.come()
        if guest.ends != "stay":
            inside[guest.fileno()] = guest
            on_status += isinstance(guest.target, Status)
    return rest


def more_descriptors():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


# ---- scenarios ----

def all_kinds(house, *names):
    """Those of the functions named, or of all: to find who it is that a service does not bear."""
    kinds = [kind for kind in KINDS if not names or kind.__name__ in names]
    had = count_descriptors(house.pid)
    guests = [guest for target, count in ((house.requests, EACH), (house.status, 1)) for kind in kinds
              for _ in range(count) for guest in kind(target)]
    visit(guests, house)
    expect_bounded(house.pid)
    stayed = [guest for guest in guests if guest.ends == "stay"]
    house.expect_quiet()
    for guest in stayed:  # late, but welcome
        guest.peer.socket.settimeout(BOUND)
        guest.peer.send(guest.target.ask("x"))
        guest.target.expect_answer(guest.peer, "x", str(guest))
        guest.peer.close()
    wait_until(BOUND, lambda: count_descriptors(house.pid) <= had, f"no more than the {had} descriptors from before")


def parts_of(house, count, message, size):
    part = house.requests.ask(message)[:size]
    return [Guest(f"{size} bytes of a request", house.requests, part, ends="either") for _ in range(int(count))]


def expect_shrunk(house, before):
    """What large requests took goes back to the system, once they are gone."""
    def shrunk():
        return memory_of(house.pid, "VmRSS") < before + FEW

    if not SANITIZED:
        wait_until(BOUND, shrunk, f"memory below {before + FEW} bytes; it is {memory_of(house.pid, 'VmRSS')}")


def halves(house, count):
    """More halves than the process may hold: some get a 503, and it grows no further than it may."""
    before, guests = memory_of(house.pid, "VmRSS"), parts_of(house, count, A_MIB, MIB // 2)
    visit(guests, house)
    replies = [reply for guest in guests if (reply := guest.answer())]
    expect({(503, True)}, {(reply.status, "retry-after" in reply.head) for reply in replies}, "answers to halves")
    expect_bounded(house.pid)
    expect_shrunk(house, before)
    with house.requests.peer() as peer:
        peer.send(house.requests.ask(A_MIB))
        house.requests.expect_answer(peer, A_MIB, "a good call of 1 MiB afterwards")
    house.expect_quiet()


def answers(house, count):
    """Large requests whose answers nobody takes: they are bounded like requests, and given up."""
    before, whole = memory_of(house.pid, "VmRSS"), house.requests.ask(A_MIB, keep=False)
    visit([Guest("1 MiB, deaf", house.requests, whole, reads=False) for _ in range(int(count))], house)
    expect_bounded(house.pid)
    expect_shrunk(house, before)
    house.expect_quiet()


def left(house, count, size):
    """So many parts of this size of a request twice as large are held, and then their peers leave."""
    count, size = int(count), int(size)
    before, guests = memory_of(house.pid, "VmRSS"), parts_of(house, count, "y" * (2 * size - 20), size)
    held = before + count * size // 2
    visit(guests, house, is_done=lambda guest: guest.closed or not guest.data)
    wait_until(BOUND, lambda: memory_of(house.pid, "VmRSS") > held, f"more than {held} bytes of memory, all parts read")
    for guest in guests:
        guest.peer.close()
    expect_shrunk(house, before)
    house.expect_quiet()


def main():
    name, requests, status, pid, *arguments = sys.argv[1:]
    more_descriptors()
    try:
        SCENARIOS[name](House(requests, status, pid), *arguments)
    except AssertionError as problem:
        return str(problem)
    except (OSError, Closed) as problem:
        return f"{name}: {type(problem).__name__}: {problem}"
    return 0


SCENARIOS = {"all": all_kinds, "halves": halves, "answers": answers, "left": left}


if __name__ == "__main__":
    sys.exit(main())
