#!/usr/bin/env python3
"""What bats needs of HTTP beside curl: raw bytes, half-sent requests, ports, checks of JSON. Standard library only.

usage: http.py free-port                      print a port that nothing listens on
       http.py raw PORT < BYTES               send the bytes, print what comes until the other side closes
       http.py problem STATUS < BODY          check RFC 9457's members, print the detail
       http.py half PORT COUNT GO-FILE        begin COUNT requests, print "begun" once the server has taken all, finish
                                              them when GO-FILE exists; print how many had the right answer
       http.py slow PORT GO-FILE              begin an upload, print "begun", send 8 KiB each half second, and the rest
                                              when GO-FILE exists; print the status
       http.py json-lines < LINES             check that each line is a JSON object; print how many
       http.py h2 TLS-PORT < LINES            HTTP/2: send a request of these headers, "name: value" a line, as they stand;
                                              return when there is an answer to it
       http.py tls-noise TLS-PORT             bytes that are no TLS, before and behind a handshake
"""

import json
import os
import random
import socket
import ssl
import struct
import sys
import time

from clients import connect, read_all


def free_port():
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                print(port)
                return
            except OSError:
                pass


def raw(port):
    with connect(port) as connection:
        connection.sendall(sys.stdin.buffer.read())
        sys.stdout.buffer.write(read_all(connection))


def problem(status):
    value = json.loads(sys.stdin.read())
    assert sorted(value) == ["detail", "status", "title", "type"], f"members: {sorted(value)}"
    assert value["status"] == int(status), f"status in the body: {value['status']}"
    assert value["title"] and value["detail"], "title or detail is empty"
    print(value["detail"])


def begin(port, request):
    """Returns a connection that has sent half of this, after the server has answered Expect: 100-continue."""
    connection = connect(port)
    connection.sendall(
        b"POST /api HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(request)
    )
    assert connection.recv(25).startswith(b"HTTP/1.1 100"), "no 100 Continue"
    connection.sendall(request[:5])
    return connection


def half(port, count, go_file):
    import sample  # runs a shell, which the other commands need not wait for

    connections = [begin(port, sample.REQUEST) for _ in range(int(count))]
    print("begun", flush=True)
    while not os.path.exists(go_file):
        time.sleep(0.02)
    for connection in connections:
        connection.sendall(sample.REQUEST[5:])
    replies = [read_all(connection) for connection in connections]
    print(sum(sample.is_right(reply.partition(b"\r\n\r\n")[2]) for reply in replies))


def slow(port, go_file):
    request = json.dumps({"message": "hello" * 150000}).encode()
    connection = begin(port, request)
    print("begun", flush=True)
    sent = 5
    while not os.path.exists(go_file):
        connection.sendall(request[sent : sent + 8192])  # admission wants 64 KiB in 5 s
        sent += 8192
        time.sleep(0.5)
    connection.sendall(request[sent:])
    print(read_all(connection).split(b" ")[1].decode())


def json_lines():
    lines = sys.stdin.read().splitlines()
    for line in lines:
        assert isinstance(json.loads(line), dict), line
    print(len(lines))


def literal(text):
    """As a literal of HPACK (RFC 7541, section 5.2), not compressed: of less than 127 bytes."""
    return bytes([len(text)]) + text


def frame(kind, flags, stream, content=b""):
    return struct.pack("!IBBI", len(content), kind, flags, stream)[1:] + content


def tls(port, protocols=("http/1.1",)):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(protocols)
    return context.wrap_socket(connect(port))


def h2(port):
    headers_frame, end_stream_and_headers, settings, reset, goaway = 1, 5, 4, 3, 7
    lines = [line.rsplit(b": ", 1) for line in sys.stdin.buffer.read().splitlines()]
    block = b"".join(b"\0" + literal(name) + literal(value) for name, value in lines)
    with tls(port, ["h2"]) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0)
                           + frame(headers_frame, end_stream_and_headers, 1, block))
        while head := answers.read(9):
            answers.read(int.from_bytes(head[:3], "big"))
            if head[3] in (headers_frame, reset, goaway):
                return


def shake_hands(connection):
    """By hand: what is sent behind it is not encrypted."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl._create_unverified_context().wrap_bio(received, to_send)
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(to_send.read())
            received.write(connection.recv(65536))
    connection.sendall(to_send.read())


def tls_noise(port):
    alert, handshake, unknown = b"\x15\3\3\0\2\1\0", b"\x16\3\3\0\5hello", b"\x63\3\3\0\2\1\0"
    too_long, wrong_mac = b"\x17\3\3\x50\0" + bytes(20480), b"\x17\3\3\0\x20" + bytes(32)
    for encrypted in (False, True):
        for data in (alert, handshake, unknown, too_long, wrong_mac, b"\x80\x2e\1\3\1" + bytes(44)):
            with connect(port) as connection:
                if encrypted:
                    shake_hands(connection)
                try:
                    connection.sendall(data)
                    read_all(connection)
                except OSError:
                    pass  # it is closed, and that is right


COMMANDS = {
    "free-port": free_port,
    "raw": raw,
    "problem": problem,
    "half": half,
    "slow": slow,
    "json-lines": json_lines,
    "h2": h2,
    "tls-noise": tls_noise,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
