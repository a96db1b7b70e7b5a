"""The connections that a server has open: bounded for each peer and in all. Who has asked for nothing yet makes room for who comes."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

PER_PEER = 256  # an API server by default works on 200 writes at a time, and may ask about all of them at once
TOTAL = 512


class OpenConnection(Protocol):
    """One connection."""

    @property
    def is_answered(self) -> bool:
        """Return whether a whole request has come that is not answered yet."""

    def hang_up(self) -> None:
        """End the connection at once."""


class OpenConnections:
    """The connections of one server, the oldest first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._peers: dict[OpenConnection, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, connection: OpenConnection, peer: str) -> bool:
        """Return whether there is room for ``connection`` of ``peer``; the oldest that waits for its peer may have to make some."""
        of_peer = self._counts[peer] >= PER_PEER
        if of_peer or len(self._peers) >= TOTAL:
            idle = (each for each, its_peer in self._peers.items() if not each.is_answered and (its_peer == peer or not of_peer))
            oldest = next(idle, None)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.hang_up()
        self._peers[connection] = peer
        self._counts[peer] += 1
        return True

    def remove(self, connection: OpenConnection) -> None:
        """Forget ``connection``, which has ended, or never had room."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]
