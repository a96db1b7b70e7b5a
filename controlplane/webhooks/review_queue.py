"""Who is answered when: reviews that have come whole take turns, peer by peer, and nobody waits for longer than it pays."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from controlplane.webhooks.bodies import BadWebhookRequest

_WAITING = 100  # reviews of one peer


class ReviewQueue:
    """Turns for reviews: so many are worked on at once, and of those that wait, each peer has its turn."""

    def __init__(self, at_once: int) -> None:
        """Begin with nobody; ``at_once`` may have a turn."""
        self._free = at_once
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # by peer; whose turn is next is first

    @contextlib.asynccontextmanager
    async def turn(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn of ``peer`` and have it for the block; raises BadWebhookRequest where too many wait."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(peer)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, peer: str) -> None:
        waiting = self._waiting.setdefault(peer, deque())
        if len(waiting) >= _WAITING:
            raise BadWebhookRequest(429, f"expected at most {_WAITING} reviews at once from one address")
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(peer, turn)
            else:
                self._pass_on()  # it has come at this moment
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            peer, waiting = self._waiting.popitem(last=False)
            turn = waiting.popleft()
            if waiting:
                self._waiting[peer] = waiting
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, peer: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(peer)
        if waiting is None:
            return
        with contextlib.suppress(ValueError):
            waiting.remove(turn)
        if not waiting:
            del self._waiting[peer]
