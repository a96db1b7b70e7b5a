"""Whose turn it is to be asked about: services that have changed before those that may have, and none twice at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from controlplane.sources.registry.pacing import TokenBucket

# Of services that may have changed and probably have not, as one of all is registered anew: so many at once, and then one every so often.
BURST, _INTERVAL_S = 100, 0.01


class RefreshQueue:
    """The services to be asked about."""

    def __init__(self) -> None:
        """Begin with none."""
        self._now: dict[str, None] = {}  # in the order in which they came
        self._later: dict[str, None] = {}
        self._in_flight: set[str] = set()  # whose answer is waited for
        self._bucket = TokenBucket(BURST, _INTERVAL_S)
        self._news = asyncio.Event()

    def add(self, now: Iterable[str], later: Iterable[str] = ()) -> None:
        """Have services asked about ``now``, and others ``later``."""
        self._now.update(dict.fromkeys(now))
        self._later.update(dict.fromkeys(later))
        self._news.set()

    def forget(self, name: str) -> None:
        """Do not ask about the service ``name``, which has gone."""
        self._now.pop(name, None)
        self._later.pop(name, None)

    def done(self, name: str) -> None:
        """Take note that there is an answer about the service ``name``, or none will come."""
        self._in_flight.discard(name)
        self._news.set()

    async def next(self) -> str:
        """Wait for a service to be asked about, and return its name; ``done`` is to be called afterwards."""
        while True:
            self._news.clear()
            wait_s = None
            name = self._first(self._now)
            if name is None and (name := self._first(self._later)) is not None:
                wait_s = self._bucket.wait_s(time.monotonic())
                if wait_s <= 0:
                    self._bucket.take(time.monotonic())
            if name is not None and not wait_s:
                self.forget(name)
                self._in_flight.add(name)
                return name
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _first(self, names: Iterable[str]) -> str | None:
        return next((name for name in names if name not in self._in_flight), None)
