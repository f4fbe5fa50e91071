#!/usr/bin/env python3
"""What tests of compose need on both sides of it: parts of answers that are not as they should be, and clients that are not.

usage: parts.py serve SOCKET [NAME]         a FastCGI service: NAME, or the last word of a request's path, says how it
                                            answers (below); "params" are the request's own, as a JSON object
       parts.py ended ADDRESS PATH [BODY]   a client that ends its side behind its request; prints all that comes
       parts.py slowly ADDRESS PATH [BODY]  the same, and it reads only after a second
       parts.py reset ADDRESS PATH          a client that resets its connection (TCP) behind its request
"""

import json
import os
import socket
import socketserver
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import fcgi  # noqa: E402

END = fcgi.record(fcgi.END, bytes(8))
TEXT = b"Content-Type: text/plain\r\n"


def stdout(head, body, ended=True):
    return fcgi.stream(fcgi.STDOUT, head + b"\r\n" + body, ended=ended)


ANSWERS = {
    "whole": stdout(TEXT, b"whole") + END,
    "whole-with-length": stdout(TEXT + b"Content-Length: 5\r\n", b"whole") + END,
    "cut": stdout(TEXT, b"who", ended=False),
    "cut-with-length": stdout(TEXT + b"Content-Length: 5\r\n", b"who", ended=False),
    "cut-in-record": stdout(TEXT, b"whole", ended=False)[:-4],
    "end-too-early": stdout(TEXT + b"Content-Length: 5\r\n", b"who") + END,
    "longer-than-said": stdout(TEXT + b"Content-Length: 3\r\n", b"whole") + END,
    "no-head": END,
    "status-100": stdout(b"Status: 100 Continue\r\n" + TEXT, b"whole") + END,
    "status-204": stdout(b"Status: 204 No Content\r\n", b"") + END,
    "status-304": stdout(b"Status: 304 Not Modified\r\n", b"") + END,
    "status-408": stdout(b"Status: 408 Late\r\n" + TEXT, b"late") + END,
    "encoded": stdout(TEXT + b"Content-Encoding: gzip\r\n", b"whole") + END,
    "validators": stdout(TEXT + b'ETag: "x"\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n',
                         b'a<!--# include virtual="/part" -->') + END,
    "elsewhere": stdout(b"X-Accel-Redirect: /file\r\n", b"") + END,
    "moved": stdout(b"Location: http://there/\r\n", b"") + END,
    "large": stdout(TEXT, b"x" * 100000) + END,
    "very-large": stdout(TEXT, b"x" * 8000000) + END,
    "slow": stdout(TEXT, b"slow") + END,
    "never": b"",
    "frame-60000": stdout(TEXT, b'{"message":<!--# include virtual="/reverse/message" -->}'.ljust(60000)) + END,
    "frame-70000": stdout(TEXT, b'{"message":<!--# include virtual="/reverse/message" -->}'.ljust(70000)) + END,
}


class Service(socketserver.BaseRequestHandler):
    def handle(self):
        self.file = self.request.makefile("rb")
        try:
            while self.answer():
                pass
        except OSError:
            pass  # nginx has heard enough

    def asked(self):
        """The params of the next request, once its body has come, or None at the end; and whether to keep the connection."""
        params, keep = b"", False
        while len(head := self.file.read(8)) == 8:
            length = int.from_bytes(head[4:6], "big")
            content = self.file.read(length + head[6])[:length]
            if head[1] == fcgi.BEGIN:
                keep = bool(content[2] & fcgi.KEEP_CONN)
            if head[1] == fcgi.PARAMS:
                params += content
            if head[1] == fcgi.STDIN and not content:
                return fcgi.parsed_pairs(params), keep
        return None, False

    def answer(self):
        params, keep = self.asked()
        if params is None:
            return False
        name = self.server.name or params["SCRIPT_NAME"].rpartition("/")[2]
        if name == "slow":
            time.sleep(0.5)
        if name == "never":
            time.sleep(60)
        answer = ANSWERS[name] if name != "params" else stdout(TEXT, json.dumps(params).encode()) + END
        self.request.sendall(answer)
        return keep and answer.endswith(END)


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    name = None
    request_queue_size = 128


def serve(address, name=None):
    with Server(address, Service) as server:
        server.name = name
        server.serve_forever()


def asking(address, path, body=""):
    """A connection over which the path has been asked for."""
    connected = fcgi.connect(address)
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connected.sendall((head + body).encode())
    return connected


def read_all(connected):
    while data := connected.recv(65536):
        sys.stdout.buffer.write(data)


def ended(address, path, body=""):
    with asking(address, path, body) as connected:
        connected.shutdown(socket.SHUT_WR)
        read_all(connected)


def slowly(address, path, body=""):
    with asking(address, path, body) as connected:
        connected.shutdown(socket.SHUT_WR)
        time.sleep(1)
        read_all(connected)


def reset(address, path):
    with asking(address, path) as connected:
        time.sleep(0.3)  # the call has begun
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


if __name__ == "__main__":
    {command.__name__: command for command in (serve, ended, slowly, reset)}[sys.argv[1]](*sys.argv[2:])
