"""What is measured: the program itself, as one or several processes, or the bare server; and the swarm that speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.bench.stores import WorkloadStore
from tests.bench.swarm_process import Swarm, swarm
from tests.bench.workload import Size
from tests.support.processes import Process, Replica, free_port, start_replica
from tests.support.waiting import until

_STOPPED_S = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """Servers that are ready, and a swarm of which nobody is connected yet."""

    size: Size
    store: WorkloadStore
    swarm: Swarm
    replicas: tuple[Replica, ...]
    processes: tuple[Process, ...]
    ready_s: float  # from the start of the processes until all say that they are ready
    before: int = 0  # resident memory when ready, in bytes
    counts: dict[str, int] = field(default_factory=dict)  # how often each thing was changed, so that each change is another

    @property
    def addresses(self) -> list[str]:
        """Return where xDS is served."""
        return [replica.xds for replica in self.replicas]

    @property
    def everybody(self) -> range:
        """Return the numbers of all sidecars."""
        return range(self.size.proxies)

    def resident(self) -> int:
        """Return the memory of all processes, in bytes."""
        return sum(resident(process.pid) for process in self.processes)

    def turn(self, what: str) -> int:
        """Return how often this was asked for ``what``, from 1."""
        self.counts[what] = self.counts.get(what, 0) + 1
        return self.counts[what]


@contextlib.asynccontextmanager
async def served(
    folder: Path, size: Size, store: WorkloadStore, *, replicas: int = 1, pinned: bool = False, go: bool | None = None
) -> AsyncIterator[Served]:
    """Yield the program, serving what is in ``store``; ``pinned``: each replica on a core of its own."""
    async with contextlib.AsyncExitStack() as stack:
        own = await stack.enter_async_context(swarm(size, go=go))
        named = tuple(Replica(f"navarch-{number}", *(f"127.0.0.1:{free_port()}" for _ in range(2))) for number in range(replicas))
        begun = time.perf_counter()
        processes: list[Process] = []
        for number, replica in enumerate(named):
            process = await start_replica(replica, store.options, folder, home="navarch-system")
            stack.push_async_callback(process.stop)
            processes.append(process)
            if pinned:
                os.sched_setaffinity(process.pid, {_core(number)})
        for replica, process in zip(named, processes, strict=True):
            await until(_Ready(replica.admin), "ready", watched=process)
        ready_s = time.perf_counter() - begun
        before = sum(resident(process.pid) for process in processes)
        yield Served(size, store, own, named, tuple(processes), ready_s, before)


@dataclass(frozen=True, slots=True)
class Bare:
    """The bare server: where it is, and what has it send a change."""

    size: Size
    swarm: Swarm
    address: str
    _stdin: asyncio.StreamWriter

    async def send(self, type_url: str) -> float:
        """Have the recorded change of ``type_url`` sent to everybody; return when."""
        begun = time.perf_counter()
        self._stdin.write(f"{type_url.rpartition('.')[2]}.change\n".encode())
        await self._stdin.drain()
        return begun


@contextlib.asynccontextmanager
async def bare(folder: Path, size: Size, *, go: bool | None = None) -> AsyncIterator[Bare]:
    """Yield a server that sends what the swarm has saved below ``folder``, and does nothing else."""
    piped = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.bench.bare", str(folder)]
    child = await asyncio.create_subprocess_exec(*command, stdin=piped, stdout=piped)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = int(await child.stdout.readline())
        async with swarm(size, go=go) as own:
            yield Bare(size, own, f"127.0.0.1:{port}", child.stdin)
    finally:
        child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), _STOPPED_S)
        except TimeoutError:
            child.kill()
            await child.wait()


def resident(pid: int) -> int:
    """Return how many bytes of the process ``pid`` are in memory."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def _core(number: int) -> int:
    cores = sorted(os.sched_getaffinity(0))
    return cores[number % len(cores)]


class _Ready:
    def __init__(self, admin: str) -> None:
        self._url = f"http://{admin}/readyz"

    async def __call__(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(self._url)).status_code == 200
            except httpx.HTTPError:
                return False
