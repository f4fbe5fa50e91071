"""transform of the peer "flask". Python has no grapheme clusters: it reverses by code point, which is less work."""

from flask import Flask, jsonify

from checked import message

app = Flask(__name__)


@app.post("/reverse")
def reverse():
    return jsonify(message=message()[::-1])
