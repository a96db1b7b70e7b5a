"""Keeps Python's garbage collector from stopping everything at a bad moment.

A full collection looks at every object there is: 140 ms with 200 services and 500 streams, measured, and in the midst of an update. What
lives long is therefore set aside when nothing is going on, and full collections happen then, or hardly ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

_YOUNG_THRESHOLD = (
    20_000  # new objects before a small collection; an update of 500 streams makes some thousands, which are freed without one
)
_OLD_THRESHOLD = 1_000  # middle collections before Python starts a full one by itself
_CHECK_S = 1.0
_TURNOVER = 2_000  # after so much, what was set aside is collected too
_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE_BYTES = 128 << 10  # more than what is read at a time: each such block is asked of the system, which may have no more


def give_large_blocks_back() -> None:
    """Have the C library return blocks of 128 KiB and more to the system as soon as they are free.

    The first answers of many streams at once are half a megabyte each. glibc would come to take such blocks from its heap, and keep
    them: 0.27 MB a stream instead of 0.24, measured with 500. Other C libraries than glibc are left alone.
    """
    _libc("mallopt", _M_MMAP_THRESHOLD, _LARGE_BYTES)


def _trim() -> None:
    """Return what is free in the C library's heap to the system."""
    _libc("malloc_trim", 0)


def _libc(name: str, *args: int) -> None:
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)) is not None:
        function(*args)


async def collect_when_quiet(turnover: Callable[[], int]) -> None:
    """Collect garbage and set aside what lives, whenever ``turnover``, a count of what has happened, has grown and then rested."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_YOUNG_THRESHOLD, 10, _OLD_THRESHOLD)
    collected_at = previous = -1
    collected_all_at = 0
    try:
        while True:
            await asyncio.sleep(_CHECK_S)
            now = turnover()
            if now == previous != collected_at:
                if now - collected_all_at >= _TURNOVER:
                    collected_all_at = now
                    gc.unfreeze()
                gc.collect()
                gc.freeze()
                _trim()
                collected_at = now
            previous = now
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
