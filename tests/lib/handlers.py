"""The service of tests/handlers/service.c against its tables, by FastCGI or as a plain CGI program.

    handlers.py answers|bodies fastcgi|cgi WHERE TABLE      WHERE: the socket, or the program
    handlers.py gate SOCKET PID FIFO LOG                    a handler at work when SIGTERM comes
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import fcgi
from cgi import check_each, expand, expect, expect_match, rows

KEPT = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LIFE", "MAX_BODY_BYTES")


class Answer(fcgi.Reply):
    """What came back, and what a CGI program wrote to its log meanwhile."""
    log = ""

    @property
    def lines(self):
        return self.out.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape").split("\r\n")


def by_fastcgi(where, variables, body):
    with fcgi.Peer(where) as peer:
        peer.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, fcgi.pairs(variables.items())))
        try:
            peer.send(fcgi.stream(fcgi.STDIN, body))
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered before it was all sent
        return Answer(*peer.reply())


def by_cgi(where, variables, body):
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | variables
    done = subprocess.run([where], input=body, env=environment, capture_output=True, check=False)
    expect(0, done.returncode, "exit status")
    answer = Answer(0, done.stdout, b"", 0, 0)
    answer.log = done.stderr.decode()
    return answer


def variables_of(column):
    pairs = (variable.split("=", 1) for variable in expand(column).decode().split(" ") if variable)
    return dict(pairs)


def expect_response(answer, status, pattern):
    """A whole response of this status line; its body, or a problem's detail, is the pattern from end to end."""
    expect(f"Status: {status}", answer.lines[0], "status line")
    code, _, title = status.partition(" ")
    body = answer.body
    if answer.head.get("content-type") == "application/problem+json" and body:
        problem = json.loads(body.decode())
        expect({"type": "about:blank", "title": title, "status": int(code), "detail": problem["detail"]}, problem, "problem")
        body = problem["detail"].encode()
    expect(True, re.fullmatch(expand(pattern), body, re.DOTALL) is not None, f"{pattern:.200} matches {body!r:.200}")


def expect_length(answer, method, whole):
    """Content-Length: none for a 204 and a 304; of a HEAD the length that GET has."""
    length = answer.head.get("content-length")
    if answer.status in (204, 304):
        expect(None, length, "Content-Length")
    elif method == "HEAD":
        expect(str(len(whole().body)), length, "Content-Length of a HEAD")
    else:
        expect(str(len(answer.body)), length, "Content-Length")


def expect_log(pattern, log):
    """The pattern in one of the lines, each of which is JSON; without a pattern there are none."""
    for line in log.splitlines():
        json.loads(line)
    if pattern:
        expect_match(pattern, log, "log")
    else:
        expect("", log, "log")


def check_answers(call, where, table):
    def check(method, path, variables, body, status, content_type, fields, pattern, log):
        given = {"REQUEST_METHOD": method, "SCRIPT_NAME": path, "CONTENT_LENGTH": str(len(expand(body))),
                 **variables_of(variables)}
        answer = call(where, given, expand(body))
        expect_response(answer, status, pattern)
        expect_length(answer, method, lambda: call(where, given | {"REQUEST_METHOD": "GET"}, expand(body)))
        lines = [line for line in answer.lines[1:] if not line.startswith("Content-Length: ")]
        wanted = [f"Content-Type: {content_type}"] if content_type else []
        expect(wanted + [expand(field).decode() for field in fields.split(" | ") if field], lines, "headers")
        if call is by_cgi:
            expect_log(log, answer.log)

    return check_each(rows(table), check)


def check_bodies(call, where, table):
    def check(variables, body, fastcgi, cgi):
        code, _, pattern = (fastcgi if call is by_fastcgi else cgi).partition(" ")
        title = {"200": "OK", "400": "Bad Request", "413": "Content Too Large"}[code]
        answer = call(where, {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/body", **variables_of(variables)}, expand(body))
        expect_response(answer, f"{code} {title}", "" if pattern == "-" else pattern)

    return check_each(rows(table), check)


def check_gate(path, pid, fifo, log):
    """SIGTERM while a handler is at work: its answer is still given."""
    with fcgi.Peer(path) as peer:
        peer.send(fcgi.request("GET", "/gate"))
        with open(fifo, "w", encoding="ascii"):  # opens once the handler reads it, which ends when this is closed
            os.kill(int(pid), signal.SIGTERM)
            deadline = time.monotonic() + fcgi.WAIT
            while "draining" not in open(log, encoding="utf-8").read():
                expect(True, time.monotonic() < deadline, "draining after SIGTERM")
                time.sleep(0.02)
        expect(b"through", peer.reply().body, "the answer")
    return 0


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    try:
        if what == "gate":
            sys.exit(check_gate(*rest))
        sys.exit(globals()["check_" + what](globals()["by_" + rest[0]], *rest[1:]))
    except AssertionError as fault:
        sys.exit(str(fault))
