"""A report as plain lines: what a terminal shows, and Markdown has in its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.drills.judging.report import EdgeReport, ObjectiveReport, PhaseFigures, Report

PHASES = ("before", "during", "after")
HEADINGS = (
    *("", "phase", "requests", "per second", "success", "95 % sure", "p50", "p95", "p99"),
    *("retries", "hidden", "timeouts", "ejections"),
)


def lines(report: Report) -> Iterator[str]:
    """Yield ``report``, line by line."""
    yield f"{report.verdict}  {report.drill}, run {report.id}: {report.reason}"
    yield ""
    yield from table(HEADINGS, tuple(edge_rows(report)))
    if report.objectives:
        yield ""
        yield from (f"{'held  ' if each.held else 'missed'}  {objective_words(each)}" for each in report.objectives)
    yield ""
    yield from fault_lines(report)
    yield from (f"  {text}" for text in report.conclusions)
    yield from (f"since the last run: {text}" for text in report.changes)
    yield from (f"note: {text}" for text in report.warnings)


def fault_lines(report: Report) -> Iterator[str]:
    """Yield when the faults of ``report`` were in force, and when it was noticed and over."""
    for fault in report.faults:
        if fault.in_force_at is None:
            yield f"{fault.sort} of {fault.service} was never in force"
        else:
            share = f"of {fault.percentage:g} % at the {fault.side.lower()} of" if fault.of_requests else "for"
            what = f"{fault.sort} {share} {fault.service}"
            times = f"in force at {fault.in_force_at:.2f} s, lifted at {_seconds(fault.lifted_at)}, gone at {_seconds(fault.gone_at)}"
            yield f"{what}: {times}"
    if report.detected_after is not None:
        yield f"time to detect: {report.detected_after:.2f} s"
        recovered = "not in time" if report.recovered_after is None else f"{report.recovered_after:.2f} s"
        yield f"time to recover (MTTR): {recovered}, give or take {report.recovery_precision:.2f} s"


def edge_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of what was counted, by edge and phase."""
    for edge in report.edges:
        for phase in PHASES:
            yield _row(edge, phase, getattr(edge, phase))


def objective_words(objective: ObjectiveReport) -> str:
    """Return an ``objective`` and what was found, in words."""
    unit = {"success": " %", "rate": " per second"}.get(objective.figure, " ms")
    bound = "at least" if objective.figure in ("success", "rate") else "at most"
    found = "nothing was measured" if objective.found is None else f"found {objective.found:.2f}{unit}"
    unsure = "; with so few requests that may be chance" if objective.unsure else ""
    return f"{objective.edge}: {objective.figure} {bound} {objective.wanted:g}{unit}, {found}{unsure}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield ``rows`` below their ``headings``, in columns."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    for row in (headings, *rows):
        cells = [
            cell.rjust(width) if column > 1 else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(edge: EdgeReport, phase: str, counted: PhaseFigures) -> tuple[str, ...]:
    success = "-" if counted.success is None else f"{counted.success:.2f} %"
    sure = "-" if counted.success is None else f"{counted.success_low:.1f} to {counted.success_high:.1f}"
    times = ("-" if value is None else f"{value:.0f} ms" for value in (counted.p50, counted.p95, counted.p99))
    numbers = (counted.retries, counted.hidden, counted.timeouts, counted.ejections)
    return (edge.name, phase, str(counted.requests), f"{counted.rate:.1f}", success, sure, *times, *map(str, numbers))


def _seconds(at: float | None) -> str:
    return "-" if at is None else f"{at:.2f} s"
