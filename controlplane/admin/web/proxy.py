"""The page of one proxy: what it was sent type by type, what it refuses and why, and what is held back from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controlplane.admin.schemas import LoadRow, ProxyRow, TypeState
from controlplane.admin.web.choices import KINDS
from controlplane.admin.web.lists import TYPES, proxy_line
from controlplane.admin.web.rendering import html_pieces
from controlplane.admin.web.sync import type_sync
from controlplane.fleet.sync_state import SyncState

_MOST_LOADS = 200  # clusters of one proxy that are shown
_TITLES = {shown.message: shown.title for shown in TYPES}
_KINDS = {kind.message: kind.name for kind in KINDS}


class TypeLine(NamedTuple):
    """One type on one stream, as it is shown; ``kind`` is what the page of resources calls it, as far as it shows it."""

    title: str
    kind: str | None
    sync: SyncState
    state: TypeState


def proxy_page(proxy: ProxyRow, loads: Sequence[LoadRow]) -> Iterator[bytes]:
    """Yield the page of ``proxy``, which reports ``loads``."""
    connections = [
        (connection, [_line(state, held=bool(proxy.held_back)) for state in connection.types]) for connection in proxy.connections
    ]
    busiest = sorted(loads, key=lambda load: (-load.requests_per_second, -load.requests, load.cluster))
    context = {"line": proxy_line(proxy), "connections": connections, "loads": busiest[:_MOST_LOADS], "found": len(loads)}
    yield from html_pieces("proxy.html", "proxies", context)


def _line(state: TypeState, *, held: bool) -> TypeLine:
    return TypeLine(_TITLES.get(state.type, state.type), _KINDS.get(state.type), type_sync(state, held=held), state)
