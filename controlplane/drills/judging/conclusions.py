"""What a run says about a service, in words: a rule each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controlplane.drills.judging.report import DrillVerdict, EdgeReport, FaultReport

_AMPLIFIED = 1.5  # attempts for each request, from which retries are a load of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What conclusions are drawn from."""

    verdict: DrillVerdict
    faults: Sequence[FaultReport]
    edges: Sequence[EdgeReport]
    detected_after: float | None
    recovered_after: float | None
    has_outlier_detection: bool  # whether proxies count ejections of a service that is drilled


def conclusions(found: Found) -> Iterator[str]:
    """Yield what there is to say of what was ``found``, most important first."""
    for edge in found.edges:
        yield from _no_traffic(edge)
        yield from _retries(edge)
        yield from _breaker(edge, found)
        yield from _timeouts(edge)
        yield from _overflows(edge)
        yield from _unmoved(edge, found)
    yield from _recovery(found)


def _no_traffic(edge: EdgeReport) -> Iterator[str]:
    if edge.before.requests and not edge.during.requests:
        yield f"{edge.name}: no request ended while the faults were in force, though {edge.before.rate:.1f} did each second before"
    elif not edge.whole.requests:
        yield f"{edge.name}: there were no requests, so that nothing is known of it; make some (navarch drill run --probe URL)"


def _retries(edge: EdgeReport) -> Iterator[str]:
    during = edge.during
    broken = during.hidden + during.failures
    if during.hidden and broken:
        yield f"{edge.name}: retries hid {100 * during.hidden / broken:.0f} % of the errors ({during.hidden} of {broken} requests)"
    elif during.failures and not during.retries and during.timeouts >= during.failures / 2:
        yield (
            f"{edge.name}: {during.failures} requests failed and none was tried again: the timeout of a route covers all its tries, so that"
            " nothing of it was left; try a perTryTimeout in the VirtualService's retries, or a larger timeout"
        )
    elif during.failures and not during.retries:
        yield (
            f"{edge.name}: {during.failures} requests failed and none was retried; try a VirtualService with"
            " retries: {attempts: 2, retryOn: '5xx,reset'}, where requests can be repeated"
        )
    if during.retries and during.requests and during.attempts > _AMPLIFIED * during.requests:
        yield (
            f"{edge.name}: retries made {during.attempts / during.requests:.1f} requests of each: load that hits a service which fails"
            " already; try fewer attempts, or maxRetries in the DestinationRule's connectionPool.http"
        )
    if during.retries_exhausted:
        yield f"{edge.name}: {during.retries_exhausted} requests failed though each retry that they had was used"


def _breaker(edge: EdgeReport, found: Found) -> Iterator[str]:
    during, whole = edge.during, edge.whole
    if whole.ejections:
        opened = next((event for event in edge.breaker if event.state == "open"), None)
        first = next((fault.in_force_at for fault in found.faults if fault.in_force_at is not None), None)
        after = f", first {max(0.0, opened.at - first):.1f} s after the fault was in force" if opened and first is not None else ""
        back = any(event.state == "half-open" for event in edge.breaker)
        yield (
            f"{edge.name}: {whole.ejections} ejections by outlier detection{after};"
            f" {'instances came back before the end' if back else 'no instance had come back by the end'}"
        )
    elif (during.failures or during.hidden) and found.has_outlier_detection:
        hidden = (
            "retries landed on other instances, so that errors in a row were too few"
            if during.hidden > during.failures
            else "the errors in a row of an instance were fewer than it waits for"
        )
        yield (
            f"{edge.name}: the breaker never opened: {hidden}; try a smaller consecutive5xxErrors, or a shorter interval,"
            " in the DestinationRule's outlierDetection"
        )
    elif during.failures or during.hidden:
        yield f"{edge.name}: the breaker never opened; without outlierDetection in a DestinationRule it cannot"


def _timeouts(edge: EdgeReport) -> Iterator[str]:
    if edge.during.timeouts:
        yield f"{edge.name}: {edge.during.timeouts} requests or tries ended by a timeout; percentiles are of those that were answered"


def _overflows(edge: EdgeReport) -> Iterator[str]:
    if edge.during.overflows:
        yield f"{edge.name}: {edge.during.overflows} requests were answered 503 at once, as a limit of the connectionPool was reached"
    if edge.during.retry_overflows:
        yield f"{edge.name}: {edge.during.retry_overflows} retries were not made, as maxRetries of them were under way"


def _unmoved(edge: EdgeReport, found: Found) -> Iterator[str]:
    at_caller = [fault for fault in found.faults if fault.side == "Caller" and fault.in_force_at is not None]
    if at_caller and edge.during.requests and not edge.during.retries and not edge.during.timeouts:
        yield (
            f"{edge.name}: neither retries nor timeouts nor ejections took part, as {at_caller[0].sort} at the caller comes before all of"
            " these; try side: Callee"
        )


def _recovery(found: Found) -> Iterator[str]:
    if found.verdict is DrillVerdict.NOT_RUN:
        return
    if found.detected_after is None:
        yield "no objective of the steady state was breached"
    elif found.recovered_after is not None:
        yield (
            f"it was noticed {found.detected_after:.1f} s after the fault was in force, and over"
            f" {found.recovered_after:.1f} s after it was gone"
        )
    else:
        yield f"it was noticed {found.detected_after:.1f} s after the fault was in force, and was not over in time"
