"""When what is seen of a service changed: when the fault was noticed, when it was over, and what the breaker did meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controlplane.drills.judging.objectives import DrillTarget, shortfalls, shortfalls_at
from controlplane.drills.measuring.figures import figures
from controlplane.drills.measuring.series import Series

# Which figures of a single interval say that it is not steady: a rate is too coarse for that.
_OF_REQUESTS = ("success",)


@dataclass(frozen=True, slots=True)
class Breach:
    """That objectives did not hold, first at ``at``; ``what`` says which."""

    at: float
    what: str


def first_breach(targets: Sequence[DrillTarget], series: Series, start: float, end: float) -> Breach | None:
    """Return when between ``start`` and ``end`` one of ``targets`` did not hold first; ``None``: all held."""
    for sample in series.samples:
        if start < sample.at <= end and (found := shortfalls_at(targets, series, sample.at, since=start)):
            return Breach(sample.at, str(found[0]))
    return None


def steady_again(targets: Sequence[DrillTarget], series: Series, start: float, end: float) -> float:
    """Return when, from ``start`` on, the last interval between two samples ended in which requests were not answered as they are to be."""
    last = start
    for target in targets:
        for _, sample, counts in series.steps(target.edge, start, end):
            measured = figures(counts, 1.0)
            if sample.at > last and any(each.figure in _OF_REQUESTS for each in shortfalls(target, measured)):
                last = sample.at
    return last


class Breaker(StrEnum):
    """What outlier detection does with instances of a service, as far as its counters tell."""

    CLOSED = "closed"  # all instances get requests
    OPEN = "open"  # some are ejected
    HALF_OPEN = "half-open"  # one has come back, and is ejected again if it fails still


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """What the breaker of an edge did at ``at``: it has so many instances ``ejected`` then, counted over all callers."""

    at: float
    state: Breaker
    ejected: int
    ejections: int  # since the run began


def breaker_changes(series: Series, edge: int, settled_s: float) -> Iterator[BreakerChange]:
    """Yield what the breaker of ``edge`` did.

    An instance that has come back is tried: after ``settled_s`` without being ejected again the breaker is closed.
    """
    ejected, ejections, tried_since = 0, 0, float("inf")
    for sample in series.samples:
        values = sample.counts[edge].values
        now, total = values.get("ejected", 0), values.get("ejections", 0)
        if total > ejections or now > ejected:
            yield BreakerChange(sample.at, Breaker.OPEN, now, total)
            tried_since = float("inf")
        elif now < ejected:
            yield BreakerChange(sample.at, Breaker.HALF_OPEN, now, total)
            tried_since = sample.at
        if sample.at - tried_since >= settled_s and now == 0:
            yield BreakerChange(sample.at, Breaker.CLOSED, now, total)
            tried_since = float("inf")
        ejected, ejections = now, total
