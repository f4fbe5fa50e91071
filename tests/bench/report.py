#!/usr/bin/env python3
"""What scripts/bench has measured, as tables, as bench.json, and as plots.

usage: report.py rate RAW PEER                  the median of its requests/s at 32 connections; nothing if not measured
       report.py write RAW VERSIONS FOLDER      print the tables; write bench.json and the plots into FOLDER
RAW: a JSON object a line, from tests/bench/measure.bash. VERSIONS: lines NAME=WORDS.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys

import stats
import targets

PEERS = ["system", "ssi", "rust", "go", "node", "php", "flask", "constant", "hop", "echo", "threaded"]
TOOLS = {
    "closed loop": "wrk (HTTP/1.1, HTTPS), h2load (HTTP/2, one stream a connection)",
    "open loop": "tests/bench/openloop.c: due at a constant rate, each timed from when it was due (no coordinated "
                 "omission)",
}
SAME = 0.01
SIZES = {16: "16 B", 1024: "1 KiB", 65536: "64 KiB", 1048576: "1 MiB"}


class Raw:
    """All records, and the ways to choose from them."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.records = [json.loads(line) for line in file]

    def by_round(self, figure, **members):
        """{round: figure(result)} of the records with these members."""
        return {r["round"]: figure(r["result"]) for r in self.records
                if all(r.get(key) == value for key, value in members.items())}

    def values(self, figure, **members):
        return list(self.by_round(figure, **members).values())

    def peers(self, **members):
        found = {r["peer"] for r in self.records if all(r.get(k) == v for k, v in members.items())}
        return [peer for peer in PEERS if peer in found]

    def choices(self, member, **members):
        """The values of a member in these records, in the order in which they were measured."""
        return list(dict.fromkeys(r[member] for r in self.records
                                  if member in r and all(r.get(k) == v for k, v in members.items())))


def rate(result):
    return result["requests"] / result["seconds"]


def cpu_per_request(result):
    """Microseconds of all processes of the peer, nginx among them."""
    return result["cpu"] * 1e6 / result["requests"] if result["requests"] else None


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def of_range(values, form=number):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    return f"{form(stats.median(values))} ({form(min(values))}..{form(max(values))})"


def table(title, head, rows):
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]))


def ratio(value):
    return f"{value:.2f}"


# ---- doubts ----

def show_shared(raw, **where):
    """Two systems with the same figure in every round have it from what they share: the generator, or the machine."""
    found = {peer: raw.by_round(rate, peer=peer, **where) for peer in raw.peers(**where)}
    for one, other in itertools.combinations(found, 2):
        shares = stats.ratios(found[one], found[other])
        if len(shares) > 1 and all(abs(share - 1) < SAME for share in shares):
            words = ", ".join(str(value) for key, value in where.items() if key != "section")
            print(f"  doubt: {one} and {other} are within {SAME:.0%} in each round{words and f' ({words})'}: "
                  "the generator's bound, not theirs")


# ---- the tables ----

def show_throughput(raw):
    where = {"section": "throughput"}
    ours = raw.by_round(rate, peer="system", **where)
    rows = []
    for peer in raw.peers(**where):
        theirs = raw.by_round(rate, peer=peer, **where)
        memory = raw.values(lambda r: r["pss"] / 1024, section="memory", peer=peer)
        start = raw.values(lambda r: r["milliseconds"], section="start", peer=peer)
        rows.append([peer, of_range(theirs.values()), of_range(stats.ratios(ours, theirs), ratio),
                     of_range(raw.values(cpu_per_request, peer=peer, **where)),
                     of_range(memory) if len(memory) > 1 else number(memory[0] if memory else None),
                     number(stats.median(start)) if start else "-"])
    if rows:
        table("32 connections, 32-byte message, HTTP/1.1: median (least..most) of the rounds",
              ["", "requests/s", "system / it", "CPU us/request", "MiB (PSS)", "start, ms"], rows)
    show_shared(raw, **where)


def show_services(raw):
    for names in raw.values(lambda r: r["by_name"], section="memory", peer="system"):
        pss, rss = (sum(kib[kind] for name, kib in names.items() if name.startswith("cgi-")) / 1024
                    for kind in ("pss", "rss"))
        print(f"\nall cgi-* processes of the system after that: {pss:.1f} MiB; {rss:.1f} MiB when shared pages count "
              "for each process")


def show_sizes(raw):
    for script in raw.choices("script", section="sizes"):
        where = {"section": "sizes", "script": script}
        sizes = sorted(raw.choices("bytes", **where))
        table(f"requests/s by size of the message, {script}, 32 connections (in brackets: system / it)",
              ["", *(SIZES[size] for size in sizes)],
              [[peer, *(with_ratio(raw, peer, bytes=size, **where) for size in sizes)] for peer in raw.peers(**where)])
        show_cost_per_byte(raw, where)
        for size in sizes:
            show_shared(raw, bytes=size, **where)


def show_cost_per_byte(raw, where):
    cost = {size: cost_per_kib(raw, size, **where) for size in (65536, 1048576)}
    if all(cost.values()):
        print("  the system's CPU time per KiB: " + ", ".join(f"{number(us)} us at {SIZES[size]}" for size, us in
                                                              cost.items())
              + f"; a byte of 1 MiB costs {ratio(cost[1048576] / cost[65536])} of one of 64 KiB")


def cost_per_kib(raw, size, **where):
    values = [v for v in raw.values(cpu_per_request, peer="system", bytes=size, **where) if v]
    return stats.median(values) * 1024 / size if values else None


def with_ratio(raw, peer, **where):
    theirs = raw.by_round(rate, peer=peer, **where)
    if not theirs:
        return "-"
    text = number(stats.median(theirs.values()))
    if not any(theirs.values()):
        return f"none ({number(sum(raw.values(lambda r: r['errors'], peer=peer, **where)))} lost)"
    shares = stats.ratios(raw.by_round(rate, peer="system", **where), theirs)
    return text if peer == "system" or not shares else f"{text} ({ratio(stats.median(shares))})"


def show_clients(raw):
    where = {"section": "clients"}
    counts = raw.choices("connections", **where)
    rows = [[peer, *(clients_cell(raw, peer, connections=n, **where) for n in counts)] for peer in raw.peers(**where)]
    if rows:
        table("requests/s by number of connections (in brackets: system / it); lost; the longest wait of any",
              ["", *(f"{n:,}" for n in counts)], rows)
    for n in counts:
        show_shared(raw, connections=n, **where)


def clients_cell(raw, peer, **where):
    lost = sum(raw.values(lambda r: r["errors"], peer=peer, **where))
    longest = max(raw.values(lambda r: r["max"], peer=peer, **where), default=0)
    return f"{with_ratio(raw, peer, **where)}; {number(lost)}; {longest / 1e6:.2f} s"


def show_protocols(raw):
    where = {"section": "protocols"}
    protocols = raw.choices("protocol", **where)
    rows = [[peer, *(with_ratio(raw, peer, protocol=p, **where) for p in protocols)] for peer in raw.peers(**where)]
    if rows:
        table("requests/s by protocol, 32 connections (in brackets: system / it)", ["", *protocols], rows)
    for protocol in protocols:
        show_shared(raw, protocol=protocol, **where)


def show_latency(raw):
    where = {"section": "latency"}
    rows = []
    for share in raw.choices("share", **where):
        for peer in raw.peers(share=share, **where):
            rows.append(latency_row(raw, peer, share))
    if rows:
        table("latency in ms at equal offered load, open loop from the due time; medians of rounds. own: the generator's "
              "own delay at worst", ["", "of capacity", "requests/s", "p50", "p99", "p99.9", "lost", "own"], rows)


def latency_row(raw, peer, share):
    where = {"section": "latency", "peer": peer, "share": share}

    def milliseconds(name):
        return number(stats.median(raw.values(lambda r: r[name] / 1000, **where)))

    lost = sum(raw.values(lambda r: r["errors"] + r["unfinished"], **where))
    return [peer, f"{share} %", number(stats.median(raw.values(lambda r: r["offered"], **where))),
            milliseconds("p50"), milliseconds("p99"), milliseconds("p99.9"), lost, milliseconds("late")]


def show_dispatcher(raw):
    ours = raw.by_round(rate, section="dispatcher", peer="system")
    threaded = raw.by_round(rate, section="dispatcher", peer="threaded")
    if ours and threaded:
        print(f"\n32 clients, requests/s: dispatcher {of_range(ours.values())}, thread per connection "
              f"{of_range(threaded.values())}: {of_range(stats.ratios(ours, threaded), ratio)}x")
    for result in raw.values(lambda r: r, section="kills", peer="system"):
        print(f"12 workers killed with -9 in 5 s, 64 clients: lost {result['errors']} of {result['requests']:,} requests")


def show_containers(raw):
    ours = raw.by_round(rate, section="containers", peer="system")
    for peer, where in (("container", "inside of nginx's network"), ("published", "through Docker's published port")):
        theirs = raw.by_round(rate, section="containers", peer=peer)
        if theirs:
            lost = sum(raw.values(lambda r: r["errors"], section="containers", peer=peer))
            print(f"\n64 clients, in containers, {where}: {of_range(theirs.values())} requests/s, "
                  f"{of_range(stats.ratios(theirs, ours), ratio)} of scripts/run's {of_range(ours.values())}; lost {lost}")


def show_targets(raw):
    rows = []
    for what, sign, limit, figure in targets.targets(raw, rate, cost_per_kib):
        if figure is not None:
            reached = figure >= limit if sign == ">=" else figure <= limit
            rows.append([what, f"{sign} {limit}", number(figure), "" if reached else "not reached"])
    if rows:
        table("what to reach, and what was measured (the worst round of a fault)", ["", "to reach", "measured", ""], rows)


# ---- bench.json ----

def summary(raw):
    """Each cell's rate, ratio, CPU time, latency as median and spread, in the order in which they were measured."""
    cells = {}
    for record in raw.records:
        key = tuple((k, v) for k, v in record.items() if k not in ("round", "result"))
        cells.setdefault(key, None)
    return [dict(key) | {"figures": figures(raw, dict(key))} for key in cells]


def figures(raw, where):
    found = {}
    results = raw.values(lambda r: r, **where)
    for name in results[0]:
        if all(isinstance(r.get(name), (int, float)) for r in results):
            found[name] = stats.spread([r[name] for r in results])
    if all("seconds" in r for r in results):
        theirs = raw.by_round(rate, **where)
        found["rate"] = stats.spread(list(theirs.values()))
        shares = stats.ratios(raw.by_round(rate, **(where | {"peer": "system"})), theirs)
        if shares:
            found["system_to_it"] = stats.spread(shares)
    cpu = [cpu_per_request(r) for r in results if "cpu" in r and r["requests"]]
    if cpu:
        found["cpu_us_per_request"] = stats.spread(cpu)
    return found


def write_json(raw, versions, folder):
    with open(versions, encoding="utf-8") as file:
        about = dict(line.rstrip("\n").split("=", 1) for line in file)
    with open(os.path.join(folder, "bench.json"), "w", encoding="utf-8") as file:
        json.dump({"about": about, "tools": TOOLS, "summary": summary(raw), "raw": raw.records}, file, indent=1)
        file.write("\n")


# ---- plots ----

def lines_of(raw, peers, choices, figure, member, **where):
    """gnuplot data: a block for each peer, named by it; x and the median of the figure."""
    blocks = []
    for peer in peers:
        points = []
        for x in choices:
            values = [v for v in raw.values(figure, peer=peer, **{member: x}, **where) if v]
            if values:
                points.append(f"{x} {stats.median(values)}")
        if points:
            blocks.append("\n".join([peer, *points]))
    return "\n\n\n".join(blocks) + "\n"


def throughput_data(raw):
    rows = []
    for peer in raw.peers(section="throughput"):
        values = raw.values(rate, section="throughput", peer=peer)
        rows.append(f"{peer} {stats.median(values)} {min(values)} {max(values)}")
    return "\n".join(rows) + "\n"


def plot_data(raw):
    sizes = {"section": "sizes", "script": "ascii"}
    latency = {"section": "latency"}
    return {
        "throughput": throughput_data(raw),
        "sizes": lines_of(raw, raw.peers(**sizes), sorted(raw.choices("bytes", **sizes)), rate, "bytes", **sizes),
        "latency": lines_of(raw, raw.peers(**latency), sorted(raw.choices("share", **latency)),
                            lambda r: r["p99"] / 1000, "share", **latency),
    }


def write_plots(raw, folder):
    if shutil.which("gnuplot") is None:
        print("left out: plots (not installed: gnuplot-nox)", file=sys.stderr)
        return
    here = os.path.dirname(os.path.abspath(__file__))
    for name, data in plot_data(raw).items():
        if not data.strip():
            continue
        path = os.path.join(folder, f"{name}.dat")
        with open(path, "w", encoding="utf-8") as file:
            file.write(data)
        blocks = len(data.split("\n\n\n"))
        subprocess.run(["gnuplot", "-e", f"data='{name}.dat'; blocks={blocks}; out='{name}.svg'",
                        os.path.join(here, "plots", f"{name}.gp")], cwd=folder, check=True)
        os.remove(path)


def write(raw, versions, folder):
    for show in (show_throughput, show_services, show_sizes, show_clients, show_protocols, show_latency,
                 show_dispatcher, show_containers, show_targets):
        show(raw)
    write_json(raw, versions, folder)
    write_plots(raw, folder)
    print(f"\nbench.json and plots: {folder}")


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "rate":
        values = Raw(arguments[1]).values(rate, section="throughput", peer=arguments[2])
        if values:
            print(round(stats.median(values)))
    elif len(arguments) == 4 and arguments[0] == "write":
        write(Raw(arguments[1]), *arguments[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
