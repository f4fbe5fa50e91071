#!/usr/bin/env python3
"""What the processes of one peer use: those of the sessions that the pid files of its folder name.

usage: processes.py cpu FOLDER       seconds of CPU time so far, user and system, all processes
       processes.py memory FOLDER    one JSON object: KiB in all, resident (rss) and with shared pages divided (pss),
                                     and both by the name of the program
"""

import collections
import glob
import json
import os
import sys


def sessions(folder):
    found = set()
    for path in glob.glob(os.path.join(glob.escape(folder), "*.pid")):
        with open(path, encoding="ascii") as file:
            found.add(file.read().strip())
    return found


def processes(folder):
    """(pid, name, fields of stat after the name) of each process."""
    wanted = sessions(folder)
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                stat = file.read()
        except OSError:  # it has ended
            continue
        fields = stat[stat.rindex(")") + 2:].split()
        if fields[3] in wanted:
            yield path.split("/")[2], stat[stat.index("(") + 1:stat.rindex(")")], fields


def cpu(folder):
    ticks = sum(int(fields[11]) + int(fields[12]) for _, _, fields in processes(folder))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(folder):
    total = collections.Counter(rss=0, pss=0)
    by_name = collections.defaultdict(collections.Counter)
    for pid, name, _ in processes(folder):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                kib = {line.split(":")[0]: int(line.split()[1]) for line in file if line.endswith("kB\n")}
        except OSError:
            continue
        total.update(rss=kib["Rss"], pss=kib["Pss"])
        by_name[name].update(rss=kib["Rss"], pss=kib["Pss"])
    return {**total, "by_name": by_name}


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("cpu", "memory"):
        sys.exit(__doc__)
    print(json.dumps({"cpu": cpu, "memory": memory}[sys.argv[1]](sys.argv[2])))
