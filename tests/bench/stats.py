"""The statistics of scripts/bench. A machine shared with others is slower in one minute than in the next: what
compares is the ratio within a round, where peers run right after each other, and the median of these."""

import statistics


def median(values):
    return statistics.median(values)


def quartiles(values):
    """(first, third); of fewer than three values: least and most."""
    if len(values) < 3:
        return min(values), max(values)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def spread(values):
    """What bench.json says of a list of figures."""
    first, third = quartiles(values)
    return {"median": median(values), "min": min(values), "max": max(values), "q1": first, "q3": third,
            "rounds": len(values)}


def ratios(ours, theirs):
    """ours / theirs by round, both as {round: figure}; rounds that one of them lacks, or has a zero in, are left out."""
    return [ours[n] / theirs[n] for n in sorted(ours) if theirs.get(n)]
