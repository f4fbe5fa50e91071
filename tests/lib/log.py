#!/usr/bin/env python3
"""Requests as nobody would send them, and what the access log must say of each. Standard library only.

usage: log.py send PORT TLS-PORT SEED COUNT > SENT    send so many; print each one's id, method, URI and user agent, as JSON
       log.py check SENT < LOG                        each line is strict JSON, of less than PIPE_BUF bytes, with what was sent
"""

import json
import random
import select
import socket
import ssl
import sys

METHODS = b"GET POST HEAD PUT DELETE PATCH OPTIONS TRACE M-SEARCH A_B get".split() + [b"X" * 5000]
PIECES = [b"\xe9", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xf0\x9f\x98\x80", b"\xe2\x82", b"\xff"]
PIECES += [b'"', b"\\", b"\\u0000", b"%00", b"\x7f", b"\t", b"a", b"/", b"?x=", b"'", b"}", b"b" * 50, b"\x01\x02\x1f"]
PIECES += [b"\xef\xbf\xbe", b"\xe2\x80\xa8"]
LONGEST = {"method": 48, "uri": 1024, "user_agent": 768}
BODIES = [b"", b'{"message": "ab"}', b"{", b"x" * 100000, None]  # None: one that is announced as too large


def text(dice, most):
    return b"".join(dice.choice(PIECES) for _ in range(dice.randrange(most)))


def request(dice, number):
    """Returns the bytes, and what is to be logged."""
    method = dice.choice(METHODS)
    uri = dice.choice([b"/api", b"/", b"/" + text(dice, dice.choice([3, 60, 800]))])
    uri = b"".join(bytes([byte]) for byte in uri if byte > 0x20 and byte != 0x7F)
    agent = text(dice, dice.choice([3, 60, 600])).strip(b" \t")
    body = dice.choice(BODIES)
    head = b"%s %s HTTP/1.1%s\r\nHost: x\r\nX-Request-ID: fuzz-%s\r\nUser-Agent: %s\r\nConnection: close\r\n" % (
        method, uri, b" " * dice.choice([0, 0, 0, 5, 3000]), number.encode(), agent)
    if body is None:
        head, body = head + b"Content-Length: 99999999\r\n", b""
    elif body:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"\r\n" + body, {"id": f"fuzz-{number}", "method": method, "uri": uri, "user_agent": agent}


def connect(dice, port, tls_port):
    if dice.random() < 0.2:
        context = ssl._create_unverified_context()
        return context.wrap_socket(socket.create_connection(("127.0.0.1", tls_port), 10))
    return socket.create_connection(("127.0.0.1", port), 10)


def send(port, tls_port, seed, count):
    print(f"seed {seed}", file=sys.stderr)
    dice = random.Random(int(seed))
    for number in range(int(count)):
        data, sent = request(dice, f"{seed}-{number}")
        with connect(dice, int(port), int(tls_port)) as connection:
            try:
                connection.sendall(data)
                if dice.random() < 0.9:  # else it leaves at once
                    connection.recv(65536)
            except OSError:
                pass
        print(json.dumps({name: value if name == "id" else value.decode("latin-1") for name, value in sent.items()}))


def as_logged(name, value):
    """As the log has these bytes, whole."""
    value = value.encode("latin-1")
    out = ""
    while value:
        for length in range(1, 5):
            try:
                out, value = out + value[:length].decode(), value[length:]
                break
            except UnicodeDecodeError:
                continue
        else:
            out, value = out + f"\\x{value[0]:02X}", value[1:]
    return out


def same(name, logged, sent):
    """The log has it whole, or the beginning of it when it is too long."""
    whole = as_logged(name, sent)
    if logged == whole:
        return True
    size = len(json.dumps(whole, ensure_ascii=False).encode("utf-8")) - 2
    return size > LONGEST[name] - 4 and logged.endswith("\u2026") and whole.startswith(logged[:-1])


def once(pairs):
    assert len(dict(pairs)) == len(pairs), f"a name twice: {pairs}"
    return dict(pairs)


def no_number(text):
    raise ValueError(f"not JSON: {text}")


def check(path):
    with open(path, encoding="utf-8") as file:
        sent = {value["id"]: value for value in map(json.loads, file)}
    found = 0
    for line in sys.stdin.buffer:
        assert len(line) <= select.PIPE_BUF, f"{len(line)} bytes: {line}"
        logged = json.loads(line.decode("utf-8"), object_pairs_hook=once, parse_constant=no_number)
        expected = sent.get(logged["request_id"])
        if expected is None:
            continue
        found += 1
        for name in LONGEST:
            assert same(name, logged[name], expected[name]), f"{name}: {expected[name]!r} is logged as {logged[name]!r}"
    print(found)


COMMANDS = {"send": send, "check": check}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
