"""Requests into the mesh, counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx

from controlplane.demo.apps import PROXY_PORT
from controlplane.demo.processes import PATIENCE_S, until

REVIEWS = "http://reviews:9080/reviews/0"
RATINGS = "http://ratings:9080/ratings/0"
PAGE = "http://productpage:9080/productpage"
_WORKERS = 12
# Connections do not grow old: one that does may be closed by its pool just when it has been given to the next request.
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=None)


@dataclass
class Tally:
    """What came back."""

    versions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unanswered: set[object] = field(default_factory=set)  # one for each request that has begun and not ended

    @property
    def total(self) -> int:
        """Return how many requests were made."""
        return sum(self.statuses.values()) + len(self.errors)

    @property
    def failed(self) -> int:
        """Return how many requests did not end in a success."""
        return self.total - sum(count for status, count in self.statuses.items() if 200 <= status < 300)


def client_through_sidecar(ip: str) -> httpx.AsyncClient:
    """Return what makes requests as the application of the workload at ``ip`` does: through its own sidecar."""
    return httpx.AsyncClient(proxy=f"http://{ip}:{PROXY_PORT}", timeout=PATIENCE_S, limits=LIMITS)


class LoadGenerator:
    """Makes requests and counts what comes back."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Make requests by ``client``."""
        self._client = client

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def one(self, url: str, tally: Tally, headers: Mapping[str, str] | None = None) -> None:
        """Make one request and count what came back."""
        begun = time.perf_counter()
        request = object()
        tally.unanswered.add(request)
        try:
            answer = await self._client.get(url, headers=dict(headers or {}))
        except httpx.HTTPError as error:
            tally.errors.append(f"{type(error).__name__}: {error}")
            return
        finally:
            tally.unanswered.discard(request)
        tally.seconds.append(time.perf_counter() - begun)
        tally.statuses[answer.status_code] += 1
        if answer.is_success:
            tally.versions[answer.json().get("version", "")] += 1

    async def many(self, url: str, count: int, headers: Mapping[str, str] | None = None) -> Tally:
        """Make ``count`` requests, a dozen at a time."""
        tally = Tally()
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self.one(url, tally, headers)

        await asyncio.gather(*(work() for _ in range(_WORKERS)))
        return tally

    async def steadily(self, url: str, tally: Tally, *, per_second: float, stop: asyncio.Event) -> None:
        """Make ``per_second`` requests a second until ``stop``."""
        loop = asyncio.get_running_loop()
        begun, made = loop.time(), 0
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                tasks.create_task(self.one(url, tally))
                made += 1
                await asyncio.sleep(max(0.0, begun + made / per_second - loop.time()))


class SteadyLoad:
    """Steady requests for as long as a block lasts."""

    def __init__(self, caller: LoadGenerator, url: str, *, per_second: float) -> None:
        """Make ``per_second`` requests a second of ``url`` by ``caller``."""
        self.tally = Tally()
        self._stop = asyncio.Event()
        self._run = caller.steadily(url, self.tally, per_second=per_second, stop=self._stop)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._task = asyncio.create_task(self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, once the last is answered."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def at_least(self, count: int) -> None:
        """Wait until ``count`` requests have ended."""

        async def counted() -> bool:
            return self.tally.total >= count

        await until(f"{count} requests", counted, seconds=PATIENCE_S)

    async def answered(self) -> None:
        """Wait until each request that has begun by now has ended: on a busy machine, later ones overtake it."""
        begun = set(self.tally.unanswered)

        async def ended() -> bool:
            return not begun & self.tally.unanswered

        await until("the answers", ended, seconds=PATIENCE_S)
