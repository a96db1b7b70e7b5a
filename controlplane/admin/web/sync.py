"""How far a proxy has come with each type, from its row."""

from __future__ import annotations

from controlplane.admin.schemas import ProxyRow, TypeState
from controlplane.fleet.sync_state import ROUTE_TYPES, SyncState, worst


def type_sync(state: TypeState, *, held: bool) -> SyncState:
    """Return how far one stream is with one type; ``held``: rules are held back from its proxy."""
    if state.refuses:
        return SyncState.NACKED
    if state.sent != state.acked:
        return SyncState.STALE
    return SyncState.HELD if held and state.type in ROUTE_TYPES else SyncState.SYNCED


def syncs_by_type(proxy: ProxyRow) -> dict[str, SyncState]:
    """Return how far ``proxy`` is with each type: on all its streams, the worst."""
    found: dict[str, SyncState] = {}
    for connection in proxy.connections:
        for state in connection.types:
            synced = type_sync(state, held=bool(proxy.held_back))
            found[state.type] = worst((found.get(state.type, SyncState.SYNCED), synced))
    return found


def proxy_sync(proxy: ProxyRow) -> SyncState:
    """Return how far ``proxy`` is, by the worst of its types."""
    held = (SyncState.HELD,) if proxy.held_back else ()
    return worst((*syncs_by_type(proxy).values(), *held))
