"""Inputs for the fuzzers from the tables in tests/cases and from Unicode's own test, beside those in tests/fuzz/seeds.

    cases.py FOLDER     writes FOLDER/FUZZER/NAME, one file for each case; FOLDER is made, or made anew
"""

import json
import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from cgi import expand, rows  # noqa: E402 # tests/lib is not where this file is
from fcgi import request  # noqa: E402

LONGEST = 4096  # bytes: a case that is about megabytes is no seed
BREAKS = "/usr/share/unicode/auxiliary/GraphemeBreakTest.txt"


def table(name):
    return rows(os.path.join(HERE, "..", "cases", name))


def escaped(text):
    """The bytes of text with printf's escapes."""
    simple = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\"}
    return re.sub(rb"\\(?:x([0-9a-f]{2})|([ntr\\]))",
                  lambda found: bytes([int(found[1], 16)]) if found[1] else simple[found[2].decode()], text.encode())


def bodies():
    """Bodies of POST /api, good and bad."""
    for _, body, *_ in [*table("accepted.tsv"), *table("refused.tsv")]:
        yield expand(body)
    for body, *_ in table("bad-bodies.tsv"):
        yield escaped(body)
    for message, *_ in table("reversed.tsv"):
        yield b'{"message":' + expand(message) + b"}"


def texts():
    """Messages as a service reverses them, and the lines of GraphemeBreakTest.txt: "÷ 0061 × 0301 ÷ # …"."""
    for message, *_ in table("reversed.tsv"):
        yield json.loads(expand(message)).encode()
    with open(BREAKS, encoding="utf-8") as lines:
        for line in lines:
            codes = re.findall(r"[0-9A-F]{4,6}", line.partition("#")[0])
            if codes and not any("D800" <= code <= "DFFF" and len(code) == 4 for code in codes):
                yield "".join(chr(int(code, 16)) for code in codes).encode()


def variables():
    """Meta-variables a line, an empty line, the body."""
    def lines(method, script_name, body, *more):
        head = [f"REQUEST_METHOD={method}", f"SCRIPT_NAME={script_name}", f"CONTENT_LENGTH={len(body)}", *more]
        return "\n".join(head).encode() + b"\n\n" + body

    for _, _, method, script_name, path_info, *_ in table("routes.tsv"):
        yield lines(method, script_name, b'{"message":"ab"}', f"PATH_INFO={path_info}")
    for _, given, body, *_ in table("lengths.tsv"):
        yield lines("POST", "/api", expand(body), *given.split())
    for body in bodies():
        yield lines("POST", "/api", body)
        yield lines("POST", "/reverse", body)


def records():
    """Requests as a web server sends them."""
    for body in bodies():
        yield request("POST", "/echo", body)


def streams():
    """The same, and what the fuzzer of records begins with, for the fuzzer that answers them, too."""
    yield from records()
    folder = os.path.join(HERE, "seeds", "record")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            yield file.read()


SEEDS = {"message": bodies, "reverse": texts, "variables": variables, "record": records,
         "exchange": streams}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    for fuzzer, seeds in SEEDS.items():
        folder = os.path.join(sys.argv[1], fuzzer)
        os.makedirs(folder)
        short = [seed for seed in seeds() if len(seed) <= LONGEST]
        for number, seed in enumerate(short):
            with open(os.path.join(folder, f"case-{number:03}"), "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
