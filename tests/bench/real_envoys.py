"""Real Envoys beside the simulated sidecars."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from controlplane.envoy.type_urls import EDS
from controlplane.untyped import instant, items
from tests.bench import workload
from tests.bench.measure import CHANGED, MB, Figures
from tests.bench.served import Served, resident
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, free_network, start_envoy
from tests.support.waiting import until

COUNT = 20
_PORTS = (15000, 15021, 15090)
_CHANGES = 5


@dataclass(frozen=True, slots=True)
class Beside:
    """An Envoy that runs, and where."""

    name: str
    ip: str
    process: Process

    async def has(self, client: httpx.AsyncClient, address: str) -> bool:
        """Return whether it sends requests to ``address``."""
        answer = await client.get(f"http://{self.ip}:{ADMIN_PORT}/clusters")
        return address in answer.text

    async def clusters(self, client: httpx.AsyncClient) -> int:
        """Return how many clusters it has that are ready."""
        answer = await client.get(f"http://{self.ip}:{ADMIN_PORT}/stats", params={"filter": "^cluster_manager.active_clusters$"})
        found = re.search(r"active_clusters: (\d+)", answer.text)
        return int(found[1]) if found else 0


async def envoys(served: Served, folder: Path) -> Figures:
    """Start real Envoys, and change endpoints: until the last of them has said that it takes what it was sent."""
    begun = time.perf_counter()
    async with _running(served, folder) as all_of_them, httpx.AsyncClient(timeout=60) as client:

        async def configured() -> bool:
            counts = [await each.clusters(client) for each in all_of_them]
            return min(counts) >= served.size.visible and await _acknowledged(served, client, all_of_them, 0.0) > 0

        await until(configured, "every Envoy has every cluster", watched=all_of_them[0].process)
        took = time.perf_counter() - begun
        changes = [await _change(served, client, all_of_them) for _ in range(_CHANGES)]
        memory = sum(resident(each.process.pid) for each in all_of_them) / len(all_of_them)
    return {
        "envoys": len(all_of_them),
        "envoys_configured_s": took,
        "envoys_endpoint_ms": sorted(changes)[len(changes) // 2],
        "envoy_memory_mb": memory / MB,
    }


async def _change(served: Served, client: httpx.AsyncClient, all_of_them: Sequence[Beside]) -> float:
    address = workload.moved_address(served.turn("endpoint"))
    moved = served.counts["endpoint"]
    await served.swarm.expect(EDS, workload.cluster(CHANGED, served.size), address.encode(), served.everybody)
    begun = time.time()
    await served.store.change(workload.endpoints(CHANGED, served.size, moved=moved))
    await served.swarm.arrival()
    found: list[float] = []

    async def taken() -> bool:
        found[:] = [await _acknowledged(served, client, all_of_them, begun)]
        return found[0] > 0

    await until(taken, "every Envoy has taken the change")

    async def there() -> bool:
        return all([await each.has(client, address) for each in all_of_them])

    await until(there, "every Envoy sends requests to the new address")
    return (found[0] - begun) * 1000


async def _acknowledged(served: Served, client: httpx.AsyncClient, all_of_them: Sequence[Beside], since: float) -> float:
    """Return when the last of the Envoys has accepted endpoints, in seconds since the epoch; 0.0: one has not, ``since`` then."""
    rows = (await client.get(f"http://{served.replicas[0].admin}/v1/proxies")).json()
    names = {each.name for each in all_of_them}
    last = {
        str(row["id"]).split("~")[2].partition(".")[0]: max(instant(each, "ackedAt") for each in types)
        for row in rows
        for connection in items(row, "connections")
        if (types := [each for each in items(connection, "types") if each["typeUrl"] == EDS])
    }
    times = [last.get(name, 0.0) for name in names]
    return max(times) if min(times) > since else 0.0


@contextlib.asynccontextmanager
async def _running(served: Served, folder: Path) -> AsyncIterator[list[Beside]]:
    network = free_network(_PORTS)
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for number in range(COUNT):
            name, ip = f"envoy-{number}", f"{network}.{11 + number}"
            namespace = workload.namespace_of(number, served.size)
            told = EnvoySpec(name=name, ip=ip, labels={"app": name}, namespace=namespace, interception="REDIRECT")
            process = await start_envoy(told, folder, served.addresses[0])
            stack.push_async_callback(process.stop, kill=True)
            started.append(Beside(name, ip, process))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        for each in started:
            await until(_Answers(client, each), f"{each.name} answers", watched=each.process)
        yield started


@dataclass(frozen=True, slots=True)
class _Answers:
    client: httpx.AsyncClient
    envoy: Beside

    async def __call__(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            await self.envoy.clusters(self.client)
            return True
        await asyncio.sleep(0.1)
        return False
