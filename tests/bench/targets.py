"""What the system is to reach, and what was measured of it: the last table of scripts/bench."""

import stats


def least(values):
    return min(values, default=None)


def most(values):
    return max(values, default=None)


def against(raw, rate, peer, **where):
    shares = stats.ratios(raw.by_round(rate, peer="system", **where), raw.by_round(rate, peer=peer, **where))
    return stats.median(shares) if shares else None


def answered(result):
    """The part of the requests that had a 200."""
    return 1 - (result["errors"] + result.get("unfinished", 0)) / result["requests"]


def targets(raw, rate, cost_per_kib):
    """(what, its sign, the figure to reach, the figure measured or None) of each."""
    def of(section, figure):
        return raw.values(figure, section=section, peer="system")

    burst = {"section": "clients", "peer": "system", "connections": 10000}
    sizes = {"section": "sizes", "script": "ascii"}
    cost = [cost_per_kib(raw, size, **sizes) for size in (1048576, 65536)]
    return [
        ("32 clients, of one constant hop", ">=", 0.70, against(raw, rate, "hop", section="throughput")),
        ("32 clients, against rust", ">=", 1.8, against(raw, rate, "rust", section="throughput")),
        ("1,000 clients, against rust", ">=", 1.5, against(raw, rate, "rust", section="clients", connections=1000)),
        ("10,000 clients, against rust", ">=", 1.4, against(raw, rate, "rust", section="clients", connections=10000)),
        ("10,000 clients at once: lost", "<=", 0, most(raw.values(lambda r: r["errors"], **burst))),
        ("10,000 clients at once: longest wait, s", "<=", 0.5, most(raw.values(lambda r: r["max"] / 1e6, **burst))),
        ("HTTP/2, against rust", ">=", 1.5, against(raw, rate, "rust", section="protocols", protocol="h2")),
        ("clients that come one by one: CPU of the idlest nginx worker", ">=", 0.40,
         least(of("arrival", lambda r: r["least_share"]))),
        ("one of two instances frozen: answered in 1 s, from 3 s on", ">=", 0.95,
         least(of("frozen", lambda r: r["in_time"] / r["requests"]))),
        ("nginx's workers killed: calls that get a 200 afterwards", ">=", 1, least(of("killed", answered))),
        ("slow bodies: others that get a 200", ">=", 1, least(of("slow", answered))),
        ("slow bodies: p99 of others, s", "<=", 0.5, most(of("slow", lambda r: r["p99"] / 1e6))),
        ("clients that do not read: others that get a 200", ">=", 1, least(of("deaf", answered))),
        ("clients that do not read: memory of nginx, MiB", "<=", 512, most(of("deaf", lambda r: r["nginx_mib"]))),
        ("1 MiB, of one hop that echoes", ">=", 0.8, against(raw, rate, "echo", bytes=1048576, **sizes)),
        ("a byte of 1 MiB, of one of 64 KiB", "<=", 1.2, cost[0] / cost[1] if all(cost) else None),
    ]
