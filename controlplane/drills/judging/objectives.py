"""What is to be true of an edge, and whether it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controlplane.drills.measuring.figures import Figures, figures
from controlplane.drills.measuring.series import Series, added

# For so long an Envoy keeps durations to itself before its page has them (``stats_flush_interval``).
FLUSH_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillTarget:
    """What is to be true of the edge at position ``edge`` of a series, over ``window_s``; times are milliseconds."""

    edge: int
    name: str
    success: float | None = None  # at least so many percent
    p50: float | None = None  # at most
    p95: float | None = None
    p99: float | None = None
    rate: float | None = None  # at least so many requests per second
    window_s: float = 5.0

    @property
    def percentiles(self) -> tuple[tuple[str, float | None], ...]:
        """Return the bounds of percentiles, by name."""
        return ("p50", self.p50), ("p95", self.p95), ("p99", self.p99)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """An objective that does not hold: of which edge, which figure, what was wanted and what was found."""

    edge: str
    figure: str
    wanted: float
    found: float
    unsure: bool = False  # what was wanted lies within the interval of confidence

    def __str__(self) -> str:
        """Return it in words."""
        if self.figure == "success":
            return f"{self.edge}: {self.found:.2f} % of requests succeeded, at least {self.wanted:g} % were to"
        if self.figure == "rate":
            return f"{self.edge}: {self.found:.1f} requests per second, there were to be at least {self.wanted:g}"
        return f"{self.edge}: {self.figure} is {self.found:.0f} ms, it was to be at most {self.wanted:g} ms"


def shortfalls(target: DrillTarget, measured: Figures) -> Iterator[Shortfall]:
    """Yield what of ``target`` does not hold by the ``measured`` figures; without requests nothing is said of how they are answered."""
    percent = measured.success_percent
    if target.success is not None and percent is not None and percent < target.success:
        yield Shortfall(target.name, "success", target.success, percent, measured.success.high * 100 >= target.success)
    for name, bound in target.percentiles:
        value = getattr(measured, name)
        if bound is not None and value is not None and value > bound:
            yield Shortfall(target.name, name, bound, value)
    if target.rate is not None and measured.rate < target.rate:
        yield Shortfall(target.name, "rate", target.rate, measured.rate)


def shortfalls_at(targets: Sequence[DrillTarget], series: Series, now: float, *, since: float) -> tuple[Shortfall, ...]:
    """Return what does not hold ``now``, over the window of each of ``targets``, as far as that is after ``since``."""
    found: list[Shortfall] = []
    for target in targets:
        start = max(since, now - target.window_s)
        first, last = series.at(start), series.at(now)
        if first is None or last is None or last.at <= first.at:
            continue
        measured = figures(series.between(target.edge, start, now), last.at - first.at)
        # A rate over less than its window says little.
        full = last.at - first.at >= 0.8 * target.window_s
        found += [each for each in shortfalls(target, measured) if full or each.figure != "rate"]
    return tuple(found)


def phase_figures(series: Series, edge: int, spans: Sequence[tuple[float, float]]) -> Figures:
    """Return the figures of ``edge`` in ``spans`` of time.

    Envoys tell durations seconds later: of a span that is long enough they are those that are surely of it, of a short one all that may be.
    """
    counts = added(series.between(edge, start, end) for start, end in spans)
    seconds = sum(end - start for start, end in spans)
    surely = [(start + FLUSH_S, end) for start, end in spans if end - start >= 2 * FLUSH_S]
    durations = surely or [(start, end + FLUSH_S) for start, end in spans]
    buckets = added(series.between(edge, start, end) for start, end in durations).buckets
    return figures(type(counts)(counts.values, buckets), seconds)
