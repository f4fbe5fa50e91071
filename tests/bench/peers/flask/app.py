"""app of the peer "flask": calls transform by HTTP, as the original does, here through a unix socket."""

import os
import random
import socket

import requests
from flask import Flask, abort, jsonify
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from checked import message

app = Flask(__name__)


class UnixConnection(HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["TRANSFORM_SOCKET"])


class UnixPool(HTTPConnectionPool):
    ConnectionCls = UnixConnection


class UnixAdapter(HTTPAdapter):
    pool = UnixPool("transform")

    def get_connection(self, url, proxies=None):
        return self.pool


session = requests.Session()
session.trust_env = False  # no look for proxies at each call
session.mount("http://transform", UnixAdapter())


@app.post("/api")
def api():
    reply = session.post("http://transform/reverse", json={"message": message()}, timeout=30)
    if reply.status_code != 200:
        abort(502)
    return jsonify(message=reply.json()["message"], rand=random.random())
