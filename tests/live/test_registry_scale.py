"""2,000 services of 5 instances: how soon they are there, what they cost, and how soon a change has reached a proxy while many happen."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import EDS
from tests.support.consul.server import real_consul
from tests.support.control_plane import delta, delta_request, next_delta
from tests.support.etcd import Etcd, etcd
from tests.support.fakes.consul import consul_double
from tests.support.processes import Process, Replica, free_port, start_replica
from tests.support.registry_world import ready_at
from tests.support.waiting import MEASURING, until, within

SERVICES, INSTANCES = 2000, 5
SECONDS, IDLE_S = 30.0, 10.0
pytestmark = pytest.mark.skipif(not MEASURING, reason="not run: figures are held where nothing else runs, by make measure")
NODE = "sidecar~10.9.9.9~c-0.default~default.svc.cluster.local"
Flip = Callable[[int, bool], Awaitable[None]]  # takes an instance of a service out, or has it back


def address(service: int, number: int) -> str:
    return f"10.{service // 250 + 1}.{service % 250}.{number + 1}"


class Plane:
    """A control plane that follows a registry, and what it costs."""

    def __init__(self, process: Process, xds: str) -> None:
        self.process = process
        self.xds = xds

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        [line] = [line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def plane(folder: Path, what: str, options: Sequence[str]) -> AsyncIterator[Plane]:
    """Yield a control plane that has read the registry by ``options``; print how that went."""
    folder.mkdir()
    xds, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    began = time.perf_counter()
    process = await start_replica(Replica("navarch", xds, admin), options, folder)
    try:
        started = Plane(process, xds)
        await until(lambda: ready_at(admin), "the control plane", watched=process)
        ready_s, busy_s = time.perf_counter() - began, started.cpu_s()
        await asyncio.sleep(IDLE_S)  # what follows the start is over
        before = started.cpu_s()
        await asyncio.sleep(IDLE_S)
        idle = (started.cpu_s() - before) / IDLE_S
        print(
            f"{what}: {SERVICES} services of {INSTANCES}: ready after {ready_s:.1f} s ({busy_s:.1f} s of CPU, start included), "
            f"{100 * idle:.1f} % of a CPU idle, {started.megabytes():.0f} MB"
        )
        yield started
        assert ready_s < within(5.0)
        assert idle < within(0.02)
    finally:
        await process.stop()


def sizes(response: DeltaDiscoveryResponse) -> Iterator[tuple[str, int]]:
    """Yield how many endpoints each cluster in ``response`` has, by its name."""
    for resource in response.resources:
        assignment = ClusterLoadAssignment.FromString(resource.resource.value)
        yield resource.name, sum(len(locality.lb_endpoints) for locality in assignment.endpoints)


async def lags(started: Plane, hosts: Callable[[int], str], flip: Flip, per_second: int) -> list[float]:
    """Return how long it took each of many changes, one after the other, to reach a proxy."""
    names = {f"outbound|80||{hosts(service)}": service for service in range(SERVICES)}
    changed_at: dict[int, tuple[float, int]] = {}
    counts: dict[int, int] = {}
    found: list[float] = []

    async with delta(started.xds) as call:
        await call.write(delta_request(EDS, node=NODE, names=tuple(names)))

        async def read() -> None:
            while True:
                response = await next_delta(call)
                now = time.perf_counter()
                await call.write(delta_request(EDS, nonce=response.nonce))
                for name, count in sizes(response):
                    service = names[name]
                    counts[service] = count
                    if service in changed_at and changed_at[service][1] == counts[service]:
                        found.append(now - changed_at.pop(service)[0])

        reading = asyncio.create_task(read())
        try:
            await until(lambda: len(counts) == SERVICES, "the endpoints of all")
            begun, made = time.perf_counter(), 0
            while (now := time.perf_counter()) - begun < SECONDS:
                service = made % SERVICES
                there = (made // SERVICES) % 2 == 1
                if service not in changed_at:
                    await flip(service, there)
                    changed_at[service] = (time.perf_counter(), INSTANCES if there else INSTANCES - 1)
                    if counts[service] == changed_at[service][1]:
                        found.append(0.0)
                        del changed_at[service]
                made += 1
                await asyncio.sleep(max(0.0, begun + made / per_second - now))
            await until(lambda: not changed_at, "the last changes")
        finally:
            reading.cancel()
    return sorted(found)


def report(what: str, found: Sequence[float], per_second: int, limit_s: float) -> None:
    p50, p99 = found[len(found) // 2], found[int(len(found) * 0.99)]
    print(f"{what}: {len(found)} changes, {per_second} a second: p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms")
    assert len(found) > SECONDS * per_second * 0.5
    assert p99 < within(limit_s)


def row(service: int, number: int) -> dict[str, object]:
    check = {"TTL": "10h", "Status": "passing"}
    plain = {"Name": f"s{service}", "ID": f"s{service}-{number}", "Address": address(service, number), "Port": 80}
    return {**plain, "Check": check, "Meta": {"protocol": "http"}}


async def test_the_double_of_consul(tmp_path: Path) -> None:
    async with consul_double() as consul:
        for service in range(SERVICES):
            for number in range(INSTANCES):
                consul.register(row(service, number))

        async def flip(service: int, there: bool) -> None:  # noqa: FBT001 - as Flip says
            consul.set_check("n1", f"s{service}-0", f"service:s{service}-0", "passing" if there else "critical")

        async with plane(tmp_path / "plane", "the double of Consul", ("--consul", consul.url)) as started:
            found = await lags(started, lambda service: f"s{service}.service.consul", flip, 200)
            report("the double of Consul", found, 200, 0.5)


async def test_consul(tmp_path: Path) -> None:
    async with real_consul(tmp_path / "consul") as consul:

        async def put(service: int, number: int, status: str) -> None:
            await consul.api.put("/v1/catalog/register", catalog_row(service, number, status))

        for service in range(SERVICES):
            await asyncio.gather(*(put(service, number, "passing") for number in range(INSTANCES)))

        async def flip(service: int, there: bool) -> None:  # noqa: FBT001 - as Flip says
            await put(service, 0, "passing" if there else "critical")

        async with plane(tmp_path / "plane", "Consul", ("--consul", consul.url)) as started:
            found = await lags(started, lambda service: f"s{service}.service.consul", flip, 20)
            report("Consul", found, 20, 1.0)


def catalog_row(service: int, number: int, status: str) -> dict[str, object]:
    """Return an instance at a node without an agent, as Consul's catalog takes it."""
    known, node = f"s{service}-{number}", f"node-{service % 20}"
    own = {"ID": known, "Service": f"s{service}", "Address": address(service, number), "Port": 80, "Meta": {"protocol": "http"}}
    check = {"Node": node, "CheckID": f"service:{known}", "Name": "own", "ServiceID": known, "Status": status}
    return {"Node": node, "Address": "10.250.0.1", "Service": own, "Check": check}


async def test_etcd(tmp_path: Path) -> None:
    async with etcd(tmp_path / "etcd") as server:
        for service in range(SERVICES):
            await asyncio.gather(*(register(server, service, number) for number in range(INSTANCES)))

        async def flip(service: int, there: bool) -> None:  # noqa: FBT001 - as Flip says
            if there:
                await register(server, service, 0)
            else:
                await server.delete(f"/services/s{service}/{address(service, 0)}:80")

        async with plane(tmp_path / "plane", "etcd", ("--etcd", server.url, "--etcd-prefix", "/services")) as started:
            found = await lags(started, lambda service: f"s{service}.etcd", flip, 200)
            report("etcd", found, 200, 0.5)


async def register(server: Etcd, service: int, number: int) -> None:
    await server.register(f"s{service}", f"{address(service, number)}:80", {"protocol": "http"})
