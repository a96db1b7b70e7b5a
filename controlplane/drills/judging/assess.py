"""From what a run has counted to its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controlplane.drills.judging.comparison import changes
from controlplane.drills.judging.conclusions import Found, conclusions
from controlplane.drills.judging.objectives import DrillTarget, Shortfall, phase_figures
from controlplane.drills.judging.report import (
    BreakerEvent,
    DrillVerdict,
    EdgePoint,
    EdgeReport,
    FaultReport,
    ObjectiveReport,
    PhaseFigures,
    Report,
    ReportSample,
)
from controlplane.drills.judging.timeline import breaker_changes, first_breach, steady_again
from controlplane.drills.measuring.figures import Figures, figures
from controlplane.drills.measuring.series import Series
from controlplane.drills.planning.run import InjectionProgress, RunState

ACK_S = 0.25  # by which the moment of an acknowledgement may be off
_SETTLED_S = 10.0  # without being ejected again, after which an instance that came back counts as well


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultAbout:
    """What a fault is, as its report names it."""

    name: str
    sort: str
    service: str
    side: str
    percentage: float
    of_requests: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run besides what was counted."""

    id: str
    drill: str
    started_at: float
    seconds: float
    interval_s: float
    seed: int
    faults: Sequence[FaultAbout]
    targets: Sequence[DrillTarget]
    has_outlier_detection: bool = False
    warnings: Sequence[str] = ()


def assess(facts: RunFacts, state: RunState, series: Series, before: Report | None = None) -> Report:
    """Return the report of the run that ended at ``state``; ``before`` is that of the drill's run before it."""
    faults = tuple(map(_fault, facts.faults, state.faults))
    spans = tuple((start, min(end, facts.seconds)) for start, end in state.spans)
    edges = tuple(_edge(series, position, spans, facts, state) for position in range(len(series.edges)))
    objectives = tuple(_objectives(facts.targets, edges))
    detected_after, recovered_after = _times(facts, state, series, spans)
    verdict, reason = _verdict(state, objectives)
    found = Found(
        verdict=verdict,
        faults=faults,
        edges=edges,
        detected_after=detected_after,
        recovered_after=recovered_after,
        has_outlier_detection=facts.has_outlier_detection,
    )
    report = Report(
        id=facts.id,
        drill=facts.drill,
        verdict=verdict,
        reason=reason,
        started_at=facts.started_at,
        seconds=facts.seconds,
        interval=facts.interval_s,
        seed=facts.seed,
        faults=faults,
        objectives=objectives,
        detected_after=detected_after,
        recovered_after=recovered_after,
        recovery_precision=facts.interval_s + ACK_S,
        edges=edges,
        conclusions=tuple(conclusions(found)) if spans else (),
        warnings=tuple(facts.warnings),
        samples=tuple(_samples(series)),
    )
    return report.model_copy(update={"changes": tuple(changes(before, report))}) if before else report


def _fault(about: FaultAbout, progress: InjectionProgress) -> FaultReport:
    return FaultReport(
        name=about.name,
        sort=about.sort,
        service=about.service,
        side=about.side,
        percentage=about.percentage,
        of_requests=about.of_requests,
        in_force_at=progress.in_force_at,
        lifted_at=progress.lifted_at,
        gone_at=progress.gone_at,
    )


def _edge(series: Series, position: int, spans: Sequence[tuple[float, float]], facts: RunFacts, state: RunState) -> EdgeReport:
    edge, end = series.edges[position], facts.seconds
    first = spans[0][0] if spans else end
    gone_at = state.gone_at
    # What was under way when a fault was lifted ends with it: until it is gone everywhere it counts as under the fault.
    during = [(start, stop) for start, stop in spans[:-1]] + ([(spans[-1][0], gone_at or spans[-1][1])] if spans else [])
    after = [(gone_at, end)] if gone_at is not None else []
    measure = [phase_figures(series, position, each) for each in ([(0.0, first)], during, after)]
    whole = series.between(position, 0.0, end)
    return EdgeReport(
        name=edge.name,
        host=edge.host,
        callers=len(edge.callers),
        before=_phase(measure[0]),
        during=_phase(measure[1]),
        after=_phase(measure[2]),
        whole=_phase(figures(whole, end)),
        breaker=tuple(
            BreakerEvent(at=change.at, state=change.state, ejected=change.ejected, ejections=change.ejections)
            for change in breaker_changes(series, position, _SETTLED_S)
        ),
    )


def _phase(measured: Figures) -> PhaseFigures:
    return PhaseFigures(
        seconds=measured.seconds,
        requests=measured.requests,
        failures=measured.failures,
        rate=measured.rate,
        success=measured.success_percent,
        success_low=100 * measured.success.low,
        success_high=100 * measured.success.high,
        p50=measured.p50,
        p95=measured.p95,
        p99=measured.p99,
        attempts=measured.attempts,
        retries=measured.retries,
        hidden=measured.hidden,
        retries_exhausted=measured.retries_exhausted,
        retry_overflows=measured.retry_overflows,
        timeouts=measured.timeouts,
        overflows=measured.overflows,
        connect_failures=measured.connect_failures,
        resets=measured.resets,
        ejections=measured.ejections,
    )


def _objectives(targets: Sequence[DrillTarget], edges: Sequence[EdgeReport]) -> Iterator[ObjectiveReport]:
    """Yield what came of each objective while faults were in force."""
    for target in targets:
        during = edges[target.edge].during
        found = {"success": during.success, "p50": during.p50, "p95": during.p95, "p99": during.p99, "rate": during.rate}
        wanted = {"success": target.success, **dict(target.percentiles), "rate": target.rate}
        for figure, bound in wanted.items():
            if bound is None:
                continue
            value = found[figure]
            at_least = figure in ("success", "rate")
            held = value is not None and (value >= bound if at_least else value <= bound)
            unsure = figure == "success" and during.success_low < bound <= during.success_high
            yield ObjectiveReport(edge=target.name, figure=figure, wanted=bound, found=value, held=held, unsure=unsure)


def _times(facts: RunFacts, state: RunState, series: Series, spans: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Return how long after the fault was in force it was noticed, and how long after it was gone everything was steady."""
    gone_at = state.gone_at
    if not spans or gone_at is None:
        return None, None
    breach = first_breach(facts.targets, series, spans[0][0], facts.seconds)
    if breach is None:
        return None, None
    recovered = None if state.late else steady_again(facts.targets, series, gone_at, facts.seconds) - gone_at
    return breach.at - spans[0][0], recovered


def _verdict(state: RunState, objectives: Sequence[ObjectiveReport]) -> tuple[DrillVerdict, str]:
    if state.not_run:
        return DrillVerdict.NOT_RUN, state.not_run
    if state.aborted:
        return DrillVerdict.ABORTED, state.aborted
    if state.late:
        return DrillVerdict.DEVIATED, state.late
    missed = [each for each in objectives if not each.held and each.found is not None]
    if missed:
        first = missed[0]
        return DrillVerdict.DEVIATED, str(Shortfall(first.edge, first.figure, first.wanted, first.found or 0.0))
    if unmeasured := [each for each in objectives if each.found is None]:
        return DrillVerdict.NOT_RUN, f"{unmeasured[0].edge}: there were no requests to judge {unmeasured[0].figure} by"
    return DrillVerdict.HELD, "each objective held while the faults were in force"


def _samples(series: Series) -> Iterator[ReportSample]:
    """Yield what was counted between each two samples."""
    for one, other in zip(series.samples, series.samples[1:], strict=False):
        points = []
        for position in range(len(series.edges)):
            counts = series.between(position, one.at, other.at)
            measured = figures(counts, other.at - one.at)
            points.append(
                EdgePoint(
                    requests=measured.requests,
                    failures=measured.failures,
                    rate=measured.rate,
                    success=measured.success_percent,
                    p50=measured.p50,
                    p99=measured.p99,
                    retries=measured.retries,
                    ejected=counts.values.get("ejected", 0),
                )
            )
        yield ReportSample(at=other.at, edges=tuple(points), read=other.read, silent=other.silent)
