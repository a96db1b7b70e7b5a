"""The first page: how many proxies, Problems and objects there are, and who asks whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from controlplane.admin.state import AdminState
from controlplane.admin.traffic.explanations import in_pieces
from controlplane.admin.web.graph.drawing import drawn, percentage
from controlplane.admin.web.graph.mesh_graph import MeshEdge, mesh_edges
from controlplane.admin.web.rendering import html_pieces
from controlplane.admin.web.sync import proxy_sync
from controlplane.fleet.sync_state import SyncState
from controlplane.model.problems import Severity
from controlplane.objects.locations import locate_problems

MOST_EDGES = 500  # of the table


class Sum(NamedTuple):
    """A figure of the first page, the page that has more of it, and how many there are by state."""

    title: str
    path: str
    number: int
    states: tuple[tuple[str, int], ...]


def mesh_page(state: AdminState, words: str) -> Iterator[bytes]:
    """Yield the page; of the graph, the edges from or to services that have ``words``."""
    proxies = yield from _proxies(state)
    problems = yield from _problems(state)
    objects = len(state.mesh.keys)
    edges = yield from in_pieces(mesh_edges(state.sessions(), state.load))
    chosen = [edge for edge in edges if words.lower() in f"{edge.source} {edge.target}".lower()]
    yield b""
    drawing = drawn(chosen)
    yield b""
    yield from html_pieces(
        "mesh.html",
        "mesh",
        {
            "q": words,
            "sums": (proxies, problems, Sum("Objects", "/objects", objects, ())),
            "traffic": _traffic(edges),
            "drawing": drawing,
            "edges": chosen[:MOST_EDGES],
            "found": len(chosen),
            "reports": bool(edges),
            "percentage": percentage,
        },
    )


def _proxies(state: AdminState) -> Generator[bytes, None, Sum]:
    counts: Counter[str] = Counter()
    for proxy in state.proxies(None):
        counts[proxy_sync(proxy).value] += 1
        yield b""
    return _sum("Proxies", "/proxies", counts, [each.value for each in SyncState])


def _problems(state: AdminState) -> Generator[bytes, None, Sum]:
    counts: Counter[str] = Counter()
    for piece in locate_problems(chain(state.mesh.problems_by_object(), state.fleet_problems()), state.locations()):
        counts.update(each.problem.severity.value for each in piece)
        yield b""
    return _sum("Problems", "/problems", counts, [each.value for each in Severity])


def _sum(title: str, path: str, counts: Counter[str], order: Sequence[str]) -> Sum:
    return Sum(title, path, counts.total(), tuple((word, counts[word]) for word in order if counts[word]))


def _traffic(edges: Sequence[MeshEdge]) -> tuple[float, float | None]:
    """Return how many requests there are a second, and which share of them succeeds."""
    requests = sum(edge.requests_per_s for edge in edges)
    return requests, (1 - sum(edge.errors_per_s for edge in edges) / requests if requests else None)
