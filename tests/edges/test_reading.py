"""Clients that read the admin API in a loop delay no push: the load table, on real streams."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx

from controlplane.envoy.type_urls import EDS
from tests.bench import workload
from tests.bench.stores import Files
from tests.bench.swarm_process import Swarm, swarm
from tests.bench.workload import PORT, Size
from tests.support.processes import Replica, free_port, start_replica
from tests.support.readers import reading
from tests.support.waiting import MEASURING, until, within

SIZE = Size(proxies=100, services=1000, routes=500) if MEASURING else Size(proxies=5, services=40, routes=10)
PUSHES = 20 if MEASURING else 2
PROXY = "sidecar~10.250.0.1~p0.ns0~ns0.svc.cluster.local"
CONFIG = f"/v1/proxies/{PROXY}/config/clusters"
READERS: Mapping[str, Sequence[str]] = {
    "nobody": (),
    "4 of objects": ("/v1/objects",) * 4,
    "8 mixed": (*("/v1/objects", "/v1/problems", "/v1/proxies") * 2, CONFIG, "/metrics"),
    "8 of health": ("/healthz", "/readyz") * 4,
}


async def test_reading_costs_the_pushes_nothing(tmp_path: Path) -> None:
    bed = Files(tmp_path / "manifests", SIZE)
    replica = Replica("navarch", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    process = await start_replica(replica, bed.options, tmp_path, home="navarch-system")
    took_ms: dict[str, list[float]] = {}
    try:
        async with swarm(SIZE) as proxies:
            await until(partial(_ready, replica.admin), "ready", watched=process)
            await proxies.connect([replica.xds], range(SIZE.proxies))
            for number, (name, pages) in enumerate(READERS.items()):
                async with reading([f"http://{replica.admin}{page}" for page in pages]) as readings:
                    pushes = [await _push_ms(proxies, bed, number * (PUSHES + 1) + turn + 1) for turn in range(PUSHES + 1)]
                took_ms[name] = pushes[1:]  # before the first nothing has happened for a while, so that garbage may be collected just then
                print(f"{name}: {_summary(took_ms[name])}; answers {dict(readings.answers)}, {readings.bytes / 1e6:.1f} MB")
                assert {answer.rpartition(" ")[2] for answer in readings.answers} <= {"200"}
                assert {answer.rpartition(" ")[0] for answer in readings.answers} == set(pages)
    finally:
        await process.stop()

    quiet = statistics.median(took_ms["nobody"])
    assert {name: statistics.median(took) for name, took in took_ms.items() if statistics.median(took) > within(2 * quiet)} == {}
    assert {name: max(took) for name, took in took_ms.items() if max(took) > within(250)} == {}


async def _ready(admin: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://{admin}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


async def _push_ms(proxies: Swarm, bed: Files, moved: int) -> float:
    """Return how long it takes until the last proxy has a change of an endpoint."""
    name, mark = f"outbound|{PORT}||{workload.host(7, SIZE)}", workload.moved_address(moved).encode()
    await proxies.expect(EDS, name, mark, range(SIZE.proxies))
    begun = await bed.change(workload.endpoints(7, SIZE, moved=moved))
    arrival = await proxies.arrival()
    await asyncio.sleep(0.05)  # the last ACKs
    return (arrival.last - begun) * 1000


def _summary(took_ms: Sequence[float]) -> str:
    return f"median {statistics.median(took_ms):.0f} ms, worst {max(took_ms):.0f} ms of {len(took_ms)} pushes"
