"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.drills.judging.report import Report
from controlplane.drills.rendering.text import HEADINGS, edge_rows, fault_lines, objective_words


def markdown(report: Report) -> str:
    """Return ``report`` as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.verdict}: {_escaped(report.drill)}"
    yield ""
    yield f"{_escaped(report.reason)}."
    yield f"Run {report.id}, seed {report.seed}, {report.seconds:.1f} s, a look at the proxies every {report.interval:g} s."
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for row in edge_rows(report):
        yield f"| {' | '.join(map(_escaped, row))} |"
    for heading, texts in (
        ("Faults", tuple(fault_lines(report))),
        ("Steady state", tuple(f"{'held' if each.held else 'missed'}: {objective_words(each)}" for each in report.objectives)),
        ("Conclusions", report.conclusions),
        ("Since the last run", report.changes),
        ("Notes", report.warnings),
    ):
        if texts:
            yield ""
            yield f"## {heading}"
            yield ""
            yield from (f"- {_escaped(text)}" for text in texts)


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>#|" else character for character in text)
