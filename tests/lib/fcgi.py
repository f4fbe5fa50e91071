"""A web server's side of FastCGI, for tests: requests out, replies in.

As a library: record() and request() make bytes, Peer is a connection to a service, Reply what came back.
As a command:
    fcgi.py call SOCKET METHOD PATH [--body TEXT | --body -] [--param NAME=VALUE | --param NAME]... [--keep]
        prints the CGI response, head and body, as the service gave it
    fcgi.py ready SOCKET
        succeeds once the service answers GET /_health
    fcgi.py listens SOCKET
        succeeds once somebody listens there
"""

import argparse
import collections
import json
import socket
import struct
import sys
import time

VERSION = 1
(BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT,
 UNKNOWN_TYPE) = range(1, 12)
RESPONDER = 1
KEEP_CONN = 1
WAIT = 15  # seconds that a test waits for bytes that must come


# ---- requests ----

def record(kind, content=b"", number=1, version=VERSION, padding=None):
    """One record of the request with this number (0: about the application itself), with these bytes of padding."""
    padding = bytes(-len(content) % 8) if padding is None else padding
    head = struct.pack("!BBHHBx", version, kind, number, len(content), len(padding))
    return head + content + padding


def begin(number=1, keep=True, role=RESPONDER):
    return record(BEGIN, struct.pack("!HB5x", role, KEEP_CONN if keep else 0), number)


def stream(kind, data, number=1, ended=True):
    """`data` in records as large as they may be, and the empty one that ends the stream."""
    size = 65528
    records = [record(kind, data[at:at + size], number) for at in range(0, len(data), size)]
    return b"".join(records) + (record(kind, b"", number) if ended else b"")


def pairs(items):
    """Names and values as params carry them."""
    def length(text):
        return bytes([len(text)]) if len(text) < 128 else struct.pack("!I", len(text) | 1 << 31)

    encoded = [(name.encode(), value.encode()) for name, value in items]
    return b"".join(length(n) + length(v) + n + v for n, v in encoded)


def parsed_pairs(data):
    """The other way round."""
    def length(at):
        long = data[at] >> 7
        return (struct.unpack_from("!I", data, at)[0] & 0x7fffffff, at + 4) if long else (data[at], at + 1)

    found, at = {}, 0
    while at < len(data):
        name_length, at = length(at)
        value_length, at = length(at)
        name_end = at + name_length
        found[data[at:name_end].decode()] = data[name_end:name_end + value_length].decode("latin-1")
        at = name_end + value_length
    return found


def request(method, path, body=b"", number=1, keep=True, **params):
    """A whole request. CONTENT_LENGTH is the body's unless `params` says otherwise; None: without this param."""
    variables = {"REQUEST_METHOD": method, "SCRIPT_NAME": path, "CONTENT_LENGTH": str(len(body)), **params}
    variables = {name: value for name, value in variables.items() if value is not None}
    return (begin(number, keep) + stream(PARAMS, pairs(variables.items()), number)
            + stream(STDIN, body, number))


def parts(method, path, body=b"", **params):
    """A request's records in their order: name, type and content of each, the streams in one record each."""
    variables = {"REQUEST_METHOD": method, "SCRIPT_NAME": path, "CONTENT_LENGTH": str(len(body)), **params}
    return [("FCGI_BEGIN_REQUEST", BEGIN, struct.pack("!HB5x", RESPONDER, KEEP_CONN)),
            ("FCGI_PARAMS", PARAMS, pairs(variables.items())), ("the empty FCGI_PARAMS", PARAMS, b""),
            ("FCGI_STDIN", STDIN, body), ("the empty FCGI_STDIN", STDIN, b"")]


def message(text):
    """The JSON body that carries this message."""
    return json.dumps({"message": text}, ensure_ascii=False).encode()


# ---- replies ----

class Reply(collections.namedtuple("Reply", "number out err app_status protocol_status")):
    """An answered request: its streams, and the numbers of FCGI_END_REQUEST."""

    @property
    def head(self):
        lines = self.out.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def status(self):
        return int(self.head.get("status", "0").split(" ")[0])

    @property
    def body(self):
        return self.out.partition(b"\r\n\r\n")[2]

    @property
    def json(self):
        return json.loads(self.body)


def answers(data):
    """The answers that are whole in these bytes, and those bytes of the next one's streams that are there already."""
    found, streams, at = [], {STDOUT: b"", STDERR: b""}, 0
    while len(data) - at >= 8:
        kind, number, length, padding = struct.unpack("!xBHHBx", data[at:at + 8])
        content = bytes(data[at + 8:at + 8 + length])
        if len(data) - at < 8 + length + padding:
            return found, streams[STDOUT] + streams[STDERR] + content
        if kind == END:
            found.append(Reply(number, streams[STDOUT], streams[STDERR], *struct.unpack("!IB3x", content)))
            streams = {STDOUT: b"", STDERR: b""}
        elif kind in streams:
            streams[kind] += content
        at += 8 + length + padding
    return found, streams[STDOUT] + streams[STDERR] + bytes(data[at:])


class Closed(Exception):
    """The service closed the connection where bytes were expected."""


def connect(address):
    """A socket connected to a Unix socket's path, or to HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if colon and "/" not in address:
        return socket.create_connection((host, int(port)), WAIT)
    connected = socket.socket(socket.AF_UNIX)
    # For connect, which on a Unix socket fails at once where it may not wait for room in the backlog (unix(7)).
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", WAIT, 0))
    connected.connect(address)
    connected.settimeout(WAIT)
    return connected


def listens(address):
    """Whether somebody listens at the address. A Unix socket's path alone does not tell: it is there from bind() on."""
    try:
        connect(address).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


class Peer:
    """A connection to a service. Closes with `with`, or when nobody holds it any more."""

    def __init__(self, address):
        self.socket = connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, size=65536):
        """Up to `size` bytes; none at the end, also when it comes as a reset."""
        try:
            return self.socket.recv(size)
        except ConnectionResetError:
            return b""

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.receive(size - len(data))
            if not piece:
                raise Closed(f"closed after {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    def whole_record(self):
        """The next record: its type, its request's number, its content, and the bytes that should all be zero."""
        head = self.exactly(8)
        _, kind, number, length, padding = struct.unpack("!BBHHBx", head)
        rest = self.exactly(length + padding)
        return kind, number, rest[:length], head[7:] + rest[length:]

    def record(self):
        """The next record: its type, its request's number, its content."""
        return self.whole_record()[:3]

    def reply(self):
        """All records to the end of the next answer."""
        streams = {STDOUT: bytearray(), STDERR: bytearray()}
        while True:
            kind, number, content = self.record()
            if kind == END:
                ends = struct.unpack("!IB3x", content)
                return Reply(number, bytes(streams[STDOUT]), bytes(streams[STDERR]), *ends)
            streams[kind] += content

    def call(self, method, path, body=b"", **options):
        self.send(request(method, path, body, **options))
        return self.reply()

    def is_closed(self, within):
        """Whether the service closes the connection within so many seconds; what it says before is passed over."""
        deadline = time.monotonic() + within
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.receive():
                    return True
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(WAIT)
        return False


def call(path, method, script, body=b"", **options):
    """One request on a connection of its own."""
    with Peer(path) as peer:
        return peer.call(method, script, body, **options)


# ---- the command ----

def arguments():
    parser = argparse.ArgumentParser(description="A FastCGI web server for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    ready = commands.add_parser("ready", help="whether the service answers GET /_health")
    ready.add_argument("socket")
    listening = commands.add_parser("listens", help="whether somebody listens there")
    listening.add_argument("socket")
    one = commands.add_parser("call", help="one request; prints the CGI response")
    one.add_argument("socket")
    one.add_argument("method")
    one.add_argument("path")
    one.add_argument("--body", default="", help="the body's text; - reads standard input")
    one.add_argument("--param", action="append", default=[], metavar="NAME=VALUE",
                     help="NAME alone: without it")
    one.add_argument("--keep", action="store_true", help="ask the service to keep the connection")
    return parser.parse_args()


def main():
    given = arguments()
    if given.command == "ready":
        return 0 if call(given.socket, "GET", "/_health").status == 200 else 1
    if given.command == "listens":
        return 0 if listens(given.socket) else 1
    body = sys.stdin.buffer.read() if given.body == "-" else given.body.encode()
    params = {name: value if equals else None for name, equals, value in (param.partition("=") for param in given.param)}
    reply = call(given.socket, given.method, given.path, body, keep=given.keep, **params)
    sys.stdout.buffer.write(reply.out)
    sys.stderr.buffer.write(reply.err)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, Closed) as problem:
        sys.exit(f"fcgi.py: {problem or type(problem).__name__}")
