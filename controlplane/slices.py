"""Long work on the event loop, in slices: others get a turn after each, so that nobody waits for the whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

SLICE_S = 0.01  # how long the event loop is held at most at a time, but for a single long piece
T = TypeVar("T")


async def in_slices(pieces: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``pieces``, each worked out when it is asked for; others get a turn between two of them, every 10 ms."""
    since = time.perf_counter()
    for piece in pieces:
        yield piece
        if time.perf_counter() - since > SLICE_S:
            await asyncio.sleep(0)
            since = time.perf_counter()


async def collected(pieces: Iterable[Iterable[T]]) -> list[T]:
    """Return what all ``pieces`` have, worked out in slices."""
    return [item async for piece in in_slices(pieces) for item in piece]
