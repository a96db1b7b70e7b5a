"""The plots of a report: rate, success and latency over time, with the time marked in which the faults were in force.

They are drawn by Matplotlib, as SVG that stands in the page; without Matplotlib (``pip install navarch[reports]``) the page has none.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from controlplane.drills.judging.report import EdgePoint, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (9.0, 2.6)  # inches
_FAULT_COLOR = "#f4b8b0"
_UNTIL_GONE_COLOR = "#fbe3df"
_SALT = "navarch"  # ids in the SVG are the same for the same report


def plots(report: Report) -> Iterator[tuple[str, str]]:
    """Yield each plot of ``report``: what it shows, and the SVG."""
    try:
        import matplotlib as mpl
    except ImportError:
        return
    if not report.samples:
        return
    with mpl.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none"}):
        yield "Requests per second", _plot(report, "per second", _rates)
        yield "Success", _plot(report, "percent", lambda axes, report: _lines(axes, report, lambda point: point.success))
        yield "Latency", _plot(report, "milliseconds", _latencies)
        yield "Ejected instances", _plot(report, "instances", lambda axes, report: _lines(axes, report, lambda point: point.ejected))


def _rates(axes: Axes, report: Report) -> None:
    _lines(axes, report, lambda point: point.rate)
    axes.set_ylim(bottom=0)


def _latencies(axes: Axes, report: Report) -> None:
    _lines(axes, report, lambda point: point.p50, "p50")
    _lines(axes, report, lambda point: point.p99, "p99", dashed=True)


def _lines(axes: Axes, report: Report, value: Callable[[EdgePoint], float | None], name: str = "", *, dashed: bool = False) -> None:
    for position, edge in enumerate(report.edges):
        found = [(sample.at, number) for sample in report.samples if (number := value(sample.edges[position])) is not None]
        times, numbers = [at for at, _ in found], [number for _, number in found]
        axes.plot(
            times, numbers, label=f"{edge.name} {name}".strip(), linestyle="--" if dashed else "-", marker=".", markersize=3, linewidth=1
        )


def _plot(report: Report, unit: str, draw: Callable[[Axes, Report], None]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for start, end, color in _spans(report):
        axes.axvspan(start, end, color=color, linewidth=0)
    draw(axes, report)
    axes.set_xlabel("seconds; shaded: a fault is in force, paler: lifted and not gone everywhere")
    axes.set_ylabel(unit)
    axes.set_xlim(0, report.seconds)
    axes.legend(loc="best", fontsize="small", frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _spans(report: Report) -> Sequence[tuple[float, float, str]]:
    found = []
    for fault in report.faults:
        if fault.in_force_at is not None:
            lifted = fault.lifted_at if fault.lifted_at is not None else report.seconds
            gone = fault.gone_at if fault.gone_at is not None else lifted
            found += [(fault.in_force_at, lifted, _FAULT_COLOR), (lifted, gone, _UNTIL_GONE_COLOR)]
    return found
