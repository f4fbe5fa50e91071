"""Services that answer wrongly in every way, and the clients that get these answers; called from wrong-answers.bats.

    wrong_answers.py answers RUN_DIR PORT CASES SERVICE    each answer of CASES by SERVICE, app or transform
    wrong_answers.py boundaries RUN_DIR PORT               frames whose tag lies across the borders of buffers and records
    wrong_answers.py names                                 the answers that there are, one a line

It listens in the place of app and transform in RUN_DIR. Behind each answer the next one has to be right, on the same connection
of the client. Fails with all that was not as expected.
"""

import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
import fcgi  # noqa: E402
import parts  # noqa: E402

BOUND = 20  # seconds; an end to waiting, and never what is measured
TAG = b'<!--# include virtual="/reverse/message" -->'
FRAME = b'{"message":%s,"rand":0.5}'
BODIES = {"app": FRAME % TAG, "transform": b'"whole"'}
RIGHT = FRAME % BODIES["transform"]
LIMIT = 4_000_000 + 65536  # of the bytes of an answer, with MAX_BODY_BYTES as in wrong-answers.bats
REQUEST = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" + b'{"message":""}'

# ---- what a service does behind the bytes that it sends, unless it waits for the next request ----

CLOSE, SILENCE, HOLD, ENDLESS = "close", "silence", "until released", "the last bytes again and again"


# ---- answers: each is given a body that would be right, and returns what is sent ----

HEAD = b"Status: 200 OK\r\nContent-Type: application/json\r\n"
END = parts.END


def end(content):
    return fcgi.record(fcgi.END, content)


def stdout(body, fields=b"", head=HEAD, **options):
    return parts.stdout(head + fields, body, **options)


def whole(*arguments, **options):
    return stdout(*arguments, **options) + END


def bare(data):
    """Without a word about the head."""
    return fcgi.stream(fcgi.STDOUT, data) + END


def status(code, fields=b""):
    return lambda body: [whole(body, head=b"Status: " + code + b"\r\n" + fields)]


def field(text):
    return lambda body: [whole(body, text + b"\r\n")]


def records(body, size, padding):
    """In records of so many bytes, with so much padding."""
    return stdout(b"", ended=False) + b"".join(
        fcgi.record(fcgi.STDOUT, body[at:at + size], padding=padding) for at in range(0, len(body), size)) + END


def stderr(size):
    return fcgi.stream(fcgi.STDERR, b"warning\n" * (size // 8), ended=False)


def numbered(number, version=1):
    """The right bytes in records of another request, or of another version of FastCGI."""
    return lambda body: [fcgi.record(fcgi.STDOUT, HEAD + b"\r\n" + body, number, version)
                         + fcgi.record(fcgi.END, bytes(8), number, version)]


def unknown(kind):
    return lambda body: [stdout(body, ended=False) + fcgi.record(kind, b"what") + END]


def tag(path):
    """A frame that has the tag to that path."""
    return lambda body: [whole(FRAME % TAG.replace(b"/reverse/message", path))]


def with_length(difference):
    return lambda body: [whole(body, b"Content-Length: %d\r\n" % (len(body) + difference))]


ANSWERS = {
    # right, whatever it looks like
    "right": lambda body: [whole(body)],
    "with its length": with_length(0),
    "no status": lambda body: [whole(body, head=b"Content-Type: application/json\r\n")],
    "lines end with LF": lambda body: [bare(b"Status: 200 OK\nContent-Type: application/json\n\n" + body)],
    "a byte a record": lambda body: [records(body, 1, b"")],
    "much padding": lambda body: [records(body, 3, b"\xff" * 255)],
    "an empty record within": lambda body: [stdout(body[:5]) + fcgi.stream(fcgi.STDOUT, body[5:]) + END],
    "no empty record": lambda body: [stdout(body, ended=False) + END],
    "stderr before": lambda body: [stderr(64) + whole(body)],
    "a flood of stderr before": lambda body: [stderr(300_000) + whole(body)],
    "a flood of stderr within": lambda body: [stdout(body[:5], ended=False) + stderr(300_000)
                                              + fcgi.stream(fcgi.STDOUT, body[5:]) + END],
    "stderr between the head's bytes": lambda body: [b"".join(
        fcgi.record(fcgi.STDOUT, (HEAD + b"\r\n")[at:at + 1]) + stderr(8) for at in range(len(HEAD) + 2))
        + fcgi.stream(fcgi.STDOUT, body) + END],
    "an application's status": lambda body: [stdout(body) + end(b"\0\0\0\7" + bytes(4))],
    "a protocol's status": lambda body: [stdout(body) + end(bytes(4) + b"\1" + bytes(3))],
    "a short end": lambda body: [stdout(body) + end(b"")],
    "a long end": lambda body: [stdout(body) + end(bytes(300))],
    "Transfer-Encoding": field(b"Transfer-Encoding: chunked"),
    "Connection": field(b"Connection: close\r\nKeep-Alive: timeout=1"),
    "X-Accel-Redirect": field(b"X-Accel-Redirect: /"),
    "X-Accel-Redirect to itself": field(b"X-Accel-Redirect: /api"),
    "X-Accel-Redirect to what is internal": field(b"X-Accel-Redirect: /_health/each"),
    "X-Accel-Buffering": field(b"X-Accel-Buffering: no"),
    "X-Accel-Limit-Rate": field(b"X-Accel-Limit-Rate: 1"),
    # cut
    "nothing": lambda body: [CLOSE],
    "half of a record's head": lambda body: [whole(body)[:3], CLOSE],
    "half of a record": lambda body: [whole(body)[:-len(END) - 20], CLOSE],
    "half of its padding": lambda body: [fcgi.record(fcgi.STDOUT, HEAD + b"\r\n" + body, padding=bytes(9))[:-4], CLOSE],
    "half of its end": lambda body: [whole(body)[:-4], CLOSE],
    "no end": lambda body: [stdout(body), CLOSE],
    "half of the head": lambda body: [fcgi.stream(fcgi.STDOUT, HEAD, ended=False), CLOSE],
    "half of the body": lambda body: [stdout(body[:-3], ended=False), CLOSE],
    "half of the body with its length": lambda body: [
        stdout(body[:-3], b"Content-Length: %d\r\n" % len(body), ended=False), CLOSE],
    # silent
    "silence": lambda body: [SILENCE],
    "a part of the head, silence": lambda body: [fcgi.stream(fcgi.STDOUT, HEAD, ended=False), SILENCE],
    "the head, silence": lambda body: [stdout(b"", ended=False), SILENCE],
    "a part of the body, silence": lambda body: [stdout(body[:-3], ended=False), SILENCE],
    "all but the end, silence": lambda body: [stdout(body), SILENCE],
    # no FastCGI
    "an end alone": lambda body: [END],
    "an end that says overloaded": lambda body: [end(bytes(4) + b"\2" + bytes(3))],
    "another request's": numbered(2),
    "a far request's": numbered(257),
    "about no request": numbered(0),
    "version 0": numbered(1, 0),
    "version 2": numbered(1, 2),
    "HTTP": lambda body: [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + body],
    "a record of type 0": unknown(0),
    "FCGI_BEGIN_REQUEST": unknown(fcgi.BEGIN),
    "FCGI_DATA": unknown(fcgi.DATA),
    "FCGI_UNKNOWN_TYPE": unknown(fcgi.UNKNOWN_TYPE),
    "a record of type 255": unknown(255),
    "more behind the end": lambda body: [whole(body) + stdout(b"more")],
    "two ends": lambda body: [whole(body) + END],
    "two answers": lambda body: [whole(body) * 2],
    # no head
    "no head": lambda body: [bare(body)],
    "a head of no lines": lambda body: [bare(b"\r\n" + body)],
    "a head without an end": lambda body: [bare(HEAD)],
    "a line without a colon": lambda body: [bare(b"nonsense\r\n\r\n" + body)],
    "a line with a NUL": field(b"X: a\0b"),
    "a head that is too long": field(b"X: " + b"x" * 70_000),
    "many lines": field(b"\r\n".join(b"X-%d: x" % at for at in range(10_000))),
    # what it says is not so
    "longer than it said": with_length(-1),
    "shorter than it said": with_length(1),
    "it said none": field(b"Content-Length: 0"),
    "it said less than none": field(b"Content-Length: -1"),
    "it said no number": field(b"Content-Length: seven"),
    "it said too much": field(b"Content-Length: 1" + b"0" * 17),
    "it said more than there is a number for": field(b"Content-Length: 1" + b"0" * 30),
    "two lengths": lambda body: [whole(body, b"Content-Length: %d\r\nContent-Length: 3\r\n" % len(body))],
    "encoded": field(b"Content-Encoding: gzip"),
    "larger than what is taken": lambda body: [whole(body.ljust(LIMIT + 1))],
    "without an end": lambda body: [stdout(body, ended=False), fcgi.stream(fcgi.STDOUT, b" " * 60_000, ended=False), ENDLESS],
    "empty": lambda body: [whole(b"")],
    "a location": lambda body: [whole(body, head=b"Location: /\r\n")],
    # statuses
    "no number as a status": status(b"abc"),
    "an empty status": status(b""),
    "a status of two digits": status(b"20 OK"),
    "a status of four digits": status(b"2000 OK"),
    "status 000": status(b"000 None"),
    "status 099": status(b"099 Less"),
    "status 100": status(b"100 Continue"),
    "status 101": status(b"101 Switching Protocols"),
    "status 103": status(b"103 Early Hints"),
    "status 199": status(b"199 More"),
    "status 201": status(b"201 Created"),
    "status 204, no body": lambda body: [whole(b"", head=b"Status: 204 No Content\r\n")],
    "status 304, no body": lambda body: [whole(b"", head=b"Status: 304 Not Modified\r\n")],
    "status 204": status(b"204 No Content"),
    "status 204 with a length": status(b"204 No Content", b"Content-Length: 7\r\n"),
    "status 205": status(b"205 Reset Content"),
    "status 206": status(b"206 Partial Content"),
    "status 301": status(b"301 Moved Permanently"),
    "status 304": status(b"304 Not Modified"),
    "status 400": status(b"400 Bad Request"),
    "status 401": status(b"401 Unauthorized"),
    "status 404": status(b"404 Not Found"),
    "status 408": status(b"408 Request Timeout"),
    "status 418": status(b"418 I am a teapot"),
    "status 444": status(b"444 Close"),
    "status 499": status(b"499 Closed"),
    "status 500": status(b"500 Internal Server Error"),
    "status 503": status(b"503 Service Unavailable"),
    "status 600": status(b"600 Far"),
    "status 999": status(b"999 Far"),
    # frames
    "no tag": lambda body: [whole(RIGHT)],
    "200 tags": lambda body: [whole(TAG * 200)],
    "a tag to nowhere": tag(b"/nowhere/message"),
    "a tag to /api": tag(b"/api"),
    "a tag to /app/api": tag(b"/app/api"),
    "a tag to /_problem": tag(b"/_problem"),
    "a tag to /_problem/400": tag(b"/_problem/400"),
    "a tag to /_health/each": tag(b"/_health/each"),
    "a tag to /_health": tag(b"/_health"),
    "a tag to /_metrics": tag(b"/_metrics"),
    "a tag upwards": tag(b"/../message"),
    "a tag with an escaped NUL": tag(b"/reverse%00"),
    "a tag with a NUL": tag(b"/reverse\0"),
    "a tag to no path": tag(b""),
    "a tag to a long path": tag(b"/reverse/" + b"x" * 60_000),
    "a tag in a tag": tag(b"/reverse/" + TAG),
    "a tag without an end": lambda body: [whole(body[:-len(b' -->,"rand":0.5}')])],
    "the beginning of a tag": lambda body: [whole(RIGHT + TAG[:20])],
    "a tag behind one without an end": lambda body: [whole(TAG + TAG[:-4])],
}


# ---- the services ----


class Service(parts.Service):
    """Answers what it is asked as its server says at that moment, and any path but its own with 404."""

    def answer(self):
        params, keep = self.asked()
        if params is None:
            return False
        server = self.server
        if params["SCRIPT_NAME"] != server.path:
            self.request.sendall(whole(b'"none"', head=b"Status: 404 Not Found\r\n"))
            return keep
        steps = server.steps
        server.asked.release()
        return self.act(steps) and keep

    def act(self, steps):
        """Whether the connection goes on."""
        sent = b""
        for step in steps:
            if step == CLOSE:
                return False
            if step == SILENCE:
                return bool(self.file.read(1))  # until nginx has closed
            if step == HOLD:
                self.server.released.wait(BOUND)
            while step == ENDLESS:
                self.request.sendall(sent)  # until nginx has closed, too
            if isinstance(step, bytes):
                sent = step
                self.request.sendall(sent)
        return True


class Fake(parts.Server):
    """In the place of app, or of transform."""

    def __init__(self, run_dir, service):
        path = f"{run_dir}/{service}-blue-1.sock"
        if os.path.exists(path):
            os.unlink(path)
        super().__init__(path, Service)
        self.path = {"app": "/api", "transform": "/reverse/message"}[service]
        self.body = BODIES[service]
        self.asked = threading.Semaphore(0)
        self.released = threading.Event()
        self.say("right")
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def say(self, name):
        self.name = name
        self.steps = ANSWERS[name](self.body)

    def hold(self, body=None):
        """Answer rightly, but not before release()."""
        self.asked = threading.Semaphore(0)
        self.released.clear()
        self.steps = [HOLD, whole(body or self.body)]

    def release(self):
        self.released.set()
        self.say("right")


def fakes(run_dir):
    return {service: Fake(run_dir, service) for service in BODIES}


# ---- the clients ----


class Wrong(Exception):
    """The answer is not what it had to be."""


def expect(expected, actual, what):
    if expected != actual:
        raise Wrong(f"{what}\n    expected: {expected}\n    actual:   {actual}")


class Client:
    """One kept connection. What comes on it is read to the last byte that belongs to an answer, and no more may come."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), BOUND)
        self.data = b""

    def more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Wrong(f"closed behind {self.data[:200]!r}")
        self.data += data

    def call(self):
        """The status, the type and the body of the answer."""
        self.socket.sendall(REQUEST)
        return self.receive()

    def receive(self):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
        code = lines[0].decode("latin-1")
        if not code.startswith("HTTP/1.1 ") or not code[9:12].isdigit() or code[12:13] not in ("", " "):
            raise Wrong(f"no status line: {code}")
        expect(b"keep-alive", fields.get(b"connection"), "Connection")
        code = code[9:12]
        if code[0] == "1":
            raise Wrong(f"no answer, but a {code}")
        length = 0 if code in ("204", "304") else int(fields[b"content-length"])
        while len(self.data) < length:
            self.more()
        body, self.data = self.data[:length], self.data[length:]
        return code, fields.get(b"content-type", b"").decode(), body

    def expect_right(self, what, body=RIGHT):
        code, _, got = self.call()
        expect(("200", body), (code, got), what)
        expect(b"", self.data, f"{what}: bytes behind it")


def expect_case(client, service, expected):
    """The answer is a right 200, a problem, or what the table says of it."""
    code, kind, body = client.call()
    expect(b"", client.data, "bytes behind the answer")
    if code not in expected.replace("any ", "").split():
        raise Wrong(f"expected: {expected}, not {code} {body[:200]!r}")
    if code in ("502", "504"):
        expect("application/problem+json", kind, f"Content-Type of {code}")
    elif code == "200" and "any" not in expected:
        expect(RIGHT if service.name != "200 tags" else BODIES["transform"] * 200, body, "body")


def cases(path, service):
    """Name and what is expected, of the lines that are about the service."""
    column = {"app": 1, "transform": 2}[service]
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    return [(line[0], line[column]) for line in lines if line[column] != "-"]


def answers(run_dir, port, path, name):
    services = fakes(run_dir)
    service, failed = services[name], []
    client = Client(port)
    client.expect_right("the first answer")
    for case, expected in cases(path, name):
        try:
            service.say(case)
            expect_case(client, service, expected)
            service.say("right")
            client.expect_right("the next answer on the same connection")
        except (Wrong, OSError, KeyError) as problem:
            failed.append(f"{name} answers {case}: {type(problem).__name__} {problem}")
            service.say("right")
            client = Client(port)
    return failed


def boundaries(run_dir, port):
    """The tag at each place around 4 and 32 KiB, and in two records that meet at each of its bytes."""
    app, client, failed = fakes(run_dir)["app"], Client(port), []
    for size in [*range(3900, 4110), *range(32600, 32800, 3), *range(65400, 65620, 7)]:
        app.steps = [whole(b" " * size + BODIES["app"])]
        client.expect_right(f"a tag behind {size} bytes", b" " * size + RIGHT)
    for at in range(len(BODIES["app"]) + 1):
        app.steps = [stdout(BODIES["app"][:at], ended=False) + fcgi.stream(fcgi.STDOUT, BODIES["app"][at:]) + END]
        client.expect_right(f"a record of {at} bytes of the frame")
    return failed


def names():
    print("\n".join(ANSWERS))
    return []


if __name__ == "__main__":
    problems = {function.__name__: function for function in (answers, boundaries, names)}[sys.argv[1]](*sys.argv[2:])
    sys.exit("\n".join(problems) if problems else 0)
