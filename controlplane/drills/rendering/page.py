"""A report as one page of HTML, with its plots in it: it needs nothing else, and no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.drills.rendering.plots import plots
from controlplane.drills.rendering.text import HEADINGS, edge_rows, fault_lines, objective_words

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } td, th { padding: .25rem .6rem; border-bottom: 1px solid #d9e0e6; }
td { text-align: right; } td:first-child, td:nth-child(2), th { text-align: left; }
.verdict { color: white; padding: .15rem .6rem; border-radius: .3rem; } svg { max-width: 100%; height: auto; }
"""
_COLORS = {DrillVerdict.HELD: "#1a7f4b", DrillVerdict.DEVIATED: "#b3261e", DrillVerdict.ABORTED: "#a15c00", DrillVerdict.NOT_RUN: "#5f6b76"}


def page(report: Report) -> str:
    """Return ``report`` as a page."""
    return "".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    yield f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(report.verdict)}: {escape(report.drill)}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    color = _COLORS[report.verdict]
    yield f'<h1><span class=verdict style="background:{color}">{escape(report.verdict)}</span> {escape(report.drill)}</h1>'
    yield f"<p>{escape(report.reason)}.</p>"
    yield f"<p>Run {escape(report.id)}, seed {report.seed}, {report.seconds:.1f} s, a look at the proxies every {report.interval:g} s.</p>"
    yield _list("What it says", report.conclusions)
    yield _list("Since the last run", report.changes)
    yield _list("Faults", tuple(fault_lines(report)))
    yield _list("Steady state", [f"{'held' if each.held else 'missed'}: {objective_words(each)}" for each in report.objectives])
    yield "<h2>Figures</h2>" + _table(HEADINGS, edge_rows(report))
    for name, svg in plots(report):
        yield f"<h2>{escape(name)}</h2>{svg}"
    yield _list("Notes", report.warnings)
    yield "</body></html>\n"


def _list(heading: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return f"<h2>{escape(heading)}</h2><ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
