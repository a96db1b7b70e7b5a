"""Waiting for a condition, and limits of time.

The machine may be as busy as it likes: what is only waited for has minutes. A figure (how quickly something has to happen) is held where
nothing else runs, which is what ``make measure`` says by ``NAVARCH_MEASURE``.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import time
from collections.abc import Callable
from typing import Protocol

DEADLINE_S = 120.0
MEASURING = bool(os.environ.get("NAVARCH_MEASURE"))


class Watched(Protocol):
    """A process without which waiting is in vain."""

    name: str

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""

    def last_words(self) -> str:
        """Return the end of its log."""


def within(limit: float) -> float:
    """Return ``limit``, a figure to compare with, where figures are held; elsewhere one that nothing exceeds."""
    return limit if MEASURING else math.inf


def at_most(limit_s: float) -> float:
    """Return how long to wait for what has to happen within ``limit_s``: that where figures are held, elsewhere the usual deadline."""
    return limit_s if MEASURING else DEADLINE_S


async def until(holds: Callable[[], object], what: str = "", *, deadline_s: float = DEADLINE_S, watched: Watched | None = None) -> None:
    """Wait until ``holds``, which may be asynchronous; a TimeoutError says ``what`` did not, or that the process ``watched`` has ended."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + deadline_s
    while True:
        answer = holds()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if watched is not None and not watched.alive:
            raise TimeoutError(f"{watched.name} ended: {watched.last_words()}")
        if loop.time() > ends:
            raise TimeoutError(f"{what or 'it'}: not within {deadline_s:g} s")
        await asyncio.sleep(0.005)


def wait_until(holds: Callable[[], object], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``holds``, where there is no event loop; a TimeoutError says ``what`` did not."""
    ends = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s")
        time.sleep(0.05)
