"""Long work on the event loop, in slices: others get a turn after each, so that nobody waits for the whole."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar
from weakref import WeakKeyDictionary

SLICE_S = 0.01  # how long the event loop is held at most at a time, but for a single long piece
T = TypeVar("T")


class _Rounds:
    """Whose slice is next: one in a round of the event loop, however many have long work to do.

    A request takes some seven rounds, from the new connection to the answer. Were there a slice of each in every round, three of them would
    make 0.2 s of that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    def wait(self) -> asyncio.Future[None]:
        """Return what is done when it is the caller's turn."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._give)

    def _give(self) -> None:
        self._is_scheduled = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited was not cancelled
                turn.set_result(None)
                break
        if self._waiting:
            self._schedule()


_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()


async def next_turn() -> None:
    """Let others have a turn, and wait for one: between two slices of long work."""
    loop = asyncio.get_running_loop()
    rounds = _rounds.get(loop)
    if rounds is None:
        rounds = _rounds[loop] = _Rounds(loop)
    await rounds.wait()


async def in_slices(pieces: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``pieces``, each worked out when it is asked for; others get a turn between two of them, every 10 ms."""
    since = time.perf_counter()
    for piece in pieces:
        yield piece
        if time.perf_counter() - since > SLICE_S:
            await next_turn()
            since = time.perf_counter()


async def collected(pieces: Iterable[Iterable[T]]) -> list[T]:
    """Return what all ``pieces`` have, worked out in slices."""
    return [item async for piece in in_slices(pieces) for item in piece]
