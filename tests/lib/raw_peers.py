"""Peers that speak FastCGI by the byte, valid and not, to a service's request socket and to its status socket.

    raw_peers.py NAME ADDRESS KIND [ARGUMENT...]      runs the function of that name; fails with what was expected and came

ADDRESS is a Unix socket's path or HOST:PORT. KIND says what listens there: `requests` and `tcp` are cgi-transform,
`status` its STATUS_SOCKET. Called from peers.bats; crowd.py has many of them at once.
"""

import array
import itertools
import os
import select
import signal
import socket
import struct
import sys
import time

import fcgi
from cgi import transformed
from fcgi import Closed, Peer, record
from scenarios import NAMES, cpu_seconds, expect, is_running, wait_until

BOUND = 20  # seconds in which any peer is answered or closed, whatever it does: 10 s for an answer, and a slow machine


# ---- what listens ----

class Requests:
    """cgi-transform: its answer, as the same program gives it by plain CGI, shows that all bytes arrived, in their order."""

    def __init__(self, address):
        self.address = address

    def parts(self, text, **params):
        return fcgi.parts("POST", "/reverse/message", fcgi.message(text), **params)

    def is_right(self, reply, text):
        return reply.status == 200 and reply.json == transformed(fcgi.message(text))

    def ask(self, text, **options):
        return fcgi.request("POST", "/reverse/message", fcgi.message(text), **options)

    def peer(self):
        return Peer(self.address)

    def expect_answer(self, peer, text, what):
        """The next answer on this connection is the one to `text`, whole."""
        try:
            reply = peer.reply()
        except (Closed, TimeoutError) as problem:
            raise AssertionError(f"{what}: no answer: {problem}") from None
        expect(True, self.is_right(reply, text), f"{what}: the right answer to {text!r:.40}; it is {reply.out!r:.300}")

    def expect_service(self, what):
        """A call on a new connection is answered, so the service lives."""
        with self.peer() as peer:
            peer.send(self.ask("still there"))
            self.expect_answer(peer, "still there", f"after {what}")


class Status(Requests):
    """The status socket: GET /_health, with a body that nobody asked for but that is valid."""

    def parts(self, text, **params):
        return fcgi.parts("GET", "/_health", text.encode(), **params)

    def is_right(self, reply, text):
        return reply.status == 200 and reply.json["status"] == "pass"

    def ask(self, text, **options):
        return fcgi.request("GET", "/_health", text.encode(), **options)


TARGETS = {"requests": Requests, "tcp": Requests, "status": Status}


# ---- bytes ----

def get_values(names, number=0, padding=None):
    return record(fcgi.GET_VALUES, fcgi.pairs((name, "") for name in names), number, padding=padding)


def assemble(parts, padding, number=1):
    """The records of a request, each with the padding that `padding` has under its name."""
    return b"".join(record(kind, content, number, padding=padding.get(name, b"")) for name, kind, content in parts)


def in_pieces(parts, size, padding):
    """The same request, its streams in records of so many bytes of content."""
    return b"".join(
        record(kind, content[at:at + size] if kind != fcgi.BEGIN else content, padding=bytes(padding))
        for _, kind, content in parts
        for at in (range(0, max(len(content), 1), size) if kind != fcgi.BEGIN else [0]))


def fills(target):
    """What may hide in 255 bytes of padding: no byte of it is ever to be read as a record."""
    return {
        "zeros": bytes(255),
        "0xff": b"\xff" * 255,
        "an FCGI_GET_VALUES": record(fcgi.GET_VALUES, fcgi.pairs([(NAMES[0], "")] * 15), 0)[:255].ljust(255, b"\0"),
        "a whole request": (target.ask("smuggled")[:255]).ljust(255, b"\0"),
        "an abort": record(fcgi.ABORT) * 31 + b"\1" * 7,
        "an end of the body": record(fcgi.STDIN) * 31 + b"\1" * 7,
    }


def send_and_take(target, peer, requests, what):
    """Send (text, bytes) one behind the other, and expect their answers, and none besides."""
    peer.send(b"".join(data for _, data in requests))
    for text, _ in requests:
        target.expect_answer(peer, text, f"{what}, {text}")
    peer.send(target.ask("nothing between"))
    target.expect_answer(peer, "nothing between", f"{what}: an answer too many")


# ---- valid FastCGI ----

def padding(target):
    """Each length of padding on each kind of record, and on all of them, with each thing that may hide in it."""
    names = [name for name, _, _ in target.parts("")]
    for (fill, data), padded in itertools.product(fills(target).items(), [[name] for name in names] + [names]):
        what = f"padding of {' and '.join(padded) if len(padded) == 1 else 'all records'} with {fill}"
        with target.peer() as peer:
            for first in range(0, 256, 64):
                requests = [(f"{length} bytes", assemble(target.parts(f"{length} bytes"),
                                                         dict.fromkeys(padded, data[:length])))
                            for length in range(first, first + 64)]
                send_and_take(target, peer, requests, what)


def sizes(target):
    """Streams in records of any size, the smallest with the most padding too."""
    for size, pad in itertools.product((*range(1, 20), 127, 128, 255, 256), (0, 1, 7, 8, 255)):
        with target.peer() as peer:
            text = f"records of {size} bytes, {pad} of padding"
            send_and_take(target, peer, [(text, in_pieces(target.parts(text), size, pad))] * 2, "sizes")


# ---- management records ----

def expect_values(peer, what, names=NAMES):
    """An FCGI_GET_VALUES_RESULT with a value for each of these names, in which every byte is accounted for."""
    kind, number, content, zeros = peer.whole_record()
    expect((fcgi.GET_VALUES_RESULT, 0), (kind, number), f"{what}: type and request of the answer")
    expect(bytes(len(zeros)), zeros, f"{what}: the reserved byte and the padding of the answer")
    values = fcgi.parsed_pairs(content)
    expect(sorted(set(names)), sorted(values), f"{what}: the names in the answer")
    expect(content, fcgi.pairs(values.items()), f"{what}: the answer's content, each name once")
    for name, value in values.items():
        expect(True, value.isdigit(), f"{what}: {name} is a number; it is {value!r}")


def short_name_in_four_bytes(name):
    """A name's pair with lengths of 4 bytes where 1 would do: valid too."""
    return struct.pack("!II", len(name) | 1 << 31, 1 << 31) + name.encode()


QUESTIONS = {
    "all names": (get_values(NAMES), NAMES),
    "no name": (get_values([]), []),
    "one name": (get_values(NAMES[1:2]), NAMES[1:2]),
    "one name, four times": (get_values(NAMES[:1] * 4), NAMES[:1]),
    "an unknown name beside": (get_values(["FCGI_OTHER", NAMES[2], ""]), NAMES[2:]),
    "beginnings and continuations of a name": (get_values([NAMES[0][:-1], NAMES[0] + "S"]), []),
    "lengths of 4 bytes": (record(fcgi.GET_VALUES, short_name_in_four_bytes(NAMES[0]), 0), NAMES[:1]),
    "padding of 255 bytes": (get_values(NAMES, padding=b"\x01" * 255), NAMES),
    "an unknown name of 100 bytes": (get_values(["X" * 100, NAMES[0]]), NAMES[:1]),
}


def values(target):
    """FCGI_GET_VALUES before, between and within requests, alone and 20 at once."""
    for what, (question, names) in QUESTIONS.items():
        with target.peer() as peer:
            for text in ("before", "between"):
                peer.send(question)
                expect_values(peer, f"{what}, {text} requests", names)
                peer.send(question * 20 + target.ask(text))
                for _ in range(20):
                    expect_values(peer, f"{what}, 20 at once", names)
                target.expect_answer(peer, text, f"{what}: a request behind the questions")
            for byte in question:
                peer.send(bytes([byte]))
            expect_values(peer, f"{what}, byte by byte", names)


def values_within(target):
    """FCGI_GET_VALUES between the records of a request: answered, and then the request is too."""
    text = "within"
    for place in range(1, len(target.parts(text))):
        parts = target.parts(text)
        with target.peer() as peer:
            peer.send(assemble(parts[:place], {}) + get_values(NAMES) + assemble(parts[place:], {}))
            expect_values(peer, f"before {parts[place][0]}")
            target.expect_answer(peer, text, f"FCGI_GET_VALUES before {parts[place][0]}")


def values_flood(target):
    """20,000 questions, all of them answered, and the request behind them too."""
    with target.peer() as peer:
        peer.send(get_values(NAMES))
        expect_values(peer, "the first of the flood")
        answer = ask_again(peer)
        for _ in range(200):
            peer.send(get_values(NAMES) * 100)
            expect(answer * 100, peer.exactly(100 * len(answer)), "100 answers")
        peer.send(target.ask("behind the flood"))
        target.expect_answer(peer, "behind the flood", "after 20,000 questions")


def ask_again(peer):
    """The bytes that a question is answered with."""
    peer.send(get_values(NAMES))
    head = peer.exactly(8)
    return head + peer.exactly(struct.unpack("!4xHBx", head)[0] + head[6])


def unknown_types(target):
    """A management record of an unknown type is answered with FCGI_UNKNOWN_TYPE (section 4.2), and forgotten."""
    kinds = [0, fcgi.UNKNOWN_TYPE + 1, 42, 255]
    for kind, content in itertools.product(kinds, (b"", b"x" * 8, b"x" * 100, target.ask("smuggled"), b"\1" * 65535)):
        what = f"type {kind} with {len(content)} bytes"
        with target.peer() as peer:
            for text in ("first", "second"):
                peer.send(record(kind, content, 0, padding=b"\1\1\0\1\0\x08\0\0") + target.ask(text))
                number, reserved = peer.record(), bytes([kind]) + bytes(7)
                expect((fcgi.UNKNOWN_TYPE, 0, reserved), number, what)
                target.expect_answer(peer, text, f"a request behind {what}")


# ---- what is refused ----

def lying_lengths():
    """Contents of FCGI_GET_VALUES whose lengths lead out of it, most of them near 2^31."""
    lengths = [struct.pack("!I", length) for length in
               (0x80000100, 0x8000ffff, 0xbfffffff, 0xc0000000, 0xfffffff0, 0xfffffffe, 0xffffffff)]
    short = [b"\0", b"\x04", b"\x7f"]
    yield from (bytes([byte]) for byte in (1, 0x7f, 0x80, 0xff))
    for name, value in itertools.product(lengths + short, lengths):
        yield name + value
        yield name + value + b"FCGI"
        yield fcgi.pairs([(NAMES[0], "")]) + name + value + b"FCGI"
        yield value + name + b"FCGI_MAX_CONNS" * 9


def expect_end(target, data, what):
    """The peer that sends this is closed, in time, whatever it got before; the service lives on."""
    with target.peer() as peer:
        try:
            peer.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed while there was more to send
        expect(True, peer.is_closed(BOUND), f"{what}: closed within {BOUND} s")


def lengths(target):
    for content in lying_lengths():
        what = f"FCGI_GET_VALUES with the content {content[:40].hex()}"
        expect_end(target, record(fcgi.GET_VALUES, content, 0) + target.ask("x"), what)
        expect_end(target, assemble(target.parts("x")[:2], {}) + record(fcgi.GET_VALUES, content, 0), f"{what}, within")
    target.expect_service("lengths that lie")


SEEDS = os.path.join(os.path.dirname(__file__), "..", "fuzz", "seeds", "record")


def seeds(target):
    """The inputs that once ended the process. Those that are valid are answered."""
    for name in sorted(os.listdir(SEEDS)):
        with open(os.path.join(SEEDS, name), "rb") as file:
            data = file.read()
        if name.startswith("hidden-in-padding"):
            with target.peer() as peer:
                peer.send(data)
                expect(200, peer.reply().status, name)
        else:
            expect_end_or_answer(target, data, name)
        target.expect_service(name)


def expect_end_or_answer(target, data, what):
    """All of this is sent, then our side ends. Bounded: the peer sees the end, after an answer or without."""
    with target.peer() as peer:
        try:
            peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed already
        expect(True, peer.is_closed(BOUND), f"{what}: closed within {BOUND} s")


# ---- records that do not belong there ----

def strangers(target):
    """What comes between two records of a request, by name."""
    text = "x"
    parts = target.parts(text)
    between = {
        "an abort": record(fcgi.ABORT),
        "an abort with content": record(fcgi.ABORT, b"x" * 9),
        "an abort of another request": record(fcgi.ABORT, number=2),
        "a second request": assemble(parts, {}, number=2),
        "the begin of a second request": fcgi.begin(number=2),
        "the same begin again": fcgi.begin(),
        "an empty record of another request": record(fcgi.PARAMS, number=2),
        "an end of another request's body": record(fcgi.STDIN, number=9),
        "a record of an unknown type": record(42, b"x" * 9),
        "FCGI_DATA": record(fcgi.DATA, b"x" * 9),
        "FCGI_STDOUT": record(fcgi.STDOUT, b"x" * 9),
        "FCGI_END_REQUEST": record(fcgi.END, bytes(8)),
        "FCGI_GET_VALUES_RESULT": record(fcgi.GET_VALUES_RESULT, bytes(8), 0),
        "FCGI_UNKNOWN_TYPE": record(fcgi.UNKNOWN_TYPE, bytes(8), 0),
        "more params": record(fcgi.PARAMS, b"\0\0"),
        "version 0": record(fcgi.STDIN, version=0),
    }
    for (name, stranger), place in itertools.product(between.items(), range(len(parts) + 1)):
        yield f"{name} in place {place} of a request", assemble(parts[:place], {}) + stranger + assemble(parts[place:], {})


def misplaced(target):
    """Each of them, in each place: the request is answered, ended or its connection closed; nobody else is hurt."""
    with target.peer() as neighbour:
        for what, data in strangers(target):
            with target.peer() as peer:
                try:
                    peer.send(data)
                    peer.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # closed already
                whole, rest = fcgi.answers(everything(peer, what))
                expect(b"", rest, f"{what}: what is left behind the last whole answer")
                expect(True, len(whole) <= 3, f"{what}: at most an answer for each request; they are {whole}")
            neighbour.send(target.ask(what))
            target.expect_answer(neighbour, what, f"the neighbour of {what}")


def everything(peer, what):
    """All bytes up to the end of the connection, which comes in time."""
    data, deadline = b"", time.monotonic() + BOUND
    while piece := peer.receive():
        data += piece
        expect(True, time.monotonic() < deadline, f"{what}: closed within {BOUND} s")
    return data


# ---- bytes after which a read stops short ----

class Stopped:
    """The service does not run inside; so all that is sent there has come when it goes on."""

    def __init__(self, pid):
        self.pid = int(pid)

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(5, lambda: is_stopped(self.pid), "a stopped process")

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "Tt"


def cuts(data):
    """Places of a request: each byte of its first two headers, then some of each record, both ends."""
    return sorted({0, *range(1, 24), *range(24, len(data), 5), len(data) - 1, len(data)})


def expect_both(target, peers, text, what):
    """Each of the peers, by place, gets two answers."""
    deadline = time.monotonic() + BOUND
    for place, peer in peers.items():
        for number in ("first", "second"):
            peer.socket.settimeout(max(0.1, deadline - time.monotonic()))
            target.expect_answer(peer, text, f"{what} before byte {place}, the {number} request")
        peer.close()


def descriptors(target, pid):
    """A descriptor passed with a byte of a request (unix(7), SCM_RIGHTS): recv stops behind that byte."""
    text, had = "passed", count_descriptors(pid)
    whole = target.ask(text)
    peers = {place: target.peer() for place in cuts(whole)}
    with Stopped(pid), open("/dev/null", "rb") as passed:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [passed.fileno()] * 3))]
        for place, peer in peers.items():
            peer.send(whole[:place]) if place else None
            peer.socket.sendmsg([(whole + whole)[place:place + 1]], rights)
            peer.send((whole + whole)[place + 1:])
    expect_both(target, peers, text, "descriptors")
    wait_until(BOUND, lambda: count_descriptors(pid) <= had, "the descriptors to be closed")


def count_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def urgent(target, pid):
    """
    Urgent data before, within and behind requests. On TCP that byte is beside the stream, so all is answered. What
    Linux makes of it on a Unix socket has changed more than once: there each is answered, or closed in time.
    """
    text = "urgent"
    whole = target.ask(text)
    peers = {place: target.peer() for place in cuts(whole)}
    with Stopped(pid):
        for place, peer in peers.items():
            peer.send(whole[:place]) if place else None
            peer.socket.send(b"!", socket.MSG_OOB)
            peer.send((whole + whole)[place:])
    if ":" in target.address:
        return expect_both(target, peers, text, "urgent data")
    return expect_both_or_close(peers, "urgent data")


def expect_both_or_close(peers, what):
    """Each of the peers, by place, gets two answers, or an end."""
    deadline = time.monotonic() + BOUND
    for place, peer in peers.items():
        try:
            for _ in range(2):
                peer.socket.settimeout(max(0.1, deadline - time.monotonic()))
                peer.reply()
        except Closed:
            pass
        except TimeoutError:
            raise AssertionError(f"{what} before byte {place}: neither answered nor closed in {BOUND} s") from None
        peer.close()


def urgent_alone(target, pid):
    """Half a request with urgent data in it, and then nothing: closed in time, and it costs no processor time."""
    peers = [target.peer() for _ in range(20)]
    with Stopped(pid):
        for peer in peers:
            for part in (target.ask("x")[:20], target.ask("x")[20:40]):
                peer.socket.send(b"!", socket.MSG_OOB)
                peer.send(part)
    begun = cpu_seconds(pid)
    deadline = time.monotonic() + BOUND
    for peer in peers:
        expect(True, peer.is_closed(max(0.1, deadline - time.monotonic())), f"closed within {BOUND} s")
    expect(True, cpu_seconds(pid) - begun < 1, "under 1 s of processor time for 20 peers with urgent data")


# ---- out of descriptors ----

def warnings(log):
    with open(log, encoding="utf-8") as lines:
        return [line for line in lines if '"level":"warning"' in line or '"level":"error"' in line]


def no_descriptors(target, pid, log):
    """More peers than the process may have descriptors: said once, no spinning, served when some have left."""
    peers = []
    for _ in range(60):
        peers.append(target.peer())
        peers[-1].send(target.ask("x")[:4])  # an idle one might be closed for the next
    wait_until(BOUND, lambda: warnings(log), "a line about it in the log")
    waiting, begun, had = target.peer(), cpu_seconds(pid), len(warnings(log))
    waiting.send(target.ask("patience"))
    expect([], select.select([waiting.socket], [], [], 2)[0], "an answer while no descriptor is free")
    expect(True, cpu_seconds(pid) - begun < 0.5, "under 0.5 s of processor time in 2 s of waiting")
    expect(True, len(warnings(log)) - had < 5, f"few lines about it in 2 s; the last: {warnings(log)[-1]}")
    for peer in peers:
        peer.close()
    target.expect_answer(waiting, "patience", "once descriptors are free")
    target.expect_service("too many peers")


# ---- silence ----

def silent_while_polled(target):
    """Peers that begin and go silent are closed in time, also while another one asks every half second."""
    silent = {peer.socket: part for part in (1, 4, 8, 16, 30) for peer in begun(target, part)}
    deadline = time.monotonic() + BOUND
    with target.peer() as poller:
        while silent:
            late = sorted(set(silent.values()))
            expect(True, time.monotonic() < deadline, f"closed within {BOUND} s, those that sent {late} bytes")
            for gone in select.select(list(silent), [], [], 0.5)[0]:
                del silent[gone]
            poller.send(target.ask("poll"))
            target.expect_answer(poller, "poll", "a poll meanwhile")


def begun_and_asking(target):
    """Peers that begin a request and then only ask about the application are answered, and closed in time."""
    asking = assemble(target.parts("x")[:2], {})
    peers, deadline = [target.peer() for _ in range(5)], time.monotonic() + BOUND
    for peer in peers:
        peer.send(asking)
    while peers:
        expect(True, time.monotonic() < deadline, f"closed within {BOUND} s, those that ask on")
        select.select([peer.socket for peer in peers], [], [], 0.5)
        for peer in peers[:]:
            try:
                peer.send(get_values(NAMES[:1]))
                expect_values(peer, "within a request that does not go on", NAMES[:1])
            except (OSError, Closed):
                peers.remove(peer)


def idle_and_full(target):
    """More peers than the status socket takes, each idle once it was served: another one is served all the same."""
    idle = []
    for _ in range(100):
        idle.append(target.peer())
        idle[-1].send(target.ask("once"))
        target.expect_answer(idle[-1], "once", f"peer {len(idle)} that stays")
    with target.peer() as poller:
        poller.socket.settimeout(BOUND)
        poller.send(target.ask("poll"))
        target.expect_answer(poller, "poll", f"a poll beside {len(idle)} idle peers")


HELD = []  # peers that a scenario leaves connected


def begun(target, sent):
    peers = [target.peer() for _ in range(5)]
    for peer in peers:
        peer.send(target.ask("x")[:sent])
    HELD.extend(peers)
    return peers


def main():
    name, address, kind, *arguments = sys.argv[1:]
    try:
        globals()[name](TARGETS[kind](address), *arguments)
    except AssertionError as problem:
        return str(problem)
    except (OSError, Closed) as problem:
        return f"{name}: {type(problem).__name__}: {problem}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
