"""Long work on the event loop, in slices: others get a turn after each, so that nobody waits for the whole.

Pieces may be empty, or ``None``: then they only say that the slice may end there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

SLICE_S = 0.01  # how long the event loop is held at most at a time by what others wait for
_SHORT_SLICE_S = 0.002
_REST = 3.0  # after a short slice the event loop is others' for so many times as long as the slice took
_LEAST_REST_S = 0.003
_SENDER_S = 5e-5  # what a sender takes, by default: a change of one resource
_WEIGHT = 0.25  # of the last group in the running average of that
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


class LoopShare:
    """A share of the event loop, a quarter at most, for all work together that others must not notice.

    Handing a change to a hundred streams takes many turns of the event loop. A turn of which something else takes 10 ms makes each of them
    as much longer. So there is one short slice at a time, whoever has work to do in turn, and a rest after it.
    """

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._turn = asyncio.Lock()  # whoever has waited longest is next

    async def turn(self) -> None:
        """Wait until something short may be done."""
        async with self._turn:
            await asyncio.sleep(_LEAST_REST_S)

    async def in_slices(self, pieces: Iterable[T]) -> AsyncIterator[T]:
        """Yield ``pieces``, some at a time."""
        left = iter(pieces)
        done = False
        while not done:
            async with self._turn:
                began = time.perf_counter()
                piece_list, done = _one_slice(left, began + _SHORT_SLICE_S)
                await asyncio.sleep(max(_LEAST_REST_S, _REST * (time.perf_counter() - began)))
            for piece in piece_list:
                yield piece

    async def collected(self, pieces: Iterable[Iterable[T]]) -> list[T]:
        """Return what all ``pieces`` have."""
        return [item async for piece in self.in_slices(pieces) for item in piece]


def _one_slice(left: Iterator[T], until: float) -> tuple[list[T], bool]:
    """Return the pieces that ``left`` has ``until`` then, one at least, and whether they were the last."""
    found = []
    for piece in left:
        found.append(piece)
        if time.perf_counter() > until:
            return found, False
    return found, True


class SendTurns:
    """Which senders compose next: a group in a round of the event loop, as many as take about as long as one slice.

    A change of endpoints wakes every stream at once. With 500 streams that are behind, composing for all of them takes half a second; were
    that one round, then the update loop, with a slice of 10 ms in each, would need half a minute for what takes it half a second.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._began = 0.0
        self._each_s = _SENDER_S

    async def all_woken(self) -> None:
        """Wait until no sender waits for its turn."""
        await self._idle.wait()

    def wake(self, sender: asyncio.Future[None]) -> None:
        """Set the result of ``sender`` when it is its turn; it is handed in once."""
        self._waiting.append(sender)
        if self._idle.is_set():
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Wake a group. The event loop calls in order: ``_begin``, the group's tasks, ``_end``."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._begin)
        most = max(1, int(SLICE_S / self._each_s))
        woken = 0
        while self._waiting and woken < most:
            sender = self._waiting.popleft()
            if not sender.done():
                sender.set_result(None)
                woken += 1
        loop.call_soon(self._end, woken)

    def _begin(self) -> None:
        self._began = time.perf_counter()

    def _end(self, woken: int) -> None:
        if woken:
            self._each_s += _WEIGHT * ((time.perf_counter() - self._began) / woken - self._each_s)
        if self._waiting:
            self._give()
        else:
            self._idle.set()
