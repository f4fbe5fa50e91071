#!/usr/bin/env python3
"""A transform that misbehaves as the message tells it to, for tests of what a client then sees.

usage: fake_transform.py SOCKET

The message is the name of an answer below; or an HTTP status, which it then gives with a body that looks right; or
"params", and the answer is the params that came.
"""

import json
import os
import socketserver
import sys

sys.path.insert(0, os.path.dirname(__file__))
import fcgi  # noqa: E402

WHOLE = b'"whole"'
ANSWERS = {  # name: head fields, body, what comes then
    "right": (b"Status: 200 OK", WHOLE, "end"),
    "less than it said": (b"Status: 200 OK\r\nContent-Length: 8", b'"whole"', "end"),
    "empty": (b"Status: 200 OK", b"", "end"),
    "half, then gone": (b"Status: 200 OK\r\nContent-Length: 8", b'"wh', "close"),
    "half, then silence": (b"Status: 200 OK\r\nContent-Length: 8", b'"wh', "silence"),
    "ends after an escaped quote": (b"Status: 200 OK", b'"wh\\"', "close"),
    "no head": (b"", b"", "close"),
    "a redirect inside nginx": (b"Status: 200 OK\r\nX-Accel-Redirect: /", b"", "end"),
    "a location": (b"Location: /", b"", "end"),
}


class Transform(socketserver.BaseRequestHandler):
    def setup(self):
        self.file = self.request.makefile("rb")

    def body(self):
        """The body of the next request, or None at the end. Its params are kept in `params`."""
        body = b""
        while len(head := self.file.read(8)) == 8:
            length = int.from_bytes(head[4:6], "big")
            content = self.file.read(length + head[6])[:length]
            if head[1] == fcgi.PARAMS and content:
                self.params = fcgi.parsed_pairs(content)
            if head[1] == fcgi.STDIN:
                if not content:
                    return body
                body += content
        return None

    def handle(self):
        try:
            self.answer_all()
        except OSError:
            pass  # nginx has heard enough

    def answer_all(self):
        while (body := self.body()) is not None:
            name = json.loads(body)["message"]
            if name == "params":
                head, text, then = b"Status: 200 OK", json.dumps(self.params).encode(), "end"
            else:
                head, text, then = ANSWERS.get(name) or (f"Status: {name} Test".encode(), WHOLE, "end")
            if head:
                out = head + b"\r\nContent-Type: application/json\r\n\r\n" + text
                self.request.sendall(fcgi.stream(fcgi.STDOUT, out, ended=then == "end"))
            if then == "end":
                self.request.sendall(fcgi.record(fcgi.END, bytes(8)))
            elif then == "close":
                return


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(sys.argv[1], Transform) as server:
        server.serve_forever()
