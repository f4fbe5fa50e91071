#!/usr/bin/env python3
"""Clients that are slow, silent or gone, for the tests of admission (nginx/admission). Standard library only.

usage: slow.py body PORT BYTES STEP PAUSE [PATH]   an HTTP/1.1 POST that declares BYTES and sends STEP of them every PAUSE
                                                   seconds; prints the answer's status and what kind it is, or "closed"
       slow.py streams PORT CONNECTIONS EACH BYTES STEP PAUSE GO-FILE
                                                   the same over HTTP/2 with TLS: EACH streams on each of CONNECTIONS; one that
                                                   ends is begun anew. Prints "begun" when all are, and at last, when GO-FILE
                                                   exists, how many had which status
       slow.py leave PORT PATH HOW [BODY]          a POST, then HOW: "reset" or "end" (of the client's side); after an end, prints
                                                   the answer's status
       slow.py deaf PORT PATH COUNT BODY-FILE GO-FILE
                                                   COUNT POSTs that read nothing of their answers until GO-FILE exists
"""

import os
import re
import selectors
import socket
import ssl
import struct
import sys
import time
from collections import Counter

from clients import connect, read_all

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def shown(answer):
    """Of an answer's bytes: its status and Content-Type."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    status = re.match(r"HTTP/1\.1 (\d+)", head)
    kind = re.search(r"(?i)\r\ncontent-type: (\S+)", head)
    return f"{status.group(1)} {kind.group(1) if kind else ''}".strip() if status else "closed"


def post_head(path, length):
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), length)


def body(port, size, step, pause, path="/api"):
    connection = connect(port)
    connection.sendall(post_head(path, int(size)))
    left, answers = int(size), selectors.DefaultSelector()
    answers.register(connection, selectors.EVENT_READ)
    while left > 0 and not answers.select(float(pause)):
        connection.sendall(b"x" * min(int(step), left))
        left -= int(step)
    print(shown(read_all(connection)) if left > 0 else "sent")


def leave(port, path, how, text="{}"):
    connection = connect(port)
    connection.sendall(post_head(path, len(text)) + text.encode())
    print("sent", flush=True)
    sys.stdin.readline()
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return
    connection.shutdown(socket.SHUT_WR)
    print(shown(read_all(connection)), flush=True)


def await_file(name):
    while not os.path.exists(name):
        time.sleep(0.02)


def deaf(port, path, count, body_file, go_file):
    with open(body_file, "rb") as file:
        text = file.read()
    connections = []
    for _ in range(int(count)):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(port)))
        connection.sendall(post_head(path, len(text)) + text)
        connections.append(connection)
    print("sent", flush=True)
    await_file(go_file)
    for connection in connections:
        connection.close()


# ---- HTTP/2 ----

class Streams:
    """A connection with so many POSTs, all of them slow."""

    def __init__(self, port, each, size, step, statuses):
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(connect(port))
        self.each, self.size, self.step, self.statuses = each, size, step, statuses
        self.unread, self.next, self.left = b"", 1, {}
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, b""))
        self.fill()
        self.socket.setblocking(False)

    def frame(self, kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def send(self, data):
        self.socket.setblocking(True)
        self.socket.sendall(data)
        self.socket.setblocking(False)

    def fill(self):
        """Begin requests until there are as many as there are to be."""
        out = b""
        length = b"%d" % self.size
        block = b"\x83\x87\x04\x04/api\x01\x01x\x0f\x0d" + bytes([len(length)]) + length  # RFC 7541: POST, https, ...
        while len(self.left) < self.each:
            out += self.frame(HEADERS, END_HEADERS, self.next, block)
            self.left[self.next] = self.size
            self.next += 2
        if out:
            self.send(out)

    def go_on(self):
        """Each request sends its next bytes."""
        out = b""
        for stream, left in self.left.items():
            count = min(self.step, left)
            out += self.frame(DATA, END_STREAM if count == left else 0, stream, b"x" * count)
            self.left[stream] = left - count
        self.send(out)

    def read(self):
        try:
            chunk = self.socket.recv(65536)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except ConnectionError:
            return False
        self.unread += chunk
        while len(self.unread) >= 9:
            length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + self.unread[:9])
            if len(self.unread) < 9 + length:
                break
            self.take(kind, flags, stream, self.unread[9:9 + length])
            self.unread = self.unread[9 + length:]
        self.fill()
        return chunk != b""

    def take(self, kind, flags, stream, payload):
        if kind == HEADERS and stream in self.left:
            # a status that is not in HPACK's table comes as three digits, or coded by Huffman
            found = re.search(rb"\x08\x03(\d{3})", payload)
            self.statuses[found.group(1).decode() if found else "other"] += 1
        if stream in self.left and (kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM)):
            del self.left[stream]
        if kind == PING and not flags & ACK:
            self.send(self.frame(PING, ACK, 0, payload))


def streams(port, connections, each, size, step, pause, go_file):
    statuses = Counter()
    waiting = selectors.DefaultSelector()
    count = 0

    def open_one():
        one = Streams(port, int(each), int(size), int(step), statuses)
        waiting.register(one.socket, selectors.EVENT_READ, one)

    while count < int(connections):
        open_one()
        count += 1
    print("begun", flush=True)
    due = time.monotonic() + float(pause)
    while not os.path.exists(go_file):
        for key, _ in waiting.select(0.05):
            if not key.data.read():
                statuses["closed"] += 1
                waiting.unregister(key.fileobj)
                open_one()
        if time.monotonic() >= due:
            due += float(pause)
            for key in list(waiting.get_map().values()):
                key.data.go_on()
    print(dict(statuses))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("body", "streams", "leave", "deaf"):
        sys.exit(__doc__)
    globals()[sys.argv[1]](*sys.argv[2:])
