"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_S = 15.0


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
