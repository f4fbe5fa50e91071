#!/usr/bin/env python3
"""An HTTP server behind nginx that answers when it is told to, for tests of who has its turn when. Standard library only.

usage: gate.py SOCKET FOLDER

Each request's path is a line of FOLDER/arrived. It is answered once FOLDER/open exists, or FOLDER/open-NAME where its path
ends with /NAME: a 200 with the path, or with N bytes where it is called with ?bytes=N.
"""

import os
import socketserver
import sys
import threading
import time

FOLDER = sys.argv[2]
LOCK = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        length = 0
        while (line := self.rfile.readline().strip()):
            name, _, value = line.decode().partition(": ")
            if name.lower() == "content-length":
                length = int(value)
        self.rfile.read(length)
        with LOCK, open(f"{FOLDER}/arrived", "a", encoding="ascii") as arrived:
            arrived.write(path + "\n")
        own = f"{FOLDER}/open-{path.rsplit('/', 1)[1]}"
        while not os.path.exists(f"{FOLDER}/open") and not os.path.exists(own):
            time.sleep(0.01)
        body = b"x" * int(path.partition("=")[2]) if "?bytes=" in path else path.encode()
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # nginx has closed: its client has gone


Server(sys.argv[1], Handler).serve_forever()
