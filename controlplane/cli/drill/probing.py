"""Requests of the command's own: traffic while a drill runs, and the probes of experiments."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp

from controlplane.drills.experiments.chaos_toolkit import HttpProbe, ProbeResult

_TIMEOUT_S = 30.0
_AT_A_TIME = 200


@dataclass
class ProbeTraffic:
    """What became of the requests that were made while a drill ran."""

    url: str
    statuses: Counter[str] = field(default_factory=Counter)  # or the kind of error
    slowest_s: float = 0.0

    @property
    def words(self) -> str:
        """Return it in words."""
        found = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items())) or "none ended"
        return f"the probe's own record of {self.url}: {found}; the slowest took {self.slowest_s:.2f} s"


@contextlib.asynccontextmanager
async def traffic(url: str, per_second: float) -> AsyncIterator[ProbeTraffic]:
    """Ask for ``url`` so often while the block lasts, and yield what becomes of that."""
    found = ProbeTraffic(url)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_ask_steadily(session, found, per_second))
        try:
            yield found
        finally:
            task.cancel()


async def _ask_steadily(session: aiohttp.ClientSession, found: ProbeTraffic, per_second: float) -> None:
    turns = asyncio.Semaphore(_AT_A_TIME)
    begun, made = time.monotonic(), 0
    async with asyncio.TaskGroup() as tasks:
        while True:
            await turns.acquire()
            tasks.create_task(_ask_once(session, found, turns))
            made += 1
            await asyncio.sleep(max(0.0, begun + made / per_second - time.monotonic()))


async def _ask_once(session: aiohttp.ClientSession, found: ProbeTraffic, turns: asyncio.Semaphore) -> None:
    began = time.monotonic()
    try:
        async with session.get(found.url) as answer:
            await answer.read()
            outcome = str(answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome = type(error).__name__
    finally:
        turns.release()
    found.statuses[outcome] += 1
    found.slowest_s = max(found.slowest_s, time.monotonic() - began)


async def ask_probes(probes: Sequence[HttpProbe]) -> tuple[ProbeResult, ...]:
    """Return what becomes of ``probes``, one after the other."""
    async with aiohttp.ClientSession() as session:
        return tuple([await _ask_probe(session, probe) for probe in probes])


async def _ask_probe(session: aiohttp.ClientSession, probe: HttpProbe) -> ProbeResult:
    timeout = aiohttp.ClientTimeout(total=probe.timeout_s)
    try:
        async with session.request(probe.method, probe.url, headers=probe.headers, timeout=timeout) as answer:
            return ProbeResult(probe.name, answer.status in probe.statuses, answer.status)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return ProbeResult(probe.name, met=False, output=str(error) or type(error).__name__)
