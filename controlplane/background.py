"""Long work in another thread, with which the event loop takes turns quickly.

Only one thread of Python works at a time. Who waits for its turn has it after the switch interval, and the event loop waits for it at each
thing that it does: at 30 ms, which is good where no other thread works for long (``app/control_plane.py``), a request of five such things
takes 150 ms while a file is being read.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_SWITCH_S = 0.002
P = ParamSpec("P")
R = TypeVar("R")


class _Turns:
    """How many threads work for long, and the interval of when none does."""

    def __init__(self) -> None:
        self._working = 0
        self._usual_s = 0.0

    def begin(self) -> None:
        if not self._working:
            self._usual_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_SWITCH_S, self._usual_s))
        self._working += 1

    def end(self) -> None:
        self._working -= 1
        if not self._working:
            sys.setswitchinterval(self._usual_s)


_turns = _Turns()


async def in_background(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what ``function`` returns for the arguments, called in another thread, for work of more than a few milliseconds."""
    _turns.begin()
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    finally:
        _turns.end()
