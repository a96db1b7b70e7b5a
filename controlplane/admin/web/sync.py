"""How far a proxy has come with what it is sent, in the words that istioctl's users know."""

from __future__ import annotations

from enum import StrEnum

from controlplane.admin.schemas import ProxyRow, TypeState


class SyncState(StrEnum):
    """How a proxy stands to what it was sent, the worst last."""

    NOT_SENT = "NOT SENT"
    SYNCED = "SYNCED"
    STALE = "STALE"  # sent, and not answered yet
    HELD = "HELD"  # rules stay as they were, as what they lead to is not there
    NACKED = "NACKED"


_ORDER = tuple(SyncState)


def type_sync(state: TypeState) -> SyncState:
    """Return how one type on one stream stands."""
    if state.refuses:
        return SyncState.NACKED
    if state.sent is None:
        return SyncState.NOT_SENT
    return SyncState.SYNCED if state.sent == state.acked else SyncState.STALE


def proxy_sync(proxy: ProxyRow) -> SyncState:
    """Return how ``proxy`` stands, by the worst of what it has."""
    states = [type_sync(state) for connection in proxy.connections for state in connection.types]
    if proxy.held_back:
        states.append(SyncState.HELD)
    return max(states, key=_ORDER.index, default=SyncState.NOT_SENT)


def syncs_by_type(proxy: ProxyRow) -> dict[str, SyncState]:
    """Return how ``proxy`` stands by type, over all its streams, by the worst."""
    found: dict[str, SyncState] = {}
    for connection in proxy.connections:
        for state in connection.types:
            found[state.type] = max(found.get(state.type, SyncState.NOT_SENT), type_sync(state), key=_ORDER.index)
    return found
