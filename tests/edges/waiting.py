"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

DEADLINE_S = 15.0
ALONE = bool(os.environ.get("NAVARCH_MEASURE"))  # nothing else runs: `make measure`
_SHARED = 5  # how much slower a test may be that shares the machine's cores with others


def within(limit: float) -> float:
    """Return ``limit``, a time, as it is where nothing else runs, and more of it where tests run side by side."""
    return limit if ALONE else _SHARED * limit


async def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``condition`` holds; a TimeoutError says that it did not in time."""
    async with asyncio.timeout(deadline_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


async def until_so(condition: Callable[[], Awaitable[object]], deadline_s: float = DEADLINE_S) -> None:
    """Wait until what ``condition`` asks for holds; a TimeoutError says that it did not in time."""
    async with asyncio.timeout(deadline_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)
