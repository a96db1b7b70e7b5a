"""Who is told what becomes of streams, as far as they know it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from controlplane.model.proxies import Proxy
from controlplane.xds.events import Event
from controlplane.xds.stream import Variant


class Recorder(Protocol):
    """Records what becomes of streams and their responses."""

    def connected(self, connection: int, proxy: Proxy, variant: Variant) -> None:
        """Record that ``proxy`` has opened ``connection``."""

    def record(self, connection: int, events: Iterable[Event]) -> None:
        """Record ``events`` of ``connection``."""

    def disconnected(self, connection: int) -> None:
        """Record that ``connection`` has ended."""
