"""What differs between two runs of a drill."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.drills.judging.report import EdgeReport, Report

_SLOWER = 1.25  # times as long, from which it is worth a word
_SLOWER_MS = 5.0
_LATER_S = 1.0


def changes(before: Report, now: Report) -> Iterator[str]:
    """Yield what is different ``now`` from what the run ``before`` found."""
    if before.verdict != now.verdict:
        yield f"the verdict was {before.verdict}, and is {now.verdict}"
    earlier = {edge.name: edge for edge in before.edges}
    for edge in now.edges:
        if edge.name in earlier:
            yield from _edge_changes(earlier[edge.name], edge)
    for words, was, is_now in (
        ("noticed", before.detected_after, now.detected_after),
        ("steady again", before.recovered_after, now.recovered_after),
    ):
        if was is not None and is_now is not None and abs(is_now - was) > _LATER_S:
            yield f"{words} after {is_now:.1f} s, it was {was:.1f} s"


def _edge_changes(was: EdgeReport, now: EdgeReport) -> Iterator[str]:
    one, other = was.during, now.during
    if one.success is not None and other.success is not None:
        apart = other.success_high < one.success_low or one.success_high < other.success_low
        if apart:
            word = "fewer" if other.success < one.success else "more"
            yield f"{now.name}: {word} requests succeed under the fault: {other.success:.2f} %, it was {one.success:.2f} %"
    for name in ("p50", "p99"):
        slow, slower = getattr(one, name), getattr(other, name)
        if slow is not None and slower is not None and slower > max(slow * _SLOWER, slow + _SLOWER_MS):
            yield f"{now.name}: {name} under the fault is {slower:.0f} ms, it was {slow:.0f} ms"
    if bool(one.ejections) != bool(other.ejections):
        yield f"{now.name}: {other.ejections} ejections, there were {one.ejections}"
