"""Shares with how sure they are, and percentiles of counted durations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

Z_95 = 1.959964  # of the normal distribution, two-sided


class Interval(NamedTuple):
    """Where a share lies, in 95 of 100 cases; both ends are from 0 to 1."""

    low: float
    high: float


def wilson(successes: int, total: int) -> Interval:
    """Return where the share lies of which ``successes`` of ``total`` were seen: Wilson's score interval, good for few and for extremes.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    if total == 0:
        return Interval(0.0, 1.0)
    share, z2 = successes / total, Z_95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def percentile(buckets: Mapping[float, int], percent: float) -> float | None:
    """Return within which time ``percent`` of what is counted in ``buckets`` came, by upper bounds and cumulative; ``None``: nothing is.

    Within a bucket it is interpolated, as Prometheus does; beyond the last bound it is that bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total == 0:
        return None
    wanted, below, lower = total * percent / 100, 0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted and count > below:
            return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
        below, lower = count, (lower if math.isinf(bound) else bound)
    return lower
