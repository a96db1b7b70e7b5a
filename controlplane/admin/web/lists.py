"""The pages that are lists: of proxies, with how far each has come, of objects, and of Problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.admin.schemas import ObjectRow, ProblemRow, ProxyRow
from controlplane.admin.web.rendering import html_pieces
from controlplane.admin.web.sync import proxy_sync, syncs_by_type
from controlplane.fleet.sync_state import SyncState
from controlplane.model.problems import Severity

MOST_ROWS = 500  # of one table: who wants others narrows it down
_NODE_PARTS = 4  # type~address~name~domain


class ListedType(NamedTuple):
    """A type of resources that proxies ask for: what it is called here, and its message."""

    title: str
    message: str


TYPES = (
    ListedType("Listeners", "Listener"),
    ListedType("Routes", "RouteConfiguration"),
    ListedType("Virtual hosts", "VirtualHost"),
    ListedType("Clusters", "Cluster"),
    ListedType("Endpoints", "ClusterLoadAssignment"),
    ListedType("Secrets", "Secret"),
)


@dataclass(frozen=True, slots=True)
class ProxyLine:
    """A proxy as the pages show it."""

    proxy: ProxyRow
    name: str
    kind: str
    sync: SyncState
    types: dict[str, SyncState]  # by the message of the type
    connected_at: float | None

    def has(self, words: str) -> bool:
        """Return whether ``words``, in lower case, are part of it."""
        return words in self.proxy.id.lower() or words == self.sync.lower()


def proxy_line(proxy: ProxyRow) -> ProxyLine:
    """Return how ``proxy`` is shown."""
    parts = proxy.id.split("~")
    kind, name = (parts[0], parts[2]) if len(parts) == _NODE_PARTS else ("", proxy.id)
    connected_at = min((connection.connected_at for connection in proxy.connections), default=None)
    return ProxyLine(proxy, name, kind, proxy_sync(proxy), syncs_by_type(proxy), connected_at)


def proxies_page(proxies: Iterable[ProxyRow], words: str) -> Iterator[bytes]:
    """Yield the page of those of ``proxies`` that have ``words``."""
    lines = []
    for proxy in proxies:
        line = proxy_line(proxy)
        if line.has(words.lower()):
            lines.append(line)
        yield b""
    counts = Counter(line.sync.value for line in lines)
    yield from html_pieces(
        "proxies.html",
        "proxies",
        {
            "q": words,
            "rows": lines[:MOST_ROWS],
            "found": len(lines),
            "types": [shown for shown in TYPES if any(shown.message in line.types for line in lines)],
            "counts": _in_order(counts, [state.value for state in SyncState]),
        },
    )


def problems_page(problems: Iterable[ProblemRow | None], words: str, severity: str) -> Iterator[bytes]:
    """Yield the page of those of ``problems`` that have ``words``; those of ``severity`` are found already."""
    rows = []
    for problem in problems:
        if problem is not None and words.lower() in _text(problem):
            rows.append(problem)
        yield b""
    counts = Counter(row.severity for row in rows)
    severities = tuple(each.value for each in Severity)
    yield from html_pieces(
        "problems.html",
        "problems",
        {
            "q": words,
            "severity": severity,
            "severities": severities,
            "rows": rows[:MOST_ROWS],
            "found": len(rows),
            "counts": _in_order(counts, severities),
        },
    )


def objects_page(objects: Iterable[ObjectRow | None], words: str) -> Iterator[bytes]:
    """Yield the page of those of ``objects`` that have ``words``."""
    rows = []
    for row in objects:
        if row is not None and words.lower() in f"{row.object} {row.file or ''}".lower():
            rows.append(row)
        yield b""
    counts = Counter(row.kind for row in rows)
    context = {"q": words, "rows": rows[:MOST_ROWS], "found": len(rows), "counts": _in_order(counts, sorted(counts))}
    yield from html_pieces("objects.html", "objects", context)


def _text(problem: ProblemRow) -> str:
    return " ".join((problem.object or "", problem.field, problem.code, problem.message, problem.file or "")).lower()


def _in_order(counts: Counter[str], order: Iterable[str]) -> dict[str, int]:
    return {word: counts[word] for word in order if counts[word]}
