"""A service called as a plain CGI program (RFC 3875), and checked against tables of cases.

    cgi.py call NAME METHOD PATH [VARIABLE=VALUE...] < BODY     prints the CGI response
    cgi.py CHECK [TABLE]                                        one of the check_ functions below

A table has a case a line: columns between tabs, "-" for an empty one, # before a comment. In a column
<<X x N>> stands for N times X, and \\xHH for the byte HH; all else, JSON's own escapes too, is sent as it stands.
"""

import functools
import json
import os
import re
import subprocess
import sys

from fcgi import Reply, message

OURS = {"THREADS", "MAX_BODY_BYTES", "MAX_BUFFERED_BYTES", "LOG_LEVEL", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO",
        "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONTENT_ENCODING", "HTTP_X_REQUEST_ID"}
ENDPOINTS = [("app", "/api"), ("transform", "/reverse"), ("transform", "/reverse/message")]
API_REPLY = re.compile(rb'\{"message":<!--# include virtual="/reverse/message" -->,"rand":([0-9.]+)\}')


def call(service, method, path, body=b"", **variables):
    """One request. Anything on standard error, or an exit status that is not 0, is a fault."""
    program = os.path.join(os.environ["BUILD_DIR"], "cgi-" + service)
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment |= {"REQUEST_METHOD": method, "SCRIPT_NAME": path, "CONTENT_LENGTH": str(len(body)), **variables}
    done = subprocess.run([program], input=body, env=environment, capture_output=True, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"exit status {done.returncode}, standard error: {done.stderr.decode(errors='replace')}")
    return Reply(0, done.stdout, done.stderr, 0, 0)


@functools.cache
def transformed(body):
    """What transform makes of this body: the JSON value. Tests that are not transform's own ask this rather than know it."""
    return call("transform", "POST", "/reverse/message", body, MAX_BODY_BYTES="50000000").json


# ---- tables ----

def expand(text):
    text = re.sub(r"<<(.+?) x (\d+)>>", lambda match: match[1] * int(match[2]), text)
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())


def rows(table):
    with open(table, encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield ["" if column == "-" else column for column in re.split(r"\t+", line.rstrip("\n"))]


def expect(expected, actual, what):
    if expected != actual:
        raise AssertionError(f"{what}\n    expected: {expected!r:.300}\n    actual:   {actual!r:.300}")


def expect_match(pattern, text, what):
    if not re.search(pattern, text):
        raise AssertionError(f"{what}\n    expected a match of: {pattern}\n    actual: {text!r:.300}")


def expect_problem(status, detail, reply):
    """RFC 9457, with its four members, a detail that fits the pattern and nothing else."""
    expect(status, reply.status, "status")
    expect("application/problem+json", reply.head["content-type"], "content type")
    expect(str(len(reply.body)), reply.head["content-length"], "content length")
    expect(["detail", "status", "title", "type"], sorted(reply.json), "members")
    expect(status, reply.json["status"], "status in the body")
    expect_match(detail, reply.json["detail"], "detail")


def check_each(cases, check):
    """Run check(*case) for each; print those that fail, by their first column. Returns the exit status."""
    count, failed = 0, 0
    for title, *case in cases:
        count += 1
        try:
            check(*case)
        except AssertionError as problem:
            failed += 1
            print(f"{title}: {problem}")
    print(f"{count} cases, {failed} failed")
    return 0 if count and not failed else 1


# ---- checks ----

def check_refused(table):
    """title, body, pattern of the detail: a 400 at each place that takes a message."""
    def check(endpoint, body, detail):
        expect_problem(400, detail, call(endpoint[0], "POST", endpoint[1], expand(body)))

    return check_each(((f"{endpoint[1]}: {title}", endpoint, *case)
                       for title, *case in rows(table) for endpoint in ENDPOINTS), check)


def check_accepted(table):
    """title, body, the message in it as JSON: transform answers as to that message alone, and app takes it."""
    def check(body, held):
        sent, expected = expand(body), transformed(message(json.loads(expand(held))))
        expect({"message": expected}, call("transform", "POST", "/reverse", sent).json, "/reverse")
        expect(expected, call("transform", "POST", "/reverse/message", sent).json, "/reverse/message")
        app = call("app", "POST", "/api", sent)
        expect(200, app.status, "/api")
        expect(True, API_REPLY.fullmatch(app.body) is not None, f"/api's reply, which is {app.body}")

    return check_each(rows(table), check)


def check_lengths(table):
    """title, variables, body, status, pattern of the detail (of a 200: of the body)."""
    def check(variables, body, status, says):
        given = dict(variable.split("=", 1) for variable in variables.split())
        for service, path in ENDPOINTS:
            reply = call(service, "POST", path, expand(body), **given)
            expect(int(status), reply.status, path)
            if status != "200":
                expect_problem(int(status), says, reply)

    return check_each(rows(table), check)


def check_encodings(table):
    """title, CONTENT_TYPE, HTTP_CONTENT_ENCODING, body, status, pattern of the detail. Accept-Encoding is for codings alone."""
    def check(content_type, coding, body, status, says):
        for service, path in ENDPOINTS:
            reply = call(service, "POST", path, expand(body), CONTENT_TYPE=content_type, HTTP_CONTENT_ENCODING=coding)
            expect(int(status), reply.status, path)
            coded = status == "415" and re.match("a Content-Encoding|the body is compressed", reply.json["detail"])
            expect("identity" if coded else None, reply.head.get("accept-encoding"), "Accept-Encoding")
            if status != "200":
                expect_problem(int(status), says, reply)

    return check_each(rows(table), check)


def check_routes(table):
    """title, service, method, SCRIPT_NAME, PATH_INFO, status, Allow, pattern of the body."""
    def check(service, method, script_name, path_info, status, allow, says):
        reply = call(service, method, script_name, message("hello"), PATH_INFO=path_info)
        expect(int(status), reply.status, "status")
        expect(allow, reply.head.get("allow", ""), "Allow")
        if method == "HEAD":  # the length is told, the body not sent (RFC 3875, section 4.3.3)
            expect(b"", reply.body, "body")
            expect_match("^[1-9]", reply.head["content-length"], "content length")
            return
        expect_match(says, reply.body.decode(), "body")
        if int(status) >= 400:
            expect_problem(int(status), "", reply)

    return check_each(rows(table), check)


def check_reversed(table):
    """the message as JSON, reversed as JSON."""
    def check(given, expected):
        expect(json.loads(expand(expected)), transformed(b'{"message":' + expand(given) + b"}"), "reversed")

    return check_each(((given, given, expected) for given, expected in rows(table)), check)


def check_ascii():
    """Every length to 70, and CR LF at each place of some, against a model: characters backwards, a CR LF as one."""
    def check(text):
        expected = "".join(reversed(re.findall(r"\r\n|.", text, re.DOTALL)))
        expect(expected, transformed(message(text)), "reversed")

    letters = "".join(chr(ord("!") + i) for i in range(70))
    texts = [letters[:length] for length in range(71)]
    texts += [letters[:at] + "\r\n" + letters[at + 2:length]
              for length in (2, 7, 8, 9, 16, 17, 24, 70) for at in range(length - 1)]
    return check_each(((f"{text!r}", text) for text in texts), check)


def check_rand():
    """The reply of POST /api to its last byte; a number in [0, 1), another one each time."""
    numbers = []
    for _ in range(50):
        reply = call("app", "POST", "/api", message("hello"))
        match = API_REPLY.fullmatch(reply.body)
        expect("application/json", reply.head["content-type"], "content type")
        expect(True, match is not None, f"the reply fits, which is {reply.body}")
        numbers.append(float(match[1]))
    expect(50, len(set(numbers)), "numbers that differ")
    expect(True, all(0 <= number < 1 for number in numbers), f"in [0, 1): {numbers}")
    expect(True, any(number * 2**40 % 1 for number in numbers), "more than 40 bits")
    return 0


def command_call(service, method, path, *variables):
    given = dict(variable.split("=", 1) for variable in variables)
    sys.stdout.buffer.write(call(service, method, path, sys.stdin.buffer.read(), **given).out)
    return 0


if __name__ == "__main__":
    what = command_call if sys.argv[1] == "call" else globals()["check_" + sys.argv[1]]
    try:
        sys.exit(what(*sys.argv[2:]))
    except AssertionError as fault:
        sys.exit(str(fault))
