"""Numbers as the files write them."""

import re


def duration(text):
    """Seconds of "1m30s"."""
    seconds = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * seconds[unit] for number, unit in re.findall(r"([0-9]+)([hms])", text))


def memory(value):
    """MiB of a number of bytes, or of "512m"."""
    number, unit = re.fullmatch(r"([0-9]+)([bkmg]?)", str(value).lower()).groups()
    return int(number) * {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[unit] // 1024**2


def ports(text):
    """(host, container) of "80:8080", "127.0.0.1:80-81:8080-8081/udp", "8080"; no host is None."""
    parts = text.split("/")[0].split(":")
    ends = [[int(end) for end in part.split("-")] for part in parts[-2:]]
    ranges = [range(end[0], end[-1] + 1) for end in ends]
    return list(zip(*ranges)) if len(parts) > 1 else [(None, port) for port in ranges[0]]
