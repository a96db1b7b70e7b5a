"""How much one stream, and one client with all its streams, may ask for; and that of those who have much to do one goes on at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from controlplane.model.identity import Identity
from controlplane.serve.authn.authenticate import peer_host

MAX_NAMES = 100_000  # that one stream may ask for: each costs memory, whether it exists or not
MAX_UNANSWERED = 300_000  # names that the streams of one client ask for and have nothing of: those that exist cost next to nothing
_RECOUNT = 1000  # names that are asked for between two counts
_AGAIN_S = 60.0  # after which the log is told again of the same address
_MAX_TOLD = 1000  # addresses that are remembered for that

log = logging.getLogger(__name__)


class Requested(Protocol):
    """What a stream asks for."""

    @property
    def size(self) -> int:
        """Return how many names are kept for the client."""

    def unanswered(self) -> int:
        """Return of how many of them the client has nothing, and is to get nothing; slow, as what is published is looked at."""


class Quotas:
    """The names that each client has asked for and has nothing of, and the turns of those who have much to do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no clients; ``clock`` gives seconds."""
        self._unanswered: Counter[str] = Counter()
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self.turn = asyncio.Lock()  # who has little to do never waits for it

    def unanswered(self, client: str) -> int:
        """Return how many names ``client`` has asked for and has nothing of."""
        return self._unanswered[client]

    def change(self, client: str, by: int) -> None:
        """Take note that ``client`` has ``by`` more such names, or fewer."""
        self._unanswered[client] += by
        if self._unanswered[client] <= 0:
            del self._unanswered[client]

    def tell(self, peer: str, identity: Identity | None, reason: str) -> None:
        """Tell the log that a stream of ``peer``, as gRPC names it, was ended for ``reason``; of one address once a minute."""
        address, now = peer_host(peer), self._clock()
        if now - self._told_at.get(address, -_AGAIN_S) < _AGAIN_S:
            return
        if len(self._told_at) >= _MAX_TOLD:
            self._told_at.clear()
        self._told_at[address] = now
        log.warning("stream ended, it asks for too much", extra={"peer": peer, "identity": str(identity or ""), "reason": reason})


class Allowance:
    """What one stream of a client may still ask for."""

    def __init__(self, quotas: Quotas, client: str) -> None:
        """Count for ``client`` among ``quotas``."""
        self.turn = quotas.turn
        self._quotas = quotas
        self._client = client
        self._unanswered = 0  # when it was counted last
        self._added = 0  # names that were asked for since

    def exceeded(self, requested: Requested, added: int) -> str | None:
        """Return what is too much now that ``added`` names more are ``requested``, if anything is."""
        if requested.size > MAX_NAMES:
            return f"expected at most {MAX_NAMES} names asked for on one stream"
        self._added += added
        if self._added >= _RECOUNT:
            self._count(requested.unanswered())
            if self._quotas.unanswered(self._client) > MAX_UNANSWERED:
                return f"expected at most {MAX_UNANSWERED} names asked for by one client of which there is nothing"
        return None

    def close(self) -> None:
        """Give back what the stream, which has ended, had."""
        self._count(0)

    def _count(self, unanswered: int) -> None:
        self._quotas.change(self._client, unanswered - self._unanswered)
        self._unanswered, self._added = unanswered, 0
