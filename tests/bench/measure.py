"""The measurements: the real server, and the bare one beside it in the same run."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from google.protobuf.duration_pb2 import Duration

from controlplane.envoy.type_urls import EDS, VHDS
from tests.bench import workload
from tests.bench.stores import WorkloadStore
from tests.bench.swarm import Swarm
from tests.bench.workload import PORT, Size
from tests.support.processes import Process, Replica, free_port, start_replica
from tests.support.waiting import until

_REST_S = 4.0  # before memory is measured: what was needed only to connect is given back when nothing is going on


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server took: seconds, milliseconds, bytes."""

    configured_s: float
    endpoint_ms: tuple[float, ...]
    route_ms: tuple[float, ...]
    route_bytes: int
    rss_before: int
    rss_after: int
    ready_s: float = 0.0  # from the start of the process until it says that it is ready

    @property
    def endpoint_p50(self) -> float:
        """Return the median of the endpoint changes."""
        return statistics.median(self.endpoint_ms)

    @property
    def endpoint_p99(self) -> float:
        """Return the slowest but one in a hundred of the endpoint changes."""
        return statistics.quantiles(self.endpoint_ms, n=100, method="inclusive")[98]

    @property
    def route_p50(self) -> float:
        """Return the median of the VirtualService changes."""
        return statistics.median(self.route_ms)


async def real(folder: Path, size: Size, repetitions: int, bed: WorkloadStore) -> tuple[Figures, Swarm]:
    """Measure the program itself on what ``bed`` keeps."""
    replica = Replica("navarch", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    begun = time.perf_counter()
    process = await start_replica(replica, bed.options, folder, home="navarch-system")
    try:
        await until(_Ready(replica.admin), "ready", watched=process)
        ready_s = time.perf_counter() - begun

        async def endpoint(turn: int) -> float:
            return await bed.change(workload.endpoints(7, size, moved=turn + 1))

        async def route(turn: int) -> float:
            return await bed.change(workload.route(7, size, timeout_s=20 + turn))

        figures, swarm = await _measure(process, replica.xds, size, repetitions, endpoint, route, marked=True)
        return replace(figures, ready_s=ready_s), swarm
    finally:
        await process.stop()


async def bare(folder: Path, size: Size, repetitions: int, recorded: Swarm) -> Figures:
    """Measure a server that sends what ``recorded`` was sent, and does nothing else."""
    for type_url, payload in recorded.samples.items():
        (folder / f"{type_url.rpartition('/')[2]}.first").write_bytes(payload)
    for type_url, payload in recorded.changes.items():
        (folder / f"{type_url.rpartition('/')[2]}.change").write_bytes(payload)
    command = [sys.executable, "-m", "tests.bench.bare", str(folder)]
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    stdin = child.stdin
    try:
        port = int(await child.stdout.readline())
        process = Process("bare", child, folder / "bare.log")

        async def send(type_url: str) -> float:
            begun = time.perf_counter()
            stdin.write(f"{type_url.rpartition('/')[2]}.change\n".encode())
            await stdin.drain()
            return begun

        async def endpoint(_: int) -> float:
            return await send(EDS)

        async def route(_: int) -> float:
            return await send(VHDS)

        found, _ = await _measure(process, f"127.0.0.1:{port}", size, repetitions, endpoint, route, marked=False)
        return found
    finally:
        stdin.close()
        await child.wait()


async def _measure(
    process: Process,
    address: str,
    size: Size,
    repetitions: int,
    endpoint: Callable[[int], Awaitable[float]],
    route: Callable[[int], Awaitable[float]],
    *,
    marked: bool,
) -> tuple[Figures, Swarm]:
    swarm = Swarm(size)
    before = _resident(process.pid)
    configured = await swarm.connect(address)
    await asyncio.sleep(_REST_S)
    after = _resident(process.pid)
    host = workload.host(7, size)
    cluster, virtual_host = f"outbound|{PORT}||{host}", f"{PORT}/{host}:{PORT}"
    endpoint_ms, route_ms, route_bytes = [], [], 0
    for turn in range(repetitions):
        swarm.expect(EDS, cluster, workload.moved_address(turn + 1).encode() if marked else b"")
        endpoint_ms.append(await _one(swarm, endpoint, turn))
    for turn in range(repetitions):
        swarm.expect(VHDS, virtual_host, _timeout(20 + turn) if marked else b"")
        route_ms.append(await _one(swarm, route, turn))
        route_bytes = max(route_bytes, swarm.bytes.total())
    figures = Figures(configured, tuple(endpoint_ms), tuple(route_ms), route_bytes, before, after)
    await swarm.close()
    return figures, swarm


def _timeout(seconds: int) -> bytes:
    """Return how a route's timeout is written: the field ``RouteAction.timeout``, number 8."""
    duration = Duration(seconds=seconds).SerializeToString()
    return bytes((8 << 3 | 2, len(duration))) + duration


async def _one(swarm: Swarm, change: Callable[[int], Awaitable[float]], turn: int) -> float:
    begun = await change(turn)
    ended = await swarm.change()
    await asyncio.sleep(0.05)  # the last ACKs
    return (ended - begun) * 1000


def _resident(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class _Ready:
    def __init__(self, admin: str) -> None:
        self._url = f"http://{admin}/readyz"

    async def __call__(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(self._url)).status_code == 200
            except httpx.HTTPError:
                return False
