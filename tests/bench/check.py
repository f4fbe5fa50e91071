#!/usr/bin/env python3
"""The benchmark's programs against data with a known answer, for tests/bench.bats.

usage: check.py statistics             stats.py and report.py
       check.py messages FOLDER        what messages.py wrote there
       check.py stall OPENLOOP         the load generator, against a server that stalls once
"""

import glob
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stats

HERE = os.path.dirname(os.path.abspath(__file__))
RATE, SECONDS, STALL = 400, 1, 0.4


def expect(what, expected, actual):
    if expected != actual:
        sys.exit(f"{what}\n  expected: {expected}\n  actual:   {actual}")


def check_statistics():
    expect("median of an odd number", 3, stats.median([9, 1, 3]))
    expect("median of an even number", 2.5, stats.median([4, 1, 3, 2]))
    expect("quartiles", (2, 4), stats.quartiles([5, 1, 4, 2, 3]))
    expect("quartiles of two", (1, 9), stats.quartiles([9, 1]))
    # A slow second round changes both: their ratio, taken by round, stays 2 where that of the medians would not.
    expect("ratios", [2, 2, 2.5], stats.ratios({1: 200, 2: 20, 3: 250}, {1: 100, 2: 10, 3: 100}))
    expect("ratios without a round", [2], stats.ratios({1: 200, 2: 20}, {1: 100, 2: 0, 3: 5}))
    check_report()


def check_report():
    rounds = [("system", 1, 2000), ("go", 1, 1000), ("system", 2, 300), ("go", 2, 100), ("system", 3, 1000),
              ("go", 3, 1000), ("constant", 1, 2010), ("constant", 2, 299), ("constant", 3, 1000),
              ("hop", 1, 4000), ("hop", 2, 600), ("hop", 3, 2000)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as raw:
        for peer, number, requests in rounds:
            raw.write(json.dumps({"section": "throughput", "peer": peer, "round": number, "result": {
                "requests": requests, "seconds": 2, "errors": 0, "cpu": 0.1}}) + "\n")
        raw.flush()
        rate = subprocess.run([sys.executable, f"{HERE}/report.py", "rate", raw.name, "system"], check=True,
                              capture_output=True, text=True).stdout
        expect("rate", "500\n", rate)
        table = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE!r}); import report; "
                                f"raw = report.Raw({raw.name!r}); report.show_throughput(raw); report.show_targets(raw)"], check=True, capture_output=True,
                               text=True).stdout
    row = next(line.split() for line in table.splitlines() if line.split()[:1] == ["go"])
    doubts = [line.split(":")[1] for line in table.splitlines() if line.startswith("  doubt:")]
    expect("doubts", [" system and constant are within 1% in each round"], doubts)
    expect("targets", ["  32 clients, of one constant hop    >= 0.7       0.5  not reached"],
           [line for line in table.splitlines() if "constant hop" in line])
    expect("table", ["go", "500", "(50..500)", "2.00", "(1.00..3.00)", "100", "(100..1,000)", "-", "-"], row)


def check_messages(folder):
    files = glob.glob(os.path.join(folder, "*.json"))
    expect("files", 6, len(files))
    for path in files:
        with open(path, encoding="utf-8") as file:
            size = len(json.load(file)["message"].encode())
        expect(path, int(path.split("-")[-1].removesuffix(".json")), size)


class Stalling(BaseHTTPRequestHandler):
    """Answers at once, but nobody from 0.3 s to 0.7 s after the first request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes
    first = None

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Stalling.first = Stalling.first or time.monotonic()
        since = time.monotonic() - Stalling.first
        if 0.3 <= since < 0.3 + STALL:
            time.sleep(0.3 + STALL - since)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def check_stall(openloop):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.NamedTemporaryFile("w") as body:
        body.write('{"message": "hello"}')
        body.flush()
        # 4 connections: a closed loop would see 4 slow requests of 400, and a p99 of a millisecond.
        said = subprocess.run([openloop, str(server.server_port), str(RATE), str(SECONDS), "4", body.name], check=True,
                              capture_output=True, text=True).stdout
    server.shutdown()
    figures = json.loads(said)
    expect("requests, errors", [RATE * SECONDS, 0], [figures["requests"], figures["errors"]])
    # 40 % of the requests fall into the stall and wait 0 to 400 ms, evenly: p90 waits 300 ms, p99 390.
    for name, least, most in (("p50", 0, 100e3), ("p90", 240e3, 600e3), ("p99", 350e3, 800e3)):
        if not least <= figures[name] <= most:
            sys.exit(f"{name} is {figures[name]} us; {least:.0f} to {most:.0f} is right: {said}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or f"check_{sys.argv[1]}" not in globals():
        sys.exit(__doc__)
    globals()[f"check_{sys.argv[1]}"](*sys.argv[2:])
