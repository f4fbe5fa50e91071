"""What peers of a FastCGI service do to it, good ones and bad ones; called from responder.bats.

    scenarios.py NAME SOCKET [ARGUMENT...]      runs the function of that name; fails with what was expected and came

A service under test is cgi-transform: it reads the message and answers it, so it shows whether all bytes
arrived. What is right is what it answers as a plain CGI program (cgi.py).
"""

import json
import os
import select
import signal
import sys
import time

import fcgi
from cgi import transformed
from fcgi import Closed, Peer, call, message, request

SOON = 1.0           # seconds in which a call is answered whatever others do
REQUEST_BOUND = 10   # a request begun and not ended: 5 s, a sweep of 1 s, and a slow machine
ANSWER_BOUND = 16    # an answer not taken: 10 s, and the same
PATH = "/reverse/message"
MIB = 1 << 20


def expect(expected, actual, what):
    if expected != actual:
        raise AssertionError(f"{what}\n  expected: {expected!r:.200}\n  actual:   {actual!r:.200}")


def expect_right(text, reply):
    expect((200, transformed(message(text))), (reply.status, reply.json), f"the answer to {text!r:.40}")


def expect_answer(peer, text, **options):
    """A call on this connection comes back right."""
    expect_right(text, peer.call("POST", PATH, message(text), **options))


def expect_prompt(path):
    """A call on a new connection is answered at once."""
    transformed(message("prompt"))  # takes its time once
    begun = time.monotonic()
    with Peer(path) as peer:
        peer.socket.settimeout(5)
        try:
            expect_answer(peer, "prompt")
        except TimeoutError:
            raise AssertionError("a call got no answer in 5 s") from None
    took = time.monotonic() - begun
    expect(True, took < SOON, f"answered within {SOON} s; it took {took:.2f} s")


def expect_closed(peer, within, what):
    expect(True, peer.is_closed(within), f"{what}: closed within {within} s")


def ask(text, **options):
    return request("POST", PATH, message(text), **options)


def wait_until(seconds, condition, what):
    deadline = time.monotonic() + seconds
    while not condition():
        expect(True, time.monotonic() < deadline, f"gave up after {seconds} s waiting for: {what}")
        time.sleep(0.02)


# ---- what /proc says of a process ----

def threads_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def stat_of(pid):
    """The fields of proc(5) from the third (state) on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()


def cpu_seconds(pid):
    user, system = stat_of(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def is_running(pid):
    try:
        return stat_of(pid)[0] != "Z"
    except OSError:
        return False


def children_of(pid):
    children = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = stat_of(other)[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == pid and state != "Z":
            children.append(int(other))
    return children


# ---- peers that do not go on ----

def parts_of_a_request():
    """Where a peer may fall silent: name, and the bytes that come before."""
    whole = ask("never to be seen")
    params = whole.index(b"SCRIPT_NAME")
    body = whole.index(b"never to be")
    return {"half a record": whole[:4], "a begin alone": whole[:16], "half of the params": whole[:params],
            "half a body": whole[:body], "all but the last byte": whole[:-1]}


def silent_peers(path, threads):
    """Ten times as many as there are threads, of each kind; the last kind sends a byte now and then."""
    count, begun = 10 * int(threads), time.monotonic()
    silent, dripping = {}, {}
    for name, part in parts_of_a_request().items():
        silent |= {peer.socket: (peer, name) for peer in begin_requests(path, part, count)}
    for peer in begin_requests(path, ask("x" * 5000)[:100], count):
        dripping[peer.socket] = (peer, "a byte now and then")
    expect_prompt(path)
    waiting = silent | dripping
    while waiting:
        late = sorted({name for _, name in waiting.values()})
        expect(True, time.monotonic() - begun < REQUEST_BOUND, f"closed within {REQUEST_BOUND} s, those with {late}")
        for gone in select.select(list(waiting), [], [], 0.1)[0]:
            expect(b"", waiting.pop(gone)[0].receive(), "what came before the end")
        for peer, _ in dripping.values():
            drip(peer)
    expect_prompt(path)


def begin_requests(path, part, count):
    peers = [Peer(path) for _ in range(count)]
    for peer in peers:
        peer.send(part)
    return peers


def drip(peer):
    try:
        peer.send(b"x")
    except (BrokenPipeError, ConnectionResetError):
        pass  # closed; the next look at it shows the end


def mute_peers(path, threads):
    """Connections on which nothing is ever sent."""
    mute = [Peer(path) for _ in range(10 * int(threads))]
    expect_prompt(path)
    for peer in mute:
        expect_answer(peer, "late, but welcome")


def idle_connections(path, pid, threads):
    before = threads_of(pid)
    # A sanitizer may have a thread of its own.
    expect(True, before - int(threads) in (1, 2), f"{before} threads are {threads} workers and the dispatcher")
    kept = [Peer(path) for _ in range(200)]
    for number, peer in enumerate(kept):
        expect_answer(peer, f"first {number}")
    expect_prompt(path)
    for number, peer in enumerate(kept):
        expect_answer(peer, f"second {number}")
    expect(before, threads_of(pid), "threads with 200 connections")


def no_descriptors(path, pid, log):
    """100 connections to a process that may have 40 descriptors."""
    def told():
        with open(log, encoding="utf-8") as lines:
            return "cannot accept" in lines.read()

    peers = [Peer(path) for _ in range(100)]
    wait_until(5, told, "a line about it in the log")
    expect_answer(peers[0], "one of the lucky")
    waiting, cpu = peers.pop(), cpu_seconds(pid)
    waiting.send(ask("patience"))
    answered, _, _ = select.select([waiting.socket], [], [], 2)
    expect([], answered, "an answer while no descriptor is free")
    expect(True, cpu_seconds(pid) - cpu < 0.5, "under 0.5 s of processor time in 2 s of waiting")
    for peer in peers[:80]:
        peer.close()
    expect_right("patience", waiting.reply())
    expect_prompt(path)


# ---- drain ----

def drain_idle(path, pid, name):
    kept = [Peer(path) for _ in range(50)]
    for peer in kept[:25]:  # half of them have served a request, half have not
        expect_answer(peer, "before")
    expect_prompt(path)     # so the last of them has been accepted too
    os.kill(int(pid), getattr(signal, name))
    for peer in kept:
        expect_closed(peer, 5, f"an idle connection after {name}")


def begin_drain(path, pid):
    """Returns when the service has begun to drain, which an idle connection shows."""
    with Peer(path) as idle:
        expect_answer(idle, "before")
        os.kill(int(pid), signal.SIGTERM)
        expect_closed(idle, 5, "an idle connection")


def drain_half_sent(path, pid):
    halves = []
    for name, part in parts_of_a_request().items():
        peer = Peer(path)
        peer.send(part)
        halves.append((name, peer, len(part)))
    begin_drain(path, pid)
    for name, peer, sent in halves:
        for byte in ask("never to be seen")[sent:]:
            peer.send(bytes([byte]))
        try:
            expect_right("never to be seen", peer.reply())
        except Closed as problem:
            raise AssertionError(f"a request with {name} sent before SIGTERM got no answer: {problem}") from None
        expect_closed(peer, 5, "the connection after its last answer")


def drain_never_ended(path, pid):
    peer = Peer(path)
    peer.send(ask("x")[:20])
    begin_drain(path, pid)
    expect_closed(peer, 20, "a request that never ends")


def drain_large_answer(path, pid):
    """An answer that was under way is given to its end."""
    text = "large " * (MIB // 8)
    peer = Peer(path)
    peer.send(ask(text))
    expect([peer.socket], select.select([peer.socket], [], [], 5)[0], "the answer's beginning")
    begin_drain(path, pid)
    expect_right(text, peer.reply())
    expect_closed(peer, 5, "the connection after its last answer")


# ---- the protocol ----

def pipelined(path):
    with Peer(path) as peer:
        peer.send(ask("first", number=1) + ask("second", number=7) + ask("third", number=65535))
        for number, text in ((1, "first"), (7, "second"), (65535, "third")):
            reply = peer.reply()
            expect(number, reply.number, "the number of the request that is answered")
            expect_right(text, reply)
        expect_answer(peer, "and one more")


def pipelined_in_pieces(path):
    """The second request comes in part with the first."""
    both = ask("first") + ask("second")
    for split in range(len(ask("first")), len(both), 7):
        with Peer(path) as peer:
            peer.send(both[:split])
            expect_right("first", peer.reply())
            peer.send(both[split:])
            expect_right("second", peer.reply())


def byte_by_byte(path):
    with Peer(path) as peer:
        for byte in ask("byte by byte"):
            peer.send(bytes([byte]))
        expect_right("byte by byte", peer.reply())
        expect_answer(peer, "and in one go")


def small_records(path):
    """Params and body in records of one byte each, with other records between."""
    params = fcgi.pairs({"REQUEST_METHOD": "POST", "SCRIPT_NAME": PATH, "CONTENT_LENGTH": "17"}.items())
    with Peer(path) as peer:
        peer.send(fcgi.begin() + b"".join(fcgi.record(fcgi.PARAMS, bytes([byte])) for byte in params)
                  + fcgi.record(fcgi.PARAMS)
                  + b"".join(fcgi.record(fcgi.STDIN, bytes([byte])) for byte in b'{"message":"abc"}')
                  + fcgi.record(fcgi.STDIN))
        expect_right("abc", peer.reply())


def answer_ends_well(path):
    with Peer(path) as peer:
        reply = peer.call("POST", PATH, message("x"))
        expect((0, 0, b""), (reply.app_status, reply.protocol_status, reply.err), "statuses, stderr")


def not_kept(path):
    with Peer(path) as peer:
        expect_answer(peer, "the only one", keep=False)
        expect_closed(peer, SOON, "a connection that is not to be kept")


def half_closed(path):
    """A peer that ends its side after the request still gets its answer, however long."""
    for text in ("short", "long " * (MIB // 8)):
        with Peer(path) as peer:
            peer.send(ask(text))
            peer.socket.shutdown(1)
            expect_right(text, peer.reply())
            expect_closed(peer, SOON, "the connection after it")


NAMES = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")


def get_values(path):
    question = fcgi.record(fcgi.GET_VALUES, fcgi.pairs((name, "") for name in NAMES), number=0)
    with Peer(path) as peer:
        for _ in range(2):
            peer.send(question)
            kind, number, content = peer.record()
            values = fcgi.parsed_pairs(content)
            expect((fcgi.GET_VALUES_RESULT, 0), (kind, number), "type and request of the answer")
            expect(sorted(NAMES), sorted(values), "the names in the answer")
            expect("0", values["FCGI_MPXS_CONNS"], "FCGI_MPXS_CONNS")
            expect_answer(peer, "the connection goes on")


def refused(path, data, what):
    with Peer(path) as peer:
        try:
            peer.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was closed while there was more to send
        expect_closed(peer, SOON, what)
    expect_prompt(path)


def get_values_repeated(path):
    flood = fcgi.pairs([("FCGI_MAX_CONNS", "")] * 1000)
    refused(path, fcgi.record(fcgi.GET_VALUES, flood, number=0), "a name asked 1,000 times")
    refused(path, fcgi.begin() + fcgi.record(fcgi.GET_VALUES, flood, number=0), "the same within a request")


def unknown_management(path):
    with Peer(path) as peer:
        for content in (b"", b"x" * 8, b"x" * 60000):
            peer.send(fcgi.record(42, content, number=0))
            expect((fcgi.UNKNOWN_TYPE, 0, bytes([42]) + bytes(7)), peer.record(), f"to {len(content)} bytes of type 42")
        expect_answer(peer, "the connection goes on")


def multiplexed(path):
    refused(path, fcgi.begin(number=1) + fcgi.begin(number=2), "a second request's begin")
    refused(path, fcgi.begin(number=1) + fcgi.record(fcgi.PARAMS, b"", number=2), "an empty record of another one")


def aborted(path):
    refused(path, ask("x")[:-30] + fcgi.record(fcgi.ABORT), "an abort")
    refused(path, fcgi.begin() + fcgi.record(fcgi.ABORT), "an abort at the start")


def garbage(path):
    refused(path, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP")
    refused(path, bytes(range(255, 0, -1)) * 100, "garbage")
    refused(path, ask("x") + b"garbage " * 10, "garbage behind a request")
    refused(path, fcgi.record(fcgi.BEGIN, b"\0" * 8, version=9), "version 9")
    refused(path, fcgi.begin(role=99) + ask("x")[16:], "an unknown role")
    refused(path, fcgi.record(fcgi.BEGIN, b"\0") + ask("x")[16:], "a begin that is too short")
    refused(path, fcgi.begin() + fcgi.stream(fcgi.PARAMS, b"\xff" * 40) + fcgi.record(fcgi.STDIN),
            "params whose lengths lie")
    for length in (b"\xff\xff\xff\xfe", b"\xc0\0\0\0", b"\x80\x02\0\1"):
        refused(path, fcgi.begin() + fcgi.stream(fcgi.PARAMS, length + length + b"x" * 80) + fcgi.record(fcgi.STDIN),
                "a param longer than all params may be")


def long_params(path):
    data = fcgi.begin() + fcgi.stream(fcgi.PARAMS, fcgi.pairs([("LONG", "x" * MIB)]))
    refused(path, data, "params of 1 MiB")
    many = fcgi.begin() + fcgi.stream(fcgi.PARAMS, fcgi.pairs((f"HTTP_X_{i}", "x") for i in range(100000)))
    refused(path, many, "100,000 params")


def large_params(path):
    """All that nginx's header buffers can hold, and more, is not too much."""
    with Peer(path) as peer:
        expect_answer(peer, "after 64 KiB of params", HTTP_COOKIE="c" * 65536)


# ---- bodies ----

def body_over_limit(path, limit):
    """The peer has more to send, but reads: the whole 413 is there for it."""
    limit = int(limit)
    whole = request("POST", PATH, b"x" * (4 * limit))
    for sent in (limit + 70000, 2 * limit + 70000):
        with Peer(path) as peer:
            peer.send(whole[:sent])
            reply = peer.reply()
            expect((413, "application/problem+json"), (reply.status, reply.head["content-type"]), "the answer")
            expect(413, reply.json["status"], "the problem, whole")
            expect_closed(peer, SOON, "the service's side")
    with Peer(path) as peer:  # and if it does not read until all is sent, it can send all
        peer.send(whole)
        expect(413, peer.reply().status, "the answer after all is sent")


def body_too_short(path):
    with Peer(path) as peer:
        reply = peer.call("POST", PATH, b"ten bytes.", CONTENT_LENGTH="100")
        expect(400, reply.status, "the answer")
        expect(True, "after 10 of 100 bytes" in reply.json["detail"], f"the detail, {reply.json['detail']}")
        expect_answer(peer, "the connection goes on")


def large_messages(path):
    for text in ("The quick brown fox. " * 50000, "naïve Ελλάδα мир 日本語 𝒳 " * 24000):
        text = text[:MIB]
        with Peer(path) as peer:
            expect_answer(peer, text)
            expect_answer(peer, text)


# ---- peers that do not take their answers ----

def deaf_peers(path, threads):
    """None of 1 MiB is ever read. They hold no thread, and are given up."""
    deaf = [Peer(path) for _ in range(5 * int(threads))]
    for peer in deaf:
        peer.send(ask("x" * MIB))
    expect_prompt(path)
    begun, hung_up = time.monotonic(), select.poll()
    for peer in deaf:
        hung_up.register(peer.socket, 0)
    left = {peer.socket.fileno() for peer in deaf}
    while left and time.monotonic() - begun < ANSWER_BOUND:
        for gone, _ in hung_up.poll(1000):
            hung_up.unregister(gone)
            left.discard(gone)
    expect(0, len(left), f"deaf peers still connected after {ANSWER_BOUND} s")
    expect_prompt(path)


def slow_reader(path):
    """It takes the answer in small pieces, while others come and go."""
    text = "".join(chr(ord("!") + i % 90) for i in range(MIB))
    with Peer(path) as slow, Peer(path) as other:
        slow.send(ask(text) + ask("the next one was waiting"))
        recv, pieces = slow.socket.recv, 0

        def receive(size=0):
            nonlocal pieces
            pieces += 1
            if pieces % 64 == 0:
                expect_answer(other, f"between pieces {pieces}")
            return recv(min(size, 1000))

        slow.receive = receive
        expect_right(text, slow.reply())
        expect_right("the next one was waiting", slow.reply())
        expect(True, pieces > 1000, f"{pieces} pieces")


def leaving_peers(path):
    for _ in range(100):
        with Peer(path) as peer:
            peer.send(ask("gone before the answer"))
    for _ in range(20):
        with Peer(path) as peer:
            peer.send(ask("gone amid the answer " * (MIB // 21)))
            peer.exactly(1000)
    for _ in range(100):
        with Peer(path) as peer:
            peer.send(ask("gone amid the request")[:100])
    expect_prompt(path)


# ---- under multiwatch ----

def worker_of(supervisor, besides=None):
    """The supervisor's one child, as soon as it is there and another one than `besides`."""
    def found():
        return [child for child in children_of(int(supervisor)) if child != besides]

    wait_until(10, found, "a worker")
    return found()[0]


def killed_workers(path, supervisor):
    worker = None
    for _ in range(12):
        worker = worker_of(supervisor, besides=worker)
        with Peer(path) as peer:
            expect_answer(peer, "served by this worker")
            os.kill(worker, signal.SIGKILL)
            expect_closed(peer, 5, "a connection to a killed worker")
    worker_of(supervisor, besides=worker)
    with Peer(path) as peer:
        expect_answer(peer, "served by the last worker")


def supervised_drain(path, supervisor):
    """TERM to the supervisor: a request half sent is answered, then its worker ends."""
    worker = worker_of(supervisor)
    whole = ask("half sent")
    with Peer(path) as peer:
        peer.send(whole[:100])
        begin_drain(path, supervisor)
        peer.send(whole[100:])
        expect_right("half sent", peer.reply())
        expect_closed(peer, 5, "the connection after its last answer")
    wait_until(5, lambda: not is_running(worker), "the worker's end")


# ---- the log ----

def logged_requests(path, log):
    """At level debug each request is one line, with its id if that is fit to be one."""
    ids = {"a-plain.ID_1": True, "x" * 64: True, "x" * 65: False, "": False, "with space": False, 'quote"': False,
           "line\nend": False, "é": False, "<!--#": False, "semi;colon": False}
    for name in ids:
        expect(200, call(path, "POST", PATH, message("secret"), HTTP_X_REQUEST_ID=name).status, "an answer")
    expect(404, call(path, "GET", "/nothing", HTTP_X_REQUEST_ID="a-404").status, "an answer")
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    for line in lines:
        expect(["level", "message", "pid", "request_id", "service", "time"], sorted(line), "members of a line")
        expect("cgi-transform", line["service"], "service")
    answers = [line["request_id"] for line in lines if line["message"].startswith("answered")]
    expect([name if fit else "" for name, fit in ids.items()] + ["a-404"], answers[-len(ids) - 1:], "ids")
    for line in lines:
        for secret in ("secret", transformed(message("secret"))):
            expect(False, secret in line["message"], "a client's message in the log")


def told_while_busy(path, status):
    """The only worker reads a body for seconds; its status is told meanwhile, before that is answered."""
    body = b'{"other": [' + b"1," * (8 * MIB) + b'1], "message": "ab"}'
    with Peer(path) as peer, Peer(status) as observer:
        observer.call("GET", "/_health")
        peer.send(request("POST", "/reverse", body))
        wait_until(ANSWER_BOUND, lambda: observer.call("GET", "/_status").json["busy"] == 1, "a busy worker")
        expect(200, observer.call("GET", "/_health").status, "health while busy")
        told = observer.call("GET", "/_status").json
        expect((1, 1, 1, 0), (told["threads"], told["busy"], told["connections"], told["errors"]), "what is told")
        expect([], select.select([peer.socket], [], [], 0)[0], "answered before the status was told")
        expect(transformed(message("ab")), peer.reply().json["message"], "the message")


def counted(path, status):
    """Requests are counted by status, and those on the status socket are not."""
    before = call(status, "GET", "/_status").json["requests"]
    for method, script, expected in (("POST", PATH, 400), ("GET", "/nothing", 404), ("GET", "/_health", 200)):
        expect(expected, call(path, method, script).status, script)
    wait_until(5, lambda: call(status, "GET", "/_status").json["requests"] == before + 3, "three requests")
    told = call(status, "GET", "/_status").json
    expect((1, 1, before + 1), tuple(told["statuses"][name] for name in ("400", "404", "200")), "by status")
    expect(404, call(status, "POST", "/reverse").status, "what is not of the status")


def unread_log(path, pipe):
    """The log is a pipe that nobody reads, until 2,000 calls have been answered: they had more lines than it holds."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Peer(path) as peer:
        peer.socket.settimeout(5)
        for _ in range(2000):
            expect_answer(peer, "ab")
        lines = [json.loads(line) for line in os.read(reader, MIB).splitlines()]
        expect_answer(peer, "ab")
        expect(True, 0 < len(lines) < 2000, f"some lines are written, and some lost; {len(lines)} are written")
        lost = f"{2000 - len(lines)} lines were lost before this one: who reads the log was too slow"
        told = [json.loads(line)["message"] for line in os.read(reader, MIB).splitlines()]
    expect((lost, 2), (told[0], len(told)), "told of the lines that were lost")


def main():
    try:
        globals()[sys.argv[1]](*sys.argv[2:])
    except AssertionError as problem:
        return str(problem)
    except (OSError, Closed) as problem:
        return f"{sys.argv[1]}: {type(problem).__name__}: {problem}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
