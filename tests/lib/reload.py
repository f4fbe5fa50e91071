"""What clients see of an nginx that reloads or stops; called from reload.bats.

    reload.py NAME PORT PID-FILE [SERVICE-PID...]    runs the function of that name; fails with what was expected and came

PORT speaks TLS where the name begins with tls or http2. PID-FILE is nginx's.
"""

import os
import signal
import socket
import ssl
import struct
import sys
import time

import sample

IN_TIME = 0.3  # of the second that drain_idle gives
HEADER_TIMEOUT = 8  # less than nginx gives a client that sends nothing
BOUND = 60     # seconds; an end to waiting, and never what is measured


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def wait_until(condition, what):
    deadline = time.monotonic() + BOUND
    while not condition():
        expect(time.monotonic() < deadline, f"gave up waiting: {what}")
        time.sleep(0.01)


# ---- nginx ----


class Nginx:
    def __init__(self, pid_file):
        with open(pid_file, encoding="ascii") as file:
            self.pid = int(file.read())

    def workers(self):
        """pid and what ps shows of each: "nginx: worker process", and behind it "is shutting down" """
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            pids = file.read().split()
        titles = {}
        for pid in pids:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    titles[pid] = file.read()
            except (FileNotFoundError, ProcessLookupError):
                pass
        return titles

    def reload(self):
        """Returns once the old workers have begun to end."""
        old = self.workers()
        os.kill(self.pid, signal.SIGHUP)
        wait_until(
            lambda: all(b"shutting down" in title for pid, title in self.workers().items() if pid in old),
            "old workers do not shut down",
        )
        return old

    def is_rid_of(self, old):
        return not set(self.workers()) & set(old)


def freeze(pids):
    """Stop these processes. One of a process's threads takes the signal, and until it does, the others go on."""
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
        wait_until(lambda pid=pid: is_frozen(pid), f"{pid} does not stop")


def is_frozen(pid):
    states = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as stat:
            states.append(stat.read().rpartition(")")[2].split()[0])
    return set(states) == {"T"}


# ---- HTTP/1.1 ----


class Client:
    """One connection, kept."""

    def __init__(self, port, tls=False):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), BOUND)
        if tls:
            context = ssl._create_unverified_context()
            self.socket = context.wrap_socket(self.socket)

    def send(self, body=sample.REQUEST):
        self.socket.sendall(b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def receive(self, begin=b""):
        """The head and the body of an answer that begins with `begin`; an AssertionError when there is none."""
        data = bytearray(begin)
        while b"\r\n\r\n" not in data:
            data += self.receive_some()
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.receive_some()
        return head, body

    def receive_some(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError as error:
            raise AssertionError(f"the request was cut: {error}") from None
        expect(data, "the request was cut: closed without an answer")
        return data

    def expect_answer(self, connection):
        head, body = self.receive()
        expect(head.startswith(b"HTTP/1.1 200"), f"expected a 200: {head}")
        expect(sample.is_right(body), f"expected the right answer to the sample: {body[:80]}")
        expect(b"\r\nConnection: " + connection in head, f"expected Connection: {connection.decode()} in {head}")

    def call(self, connection=b"keep-alive"):
        self.send()
        self.expect_answer(connection)

    def expect_closed(self):
        expect(self.socket.recv(1) == b"", "expected the server to close")


def next_request(port, nginx, tls=False):
    """A kept connection, idle at a reload: its next request is answered, says close, and then the worker ends."""
    client = Client(port, tls)
    client.call()
    old = nginx.reload()
    client.call(b"close")
    client.expect_closed()
    wait_until(lambda: nginx.is_rid_of(old), "an old worker stays")


def tls_next_request(port, nginx):
    next_request(port, nginx, tls=True)


def first_request(port, nginx):
    """A connection on which nothing was sent before a reload."""
    client = Client(port)
    Client(port).call()  # nginx takes connections in their order
    nginx.reload()
    client.call(b"close")


def already_sent(port, nginx):
    """Each of many clients has its next request in the socket when its worker is to end."""
    clients = [Client(port) for _ in range(64)]
    for client in clients:
        client.send()
        client.receive()
    workers = [int(pid) for pid in nginx.workers()]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for client in clients:
        client.send()
    for pid in workers:
        os.kill(pid, signal.SIGQUIT)
        os.kill(pid, signal.SIGCONT)
    for client in clients:
        client.receive()


def closed_after(port, nginx):
    """Idle for longer than the time: closed, also where nothing was sent ever; the workers end."""
    used, unused = Client(port), Client(port)
    used.call()
    old = nginx.reload()
    begun = time.monotonic()
    used.expect_closed()
    expect(time.monotonic() - begun > IN_TIME, "closed before the time was over")
    unused.expect_closed()
    expect(time.monotonic() - begun < HEADER_TIMEOUT, "closed because no header came")
    wait_until(lambda: nginx.is_rid_of(old), "an old worker stays")


def new_configuration(port, nginx):
    """A client that never rests, and one that rests: 2 s after a change each answer is of it. It adds X-New."""
    busy, idle = Client(port), Client(port)
    idle.call()
    begun = time.monotonic()
    nginx.reload()
    while time.monotonic() - begun < 2:
        busy.send()
        if b"Connection: close" in busy.receive()[0]:
            busy = Client(port)
    for client in (busy, Client(port)):
        client.send()
        expect(b"\r\nX-New: yes" in client.receive()[0], "an answer of the old configuration")
    idle.expect_closed()


def under_way(port, nginx, *services):
    """A request under way at a reload is answered, and says close."""
    client = Client(port)
    client.call()  # so that it is an old worker's
    freeze(services)
    try:
        client.send()
        nginx.reload()
    finally:
        for pid in services:
            os.kill(int(pid), signal.SIGCONT)
    client.expect_answer(b"close")


def answer_under_way(port, nginx):
    """Half of an answer, which says keep-alive, has left before a reload: the connection is kept."""
    client = Client(port)
    client.send(b'{"message": "%s"}' % (b"a" * 12_000_000))  # more than two sockets hold
    begin = client.receive_some()
    old = nginx.reload()
    head, _ = client.receive(begin)
    expect(b"Connection: keep-alive" in head, f"expected keep-alive in {head}")
    client.call(b"close")
    wait_until(lambda: nginx.is_rid_of(old), "an old worker stays")


def stop(port, nginx):
    """An idle connection does not hold a stop for long."""
    client = Client(port)
    client.call()
    os.kill(nginx.pid, signal.SIGQUIT)
    client.expect_closed()


# ---- HTTP/2 ----

DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Client2:
    """Just enough of HTTP/2: headers are sent as they stand, and those that come are not read."""

    def __init__(self, port):
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), BOUND))
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send_frame(SETTINGS, 0, 0, b"")
        self.stream = -1

    def send_frame(self, kind, flags, stream, payload):
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def read(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            expect(chunk, "the connection was closed")
            data += chunk
        return data

    def read_frame(self):
        length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + self.read(9))
        return kind, flags, stream, self.read(length)

    def await_ping(self):
        self.send_frame(PING, 0, 0, b"12345678")
        while self.read_frame()[:2] != (PING, ACK):
            pass

    def send(self):
        """Begin a request; returns its stream."""
        fields = {b":method": b"POST", b":scheme": b"https", b":path": b"/api", b":authority": b"x"}
        block = b"".join(b"\0%c%s%c%s" % (len(n), n, len(v), v) for n, v in fields.items())
        self.stream += 2
        self.send_frame(HEADERS, END_HEADERS, self.stream, block)
        self.send_frame(DATA, END_STREAM, self.stream, sample.REQUEST)
        return self.stream

    def receive(self, stream):
        """Frames until the stream ends; its body, and the last stream that a GOAWAY named, or None."""
        body, last = b"", None
        while True:
            kind, flags, of, payload = self.read_frame()
            if kind == GOAWAY:
                last = struct.unpack(">I", payload[:4])[0]
            elif kind == DATA and of == stream:
                body += payload
            if kind in (DATA, HEADERS) and of == stream and flags & END_STREAM:
                return body, last

    def expect_goaway(self, stream):
        kind, _, _, payload = self.read_frame()
        while kind != GOAWAY:
            kind, _, _, payload = self.read_frame()
        expect(struct.unpack(">II", payload[:8]) == (stream, 0), f"expected GOAWAY of {stream}: {payload}")


def http2_next_request(port, nginx):
    """An idle connection: its next request is answered, and the GOAWAY names it as the last."""
    client = Client2(port)
    expect(sample.is_right(client.receive(client.send())[0]), "no answer")
    nginx.reload()
    stream = client.send()
    body, last = client.receive(stream)
    expect(sample.is_right(body), "no answer after the reload")
    if last is None:
        client.expect_goaway(stream)
    else:
        expect(last == stream, f"expected GOAWAY of {stream}, not {last}")


def http2_closed_after(port, nginx):
    client = Client2(port)
    stream = client.send()
    client.receive(stream)
    nginx.reload()
    client.expect_goaway(stream)


def http2_under_way(port, nginx, *services):
    """Requests under way have a GOAWAY that names them, and their answers."""
    client = Client2(port)
    freeze(services)
    try:
        stream = client.send()
        client.await_ping()  # nginx has read what was sent before
        nginx.reload()
        client.expect_goaway(stream)
    finally:
        for pid in services:
            os.kill(int(pid), signal.SIGCONT)
    expect(sample.is_right(client.receive(stream)[0]), "no answer")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], Nginx(sys.argv[3]), *sys.argv[4:])
