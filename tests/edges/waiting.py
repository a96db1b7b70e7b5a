"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_S = 15.0


async def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``condition`` holds; a TimeoutError says that it did not in time."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.002)


async def soon(awaitable: Awaitable[object], deadline_s: float = DEADLINE_S) -> object:
    """Return what ``awaitable`` gives, in time."""
    async with asyncio.timeout(deadline_s):
        return await awaitable
