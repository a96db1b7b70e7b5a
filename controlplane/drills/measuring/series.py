"""What was counted of each edge, over time: readings of proxies are added up, whoever comes, goes or begins anew meanwhile."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from controlplane.drills.measuring.exposition import GAUGES, Counts, Reading
from controlplane.model.cluster_names import ClusterName

MOST_SAMPLES = 20_000  # of a run: an hour at the shortest interval
_LEVELS = frozenset(GAUGES.values())
NOTHING = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEdge:
    """The requests to ``host`` by some proxies; ``port`` 0: at all ports."""

    name: str
    host: str
    port: int = 0
    callers: frozenset[str] = frozenset()  # ids of the proxies; none: all that are read
    aborts: str = ""  # the class of statuses (5xx) by which a fault at the callers aborts requests of this edge; empty: none does

    def covers(self, proxy: str, cluster: ClusterName) -> bool:
        """Return whether what ``proxy`` counts of ``cluster`` is of this edge."""
        return cluster.host == self.host and self.port in (0, cluster.port) and (not self.callers or proxy in self.callers)


@dataclass(frozen=True, slots=True)
class Sample:
    """All that was counted until ``at``, in seconds, since the run began; in the order of the edges."""

    at: float
    counts: tuple[Counts, ...]
    read: int = 0  # proxies that answered
    silent: int = 0  # proxies that did not


@dataclass(slots=True)
class Series:
    """The samples of a run of ``edges``, in the order of time."""

    edges: Sequence[MeasuredEdge]
    samples: list[Sample] = field(default_factory=list)
    _before: dict[str, Reading] = field(default_factory=dict)  # by proxy
    _totals: list[_Total] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._totals = [_Total() for _ in self.edges]

    def add(self, at: float, readings: Mapping[str, Reading | None]) -> Sample:
        """Take in what was read ``at`` this time, by proxy; ``None``: it did not answer. Return the sample."""
        for total in self._totals:
            total.levels = defaultdict(int)
        for proxy, reading in readings.items():
            known = reading or self._before.get(proxy)
            if known is None:
                continue
            self._add_proxy(proxy, known, self._before.get(proxy))
            self._before[proxy] = known
        answered = sum(reading is not None for reading in readings.values())
        sample = Sample(at, tuple(total.counts() for total in self._totals), answered, len(readings) - answered)
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(sample)
        return sample

    def between(self, edge: int, start: float, end: float) -> Counts:
        """Return what was counted of ``edge`` from ``start`` until ``end``, as near as samples are."""
        first, last = self.at(start), self.at(end)
        return difference(first.counts[edge], last.counts[edge]) if first and last else NOTHING

    def at(self, moment: float) -> Sample | None:
        """Return the sample at ``moment``: the last one that is not later, or else the first."""
        later = bisect_right(self.samples, moment, key=attrgetter("at"))
        return self.samples[max(0, later - 1)] if self.samples else None

    def steps(self, edge: int, start: float, end: float) -> Iterator[tuple[Sample, Sample, Counts]]:
        """Yield each two samples that follow each other from ``start`` until ``end``, and what was counted of ``edge`` between them."""
        for one, other in zip(self.samples, self.samples[1:], strict=False):
            if one.at >= start and other.at <= end:
                yield one, other, difference(one.counts[edge], other.counts[edge])

    def _add_proxy(self, proxy: str, now: Reading, before: Reading | None) -> None:
        for edge, total in zip(self.edges, self._totals, strict=True):
            for cluster, counts in now.clusters.items():
                if edge.covers(proxy, cluster):
                    # Of a proxy that was there before the run, what it had counted by then does not count.
                    earlier = counts if before is None else before.clusters.get(cluster, NOTHING)
                    total.add(difference(earlier, counts), counts)
            if edge.aborts and before is not None and (not edge.callers or proxy in edge.callers):
                # These never come to a cluster, and are requests all the same.
                aborted = _grown(before.faults.get("aborted", 0), now.faults.get("aborted", 0))
                total.add(Counts(dict.fromkeys(("completed", "aborted", edge.aborts), aborted)), NOTHING)


@dataclass(slots=True)
class _Total:
    values: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    buckets: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    levels: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, grown: Counts, now: Counts) -> None:
        for name, count in grown.values.items():
            self.values[name] += count
        for bound, count in grown.buckets.items():
            self.buckets[bound] += count
        for name in _LEVELS & now.values.keys():
            self.levels[name] += now.values[name]

    def counts(self) -> Counts:
        return Counts({**self.values, **self.levels}, dict(self.buckets))


def difference(before: Counts, after: Counts) -> Counts:
    """Return what was counted between ``before`` and ``after``; whoever has less than before has begun anew.

    Levels are as they are after.
    """
    return Counts(
        {name: count if name in _LEVELS else _grown(before.values.get(name, 0), count) for name, count in after.values.items()},
        _grown_buckets(before.buckets, after.buckets),
    )


def added(parts: Iterable[Counts]) -> Counts:
    """Return the sum of ``parts``."""
    total = _Total()
    for part in parts:
        total.add(Counts({name: count for name, count in part.values.items() if name not in _LEVELS}, part.buckets), part)
    return total.counts()


def _grown(before: int, after: int) -> int:
    return after - before if after >= before else after


def _grown_buckets(before: Mapping[float, int], after: Mapping[float, int]) -> dict[float, int]:
    anew = any(after[bound] < before.get(bound, 0) for bound in after)
    return {bound: count - (0 if anew else before.get(bound, 0)) for bound, count in after.items()}
