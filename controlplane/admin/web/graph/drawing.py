"""A graph as a drawing: where its nodes stand, and the lines between them, in the units of an SVG."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import graphlay

from controlplane.admin.web.graph.mesh_graph import MeshEdge, Security

# Laying out a graph of this size takes 3 to 9 ms, during which nothing else happens in this process.
MOST_NODES, MOST_EDGES = 40, 60
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _OF_LETTER = 48.0, 104.0, 230.0, 8.2
_LABEL_HEIGHT, _OF_LABEL_LETTER = 18.0, 7.2
_ABOVE = 4.0  # a line, its label stands
_MARGIN = 26.0  # in which the label of the topmost line has its place
_FITS = 1300.0  # width that may be made smaller to fit a window, and can still be read
_MOST_LETTERS = 26
_BEND = 0.5  # of the way between two corners of a line, at which it begins to turn
_OPTIONS = {
    "effort": "fast",
    "direction": "leftright",
    "spacing": {"layer_gap": 96.0, "node_gap": 34.0, "port_gap": 20.0},
    "routing": {"style": "diagonal"},
    "labels": {"reservation": "always"},
}


class Point(NamedTuple):
    """A point of the drawing."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A service: its box, and what it is called."""

    name: str
    title: str
    below: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """A line, as the path of an SVG, with its label."""

    edge: MeshEdge
    path: str
    label: str
    at: Point  # the middle of its label
    width: float  # of its label
    style: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing of ``width`` and ``height``, that leaves out ``more`` edges."""

    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    width: float
    height: float
    more: int

    @property
    def fits(self) -> bool:
        """Return whether it can still be read when it is made as small as a window."""
        return self.width <= _FITS


class _Places(NamedTuple):
    nodes: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]
    least: Point
    most: Point


def drawn(edges: Sequence[MeshEdge]) -> Drawing:
    """Return the drawing of the first of ``edges``, as many as can be looked at."""
    shown = _first(edges)
    names = sorted({name for edge in shown for name in (edge.source, edge.target)})
    widths = {name: max(_LEAST_WIDTH, min(_MOST_WIDTH, len(_short(_parts(name)[0])) * _OF_LETTER + 28)) for name in names}
    # What is drawn where depends on who asks whom alone, so that nothing moves when figures do.
    pairs = sorted((edge.source, edge.target) for edge in shown)
    places = _places(tuple((name, widths[name]) for name in names), tuple(pairs))
    by_pair = {(edge.source, edge.target): edge for edge in shown}
    nodes = tuple(_node(name, at, widths[name], places.least) for name, at in zip(names, places.nodes, strict=True))
    lines = tuple(_line(by_pair[pair], points, places.least) for pair, points in zip(pairs, places.lines, strict=True))
    width, height = places.most.x - places.least.x + 2 * _MARGIN, places.most.y - places.least.y + 2 * _MARGIN
    return Drawing(nodes, lines, round(width, 1), round(height, 1), len(edges) - len(shown))


def label(edge: MeshEdge) -> str:
    """Return what is written beside the line of ``edge``."""
    if not edge.requests_per_s:
        return "idle"
    rate = f"{edge.requests_per_s:.3g}/s" if edge.requests_per_s < 1000 else f"{edge.requests_per_s:,.0f}/s"
    return rate if edge.success is None or edge.success > 0.9999 else f"{rate} · {percentage(edge.success)}"


def percentage(share: float) -> str:
    """Return ``share`` in per cent; what is not all is never called 100 %."""
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.4g} %"


def style(edge: MeshEdge) -> str:
    """Return the classes of the line of ``edge``: how well it goes, and how it is secured."""
    success = edge.success if edge.success is not None else 1.0
    health = "well" if success >= 0.99 else "poor" if success >= 0.9 else "failing"
    return f"{health if edge.requests_per_s else 'idle'} {'secure' if edge.security is Security.MUTUAL else 'plain'}"


def _first(edges: Sequence[MeshEdge]) -> list[MeshEdge]:
    shown: list[MeshEdge] = []
    names: set[str] = set()
    for edge in edges:
        together = names | {edge.source, edge.target}
        if len(shown) < MOST_EDGES and len(together) <= MOST_NODES:
            shown.append(edge)
            names = together
    return shown


@lru_cache(maxsize=16)
def _places(nodes: tuple[tuple[str, float], ...], pairs: tuple[tuple[str, str], ...]) -> _Places:
    if not nodes:
        return _Places((), (), Point(0, 0), Point(0, 0))
    graph = graphlay.Graph()
    for name, width in nodes:
        graph.node(name, width=width, height=_HEIGHT)
    for source, target in pairs:
        graph.edge(source, target, label_size={"width": 15 * _OF_LABEL_LETTER, "height": _LABEL_HEIGHT})
    raw = graphlay.layout(graph, preset="layered", options=_OPTIONS).raw
    lines = tuple(tuple(Point(point["x"], point["y"]) for point in edge["points"]) for edge in raw["edges"])
    bounds = raw["bounds"]
    least, most = (Point(bounds[end]["x"], bounds[end]["y"]) for end in ("min", "max"))
    return _Places(tuple(Point(node["center"]["x"], node["center"]["y"]) for node in raw["nodes"]), lines, least, most)


def _label_place(line: Sequence[Point], *, loops: bool) -> Point:
    """Return where the label of ``line`` stands: above its middle, or where it ``loops`` to where it began, beyond its bend."""
    before, after = line[(len(line) - 1) // 2], line[len(line) // 2]
    beyond = _LABEL_HEIGHT if loops and before.y > line[0].y else 0.0
    return Point((before.x + after.x) / 2, (before.y + after.y) / 2 - _ABOVE + beyond)


def _node(name: str, at: Point, width: float, least: Point) -> DrawnNode:
    title, below = _parts(name)
    x, y = at.x - width / 2 - least.x + _MARGIN, at.y - _HEIGHT / 2 - least.y + _MARGIN
    return DrawnNode(name, _short(title), _short(below), round(x, 1), round(y, 1), width, _HEIGHT)


def _line(edge: MeshEdge, points: Sequence[Point], least: Point) -> DrawnEdge:
    moved = [Point(point.x - least.x + _MARGIN, point.y - least.y + _MARGIN) for point in points]
    at = _label_place(moved, loops=edge.source == edge.target)
    text = label(edge)
    width = round(len(text) * _OF_LABEL_LETTER + 8, 1)
    return DrawnEdge(edge, _path(moved), text, Point(round(at.x, 1), round(at.y, 1)), width, style(edge))


def _path(points: Sequence[Point]) -> str:
    """Return a path through ``points`` that leaves and comes in level, and is round at the corners."""
    first, last = points[0], points[-1]
    if len(points) == 2:
        middle = (first.x + last.x) / 2
        return f"M{first.x:.1f} {first.y:.1f}C{middle:.1f} {first.y:.1f} {middle:.1f} {last.y:.1f} {last.x:.1f} {last.y:.1f}"
    halves = [_between(before, after) for before, after in itertools.pairwise(points)]
    turns = (f"Q{corner.x:.1f} {corner.y:.1f} {half.x:.1f} {half.y:.1f}" for corner, half in zip(points[1:-1], halves[1:], strict=True))
    return f"M{first.x:.1f} {first.y:.1f}L{halves[0].x:.1f} {halves[0].y:.1f}{''.join(turns)}L{last.x:.1f} {last.y:.1f}"


def _between(before: Point, after: Point) -> Point:
    return Point(before.x + (after.x - before.x) * _BEND, before.y + (after.y - before.y) * _BEND)


def _parts(name: str) -> tuple[str, str]:
    """Return ``name`` and its namespace; a host outside of the mesh has none."""
    title, dot, namespace = name.rpartition(".")
    return (title, namespace) if dot and "." not in title else (name, "")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
