"""What both services of the peer "flask" check of a request."""

from flask import abort, request


def message():
    """The message of the request's body; else the request ends with 400. The edge sends no Content-Type."""
    body = request.get_json(force=True)
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        abort(400, "send an object with a message that is a string")
    return body["message"]
