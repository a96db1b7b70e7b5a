"""Changes of endpoints beside what is measured: so many a second, of one service after the other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.bench import workload
from tests.bench.stores import WorkloadStore
from tests.bench.workload import Size

_TICK_S = 0.02
_SPARED = 100  # services that are not changed, where there are more: those that are measured are among them


@dataclass
class Load:
    """The changes that were made."""

    begun: float
    made: int = 0
    a_second: float = 0.0  # once it is over


@contextlib.asynccontextmanager
async def endless_changes(store: WorkloadStore, size: Size, a_second: int) -> AsyncIterator[Load]:
    """Change ``a_second`` endpoints of ``store`` until the block ends."""
    load = Load(time.perf_counter())
    task = asyncio.create_task(_change(store, size, a_second, load))
    try:
        yield load
        if task.done():
            task.result()
        load.a_second = load.made / (time.perf_counter() - load.begun)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _change(store: WorkloadStore, size: Size, a_second: int, load: Load) -> None:
    first = min(_SPARED, size.services - 1)
    while True:
        due = int((time.perf_counter() - load.begun) * a_second)
        for _ in range(min(due - load.made, a_second)):
            number = first + load.made % (size.services - first)
            await store.change(workload.endpoints(number, size, moved=1 + load.made % 60_000))
            load.made += 1
        await asyncio.sleep(_TICK_S)
