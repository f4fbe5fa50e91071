"""Clients that leave at every stage of a request, in every way; called from wrong-answers.bats.

    leavers.py http RUN_DIR PORT     over HTTP/1.1; one alone, then three at once
    leavers.py http2 RUN_DIR PORT    over HTTP/2: streams that are reset, connections that are ended or reset
    leavers.py reloads RUN_DIR PORT  over HTTP/1.1, each stage during a reload of nginx

app and transform are those of wrong_answers.py. Behind each client another one has its right answer, and none was kept waiting.
"""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import reload  # noqa: E402
import wrong_answers  # noqa: E402
from wrong_answers import BODIES, BOUND, FRAME, REQUEST, Client, Wrong, fakes  # noqa: E402

LARGE = b" " * 3_900_000 + BODIES["app"]  # more than the sockets hold

# ---- stages: what a client has sent, and which service holds the answer then ----

STAGES = {
    "before it sends": (b"", None),
    "in the request line": (REQUEST[:7], None),
    "behind the request line": (REQUEST[:20], None),
    "in a header": (REQUEST[:24], None),
    "behind the headers": (REQUEST[:-14], None),
    "in the body": (REQUEST[:-5], None),
    "while app is asked": (REQUEST, "app"),
    "while transform is asked": (REQUEST, "transform"),
    "behind the answer's first byte": (REQUEST, None),
    "behind the answer": (REQUEST, None),
}


# ---- ways to leave ----


def end(connection):
    connection.shutdown(socket.SHUT_WR)


def close(connection):
    connection.close()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


WAYS = (end, close, reset)


# ---- HTTP/1.1 ----


def arrive(port, stage, services):
    """A client at that stage."""
    client = Client(port)
    sent, held = STAGES[stage]
    client.socket.sendall(sent)
    if held and not services[held].asked.acquire(timeout=BOUND):
        raise Wrong(f"{held} is not asked")
    if stage == "behind the answer's first byte":
        client.data = client.socket.recv(1)
    if stage == "behind the answer":
        client.receive()
    return client


def prepare(stage, services):
    held = STAGES[stage][1]
    if held:
        services[held].hold()
    if stage == "behind the answer's first byte":
        services["app"].steps = [wrong_answers.whole(LARGE)]


def release(services):
    for service in services.values():
        service.release()


def has_answer(client, stage):
    """Who has ended its side alone gets its answer, if it has asked, and then the end."""
    if STAGES[stage][0] == REQUEST and stage != "behind the answer":
        code, _, _ = client.receive()
        if code != "200":
            raise Wrong(f"{stage}: {code} for one that has ended its side")
    while client.socket.recv(1 << 20):
        pass


def leave(port, stage, way, services, count=1, meanwhile=lambda: None):
    """So many clients at once come to the stage, and leave."""
    prepare(stage, services)
    clients = [arrive(port, stage, services) for _ in range(count)]
    meanwhile()
    for client in clients:
        way(client.socket)
    release(services)
    for client in clients:
        if way is end:
            has_answer(client, stage)
    Client(port).expect_right(f"the next client, behind {count} that left {stage} by {way.__name__}")


def http(run_dir, port):
    services = fakes(run_dir)
    for stage in STAGES:
        for way in WAYS:
            for count in (1, 3):
                leave(port, stage, way, services, count)


def reloads(run_dir, port):
    services = fakes(run_dir)
    nginx = reload.Nginx(f"{run_dir}/nginx.pid")
    old = {}
    for at, stage in enumerate(STAGES):
        leave(port, stage, WAYS[1 + at % 2], services, 2, lambda: old.update(nginx.reload()))
    reload.wait_until(lambda: nginx.is_rid_of(old), "an old worker stays")


# ---- HTTP/2 ----

RST_STREAM, WINDOW_UPDATE, CANCEL = 3, 8, struct.pack(">I", 8)
FIELDS = b"".join(b"\0%c%s%c%s" % (len(name), name, len(value), value) for name, value in (
    (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/api"), (b":authority", b"x")))
BODY = REQUEST[-14:]


class Client2(reload.Client2):
    """Its streams are sent as far as a stage says."""

    def begin(self, headers=FIELDS, whole_head=True, body=BODY, whole_body=True):
        self.stream += 2
        self.send_frame(reload.HEADERS, reload.END_HEADERS if whole_head else 0, self.stream, headers)
        if body:
            self.send_frame(reload.DATA, reload.END_STREAM if whole_body else 0, self.stream, body)
        return self.stream

    def await_data(self):
        while self.read_frame()[0] != reload.DATA:
            pass

    def expect_right(self, what):
        self.send_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20))  # what was sent before has taken all of it
        body, _ = self.receive(self.begin())
        wrong_answers.expect(wrong_answers.RIGHT, body, what)


STAGES2 = {  # what is sent, and then as in STAGES
    "in the headers": ({"headers": FIELDS[:9], "whole_head": False, "body": b""}, None),
    "behind the headers": ({"body": b""}, None),
    "in the body": ({"body": BODY[:5], "whole_body": False}, None),
    "while app is asked": ({}, "app"),
    "while transform is asked": ({}, "transform"),
    "in the answer": ({}, None),
    "behind the answer": ({}, None),
}


def leave2(port, stage, way, services, count=1):
    """So many streams of one connection come to the stage, and its client leaves, or resets them and goes on."""
    sent, held = STAGES2[stage]
    client = Client2(port)
    if held:
        services[held].hold()
    if stage == "in the answer":
        services["app"].steps = [wrong_answers.whole(LARGE)]
    for _ in range(count):
        stream = client.begin(**sent)
        if held and not services[held].asked.acquire(timeout=BOUND):
            raise Wrong(f"{held} is not asked")
        if stage == "behind the answer":
            client.receive(stream)
    if stage == "in the answer":
        client.await_data()
    way(client)
    release(services)
    Client(port.plain).expect_right(f"the next client, behind one that left {stage} by {way.__name__}")
    if way is reset_streams and stage != "in the headers":
        client.expect_right(f"the next stream, behind {count} that were reset {stage}")


def reset_streams(client):
    for stream in range(client.stream, 0, -2):
        client.send_frame(RST_STREAM, 0, stream, CANCEL)


def goaway(client):
    client.send_frame(reload.GOAWAY, 0, 0, bytes(8))
    client.socket.close()


def close2(client):
    client.socket.close()


def reset2(client):
    reset(client.socket)


class Port(str):
    """Of HTTPS; `plain` is the other."""


def http2(run_dir, port, plain):
    services = fakes(run_dir)
    port = Port(port)
    port.plain = plain
    for stage in STAGES2:
        for way in (reset_streams, goaway, close2, reset2):
            for count in (1, 3):
                leave2(port, stage, way, services, count if stage != "in the headers" else 1)


if __name__ == "__main__":
    try:
        {function.__name__: function for function in (http, http2, reloads)}[sys.argv[1]](*sys.argv[2:])
    except (Wrong, AssertionError) as problem:
        sys.exit(str(problem))
