"""Two logarithmic axes and some lines, as SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 460, 320  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 130, 34, 40
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its points, and what it is called."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A diagram of ``lines``: what it shows, and what its axes are."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis from ``low`` to ``high``, drawn from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    @property
    def marks(self) -> list[float]:
        """Return the powers of ten on it."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def svg(panels: Sequence[Panel]) -> str:
    """Return ``panels`` side by side."""
    width = _WIDTH * len(panels)
    drawn = [part for number, panel in enumerate(panels) for part in _panel(panel, number * _WIDTH)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="11">'
    return "\n".join((head, f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>', *drawn, "</svg>", ""))


def _panel(panel: Panel, left: float) -> Iterable[str]:
    lines = [line for line in panel.lines if line.points]
    if not lines:
        return
    x_axis = _axis([x for line in lines for x, _ in line.points], left + _LEFT, left + _WIDTH - _RIGHT)
    y_axis = _axis([y for line in lines for _, y in line.points], _HEIGHT - _BOTTOM, _TOP)
    yield _text(left + _LEFT, _TOP - 14, panel.title, weight="bold")
    for mark in x_axis.marks:
        yield _rule(x_axis.at(mark), y_axis.start, x_axis.at(mark), y_axis.end)
        yield _text(x_axis.at(mark), y_axis.start + 14, f"{mark:,g}", anchor="middle")
    for mark in y_axis.marks:
        yield _rule(x_axis.start, y_axis.at(mark), x_axis.end, y_axis.at(mark))
        yield _text(x_axis.start - 5, y_axis.at(mark) + 4, f"{mark:,g}", anchor="end")
    yield _text((x_axis.start + x_axis.end) / 2, _HEIGHT - 8, panel.x, anchor="middle")
    yield _text(left + 4, _TOP - 14, panel.y)
    ends = _apart([y_axis.at(line.points[-1][1]) for line in lines])
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in line.points)
        yield _text(x_axis.end + 8, end + 4, line.name, colour=colour)


def _axis(values: Iterable[float], start: float, end: float) -> _Axis:
    found = [value for value in values if value > 0]
    return _Axis(10.0 ** math.floor(math.log10(min(found))), 10.0 ** max(math.ceil(math.log10(max(found))), 1), start, end)


def _apart(places: Sequence[float], least: float = 13.0) -> list[float]:
    """Return ``places`` moved so far that texts at them do not lie upon each other."""
    found = list(places)
    order = sorted(range(len(found)), key=found.__getitem__)
    for before, after in itertools.pairwise(order):
        found[after] = max(found[after], found[before] + least)
    return found


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
