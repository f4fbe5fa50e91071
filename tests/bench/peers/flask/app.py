"""app of the peer "flask": calls transform by HTTP through nginx, as the original does."""

import os
import random

import requests
from flask import Flask, abort, jsonify

from checked import message

app = Flask(__name__)


@app.post("/api")
def api():
    reply = requests.post(os.environ["TRANSFORM_URL"], json={"message": message()}, timeout=30)
    if reply.status_code != 200:
        abort(502)
    return jsonify(message=reply.json()["message"], rand=random.random())
