#!/usr/bin/env python3
"""The reader of messages against Python's json: the same verdict on each body, and the same text.

usage: json_reader.py PROGRAM [COUNT]    PROGRAM is tests/unit/message.c; COUNT bodies are made, 40,000 by default
       json_reader.py --show PROGRAM     what it says of the body on standard input

The bodies: those in tests/cases, the fuzzer's seeds, and COUNT made by a grammar, most of them changed a little or cut
off (always the same, the generator is seeded). What is nested deeper than the reader takes is left out: Python refuses it with
RecursionError, or takes it, by its version.

Beyond the verdict, the place in "at line L, column C (byte B)" is checked: line and column are those of the byte; and
what stands before that byte is faultless, it only ends too early.
"""

import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter

from cgi import expand, rows

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
WORDS = {"the JSON is not an object": "no object", "the object has no member": "no member",
         'the member "message" is not a string': "no string", "the body is empty": "empty"}
PLACE = re.compile(r"at line (\d+), column (\d+) \(byte (\d+)\)$")


# ---- Python's verdict ----

class Members(list):
    """An object, as pairs: of two members with one key both are looked at."""


def refuse(name):
    raise ValueError(f"{name} is not JSON")


def check_surrogates(value):
    """What json.loads() takes and UTF-8 cannot hold."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, (list, tuple)):
            stack.extend(value)


def judge(body):
    """What must come: ("text", the message) or (what is wrong, None)."""
    if not body:
        return "empty", None
    try:
        value = json.loads(body.decode(), object_pairs_hook=Members, parse_constant=refuse,
                           parse_int=lambda _: 0, parse_float=lambda _: 0)
        check_surrogates(value)
    except ValueError:  # UnicodeError and JSONDecodeError are
        return "not JSON", None
    if not isinstance(value, Members):
        return "no object", None
    messages = [member for key, member in value if key == "message"]
    if not messages:
        return "no member", None
    return ("text", messages[-1]) if isinstance(messages[-1], str) else ("no string", None)


# ---- our verdict ----

def ask(program, bodies):
    """For each: the status, and the message or the detail of the problem."""
    with tempfile.NamedTemporaryFile() as file:
        for body in bodies:
            file.write(struct.pack(">I", len(body)) + body)
        file.flush()
        out = subprocess.run([program, "--read", file.name], stdout=subprocess.PIPE, check=True).stdout
    at = 0
    for _ in bodies:
        status, size = struct.unpack_from(">II", out, at)
        says = out[at + 8:at + 8 + size].decode()
        at += 8 + size
        yield status, says if status == 200 else json.loads(says)["detail"]
    if at != len(out):
        sys.exit("there are more answers than bodies")


def ours(status, says):
    """In judge()'s words."""
    if status == 200:
        return "text", says
    if status == 415:  # not JSON in UTF-8, by its first bytes
        return "not JSON", None
    for words, verdict in WORDS.items():
        if says.startswith(words):
            return (verdict, None) if status == 400 else (says, status)
    return ("not JSON", None) if status == 400 and PLACE.search(says) else (says, status)


# ---- places ----

def check_place(body, detail):
    """Returns what is wrong with the place, or None."""
    line, column, byte = map(int, PLACE.search(detail).groups())
    if not 1 <= byte <= len(body):
        return "there is no such byte"
    before = body[:byte - 1]
    begin = before.rfind(b"\n") + 1
    expected = before.count(b"\n") + 1, len(body[begin:byte].decode(errors="replace"))
    if (line, column) != expected:
        return f"the byte is at line {expected[0]}, column {expected[1]}"
    if "ends too early" in detail and byte < len(body):
        return "that is not the end"
    return None


def before_fault(body, detail):
    """The bytes before the fault; a word is a fault as a whole."""
    return body[:int(PLACE.search(detail)[3]) - 1].rstrip(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_faultless(status, says):
    return "ends too early" in says or not (status == 400 and PLACE.search(says))


# ---- bodies ----

PLAIN = ["a", "bcd", "message", "12345678", "the quick brown fox jumps over ", "\x7f", " ", "{", "]", ":", ",", "/"]
BEYOND = ["é", "e\u0301", "日本語", "😀", "\u0080", "\u07ff", "\u0800", "\uffff", "\U0010ffff", "\ufeff", "\u2028"]
ESCAPED = [r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u00E9", r"\uD83d\udE00", r"\uffff"]
SCALARS = ["true", "false", "null", "0", "-0", "1", "-12", "3.25", "1e5", "-0.5E-7", "1E+999", "9" * 40, '""', "[]", "{}"]
KEYS = ['"message"', '"message"', r'"mess\u0061ge"', r'"\u006D\u0065\u0073\u0073\u0061\u0067\u0065"', '"Message"',
        r'"message\u0000"', '"messag"', '"messages"', '""', '"a"', r'"\""']
SPACE = ["", "", "", " ", "\n", "\t", "\r\n", "  "]
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"\0", b"\x01", b"\x1f", b"\n", b" ", b"\x0b", b"\x80", b"\xff",
          b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xef\xbb\xbf", b"\\ud800", b"\\udc00", b"\\udbff", b"\\udfff", b"\\u12",
          b"\\x", b"\\u", b"'", b"-", b"+", b"+-", b".", b"e", b"0", b"1", b"NaN", b"Infinity", b"nul", b"True", b"//", b"/**/"]


def make_escape(rng):
    """Any character but a surrogate."""
    return rng.choice(["\\u%04x", "\\u%04X"]) % rng.choice([rng.randrange(0xd800), rng.randrange(0xe000, 0x10000)])


def make_string(rng):
    escaped = [*ESCAPED, make_escape(rng)]
    pools = rng.choice([[PLAIN], [PLAIN, BEYOND], [PLAIN, BEYOND, escaped], [escaped]])
    return '"' + "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(6))) + '"'


def make_value(rng, depth):
    def spaced(text):
        return rng.choice(SPACE) + text + rng.choice(SPACE)

    kind = rng.randrange(8 if depth < 4 else 6)
    if kind < 3:
        return spaced(rng.choice(SCALARS))
    if kind < 6:
        return spaced(make_string(rng))
    values = [make_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return spaced("[" + ",".join(values) + "]")
    return spaced("{" + ",".join(spaced(rng.choice(KEYS)) + ":" + value for value in values) + "}")


def make_body(rng):
    if rng.randrange(10) == 0:
        body = make_value(rng, 0).encode()
    else:
        members = [rng.choice(KEYS) + ":" + make_value(rng, 1) for _ in range(rng.randrange(4))]
        members.insert(rng.randrange(len(members) + 1), rng.choice(KEYS[:4]) + ":" + make_string(rng))
        body = (rng.choice(SPACE) + "{" + ",".join(members) + "}" + rng.choice(SPACE)).encode()
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        at = rng.randrange(len(body) + 1)
        body = rng.choice([lambda: body[:at] + rng.choice(PIECES) + body[at:],
                           lambda: body[:at] + body[at + rng.randrange(1, 4):],
                           lambda: body[:at] + bytes([rng.randrange(256)]) + body[at + 1:],
                           lambda: body[:at]])()
    return body


def written_bodies():
    """Those that somebody has written down."""
    for table in "accepted.tsv", "refused.tsv":
        for case in rows(os.path.join(TESTS, "cases", table)):
            yield expand(case[1])
    for given, _ in rows(os.path.join(TESTS, "cases", "reversed.tsv")):
        yield b'{"message":' + expand(given) + b"}"
    for name in sorted(glob.glob(os.path.join(TESTS, "fuzz", "seeds", "message", "*"))):
        with open(name, "rb") as file:
            yield file.read()


def long_bodies():
    """Each piece at each place of a long string: the reader goes over those by blocks of 64 bytes."""
    for piece in [*PIECES, *(text.encode() for text in BEYOND + ESCAPED)]:
        for at in range(140):
            yield b'{"message":"%s%s%s"}' % (b"x" * at, piece, b"x" * (140 - at))


# ---- comparing ----

def compare(program, bodies):
    """Print the first disagreements. Returns how many bodies had which verdict, and how many disagreements there are."""
    faults, verdicts, cuts = 0, Counter(), []

    def complain(body, what):
        nonlocal faults
        faults += 1
        if faults <= 10:
            print(f"{body[:300]}\n    {what}")

    for body, (status, says) in zip(bodies, ask(program, bodies)):
        if "nested too deep" in says and body.count(b"[") + body.count(b"{") > 2048:
            continue
        try:
            expected = judge(body)
        except RecursionError:
            continue
        verdicts[expected[0]] += 1
        actual = ours(status, says)
        if expected != actual:
            complain(body, f"expected: {expected}\n    actual:   {actual}, {says}")
        elif actual[0] == "not JSON" and status == 400:
            wrong = check_place(body, says)
            if wrong:
                complain(body, f"{says}: {wrong}")
            if "ends too early" not in says:
                cuts.append((body, says))
    befores = [before_fault(*cut) for cut in cuts]
    for (body, says), before in zip(cuts, ask(program, befores)):
        if not is_faultless(*before):
            complain(body, f"{says}, but what is before that: {before[1]}")
    return verdicts, faults


def main(program, count=40000):
    rng = random.Random(11)
    written = list(written_bodies())
    verdicts, faults = compare(program, [*written, *long_bodies()] + [make_body(rng) for _ in range(int(count))])
    print(f"{verdicts.total()} bodies compared with Python's json, {len(written)} of them written by hand, "
          f"{faults} faults: {dict(verdicts)}")
    return 0 if verdicts["text"] > int(count) / 10 and not faults else 1


if __name__ == "__main__":
    if sys.argv[1] == "--show":
        print(*next(ask(sys.argv[2], [sys.stdin.buffer.read()])))
    else:
        sys.exit(main(*sys.argv[1:]))
