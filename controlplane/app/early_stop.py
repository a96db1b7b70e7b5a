"""What is begun before there is anything to serve, and given up where the process is to end first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def unless_stopped(work: Coroutine[object, object, T], stop: asyncio.Event) -> T | None:
    """Return the result of ``work``; None where ``stop`` is set first, and ``work`` is given up then."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return None
    finally:
        working.cancel()
        stopping.cancel()
