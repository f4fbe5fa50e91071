"""Connections of a client to a server under test, for http.py and slow.py."""

import socket


def connect(port):
    """PORT: of loopback, or the path of a Unix socket."""
    if str(port).startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(port)
    else:
        connection = socket.create_connection(("127.0.0.1", int(port)))
    connection.settimeout(60)
    return connection


def read_all(connection):
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass  # what came before counts
    return data
