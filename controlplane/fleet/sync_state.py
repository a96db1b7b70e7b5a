"""How far a proxy is with what it is sent, in the words that istioctl's users know."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

ROUTE_TYPES = frozenset(("RouteConfiguration", "VirtualHost"))  # whose rules are held back, where something is


class SyncState(StrEnum):
    """How far a proxy is with one type, the worst last."""

    SYNCED = "SYNCED"  # it has accepted what it was sent last
    HELD = "HELD"  # it is not sent something yet, as what that leads to is not there
    STALE = "STALE"  # it has not answered yet
    NACKED = "NACKED"  # it has refused it


_ORDER = tuple(SyncState)


def worst(states: Iterable[SyncState]) -> SyncState:
    """Return the worst of ``states``."""
    return max(states, key=_ORDER.index, default=SyncState.SYNCED)
