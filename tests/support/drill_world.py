"""A caller and a callee behind real Envoys, a fleet of instances without, and a control plane that injects faults between them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.bootstrap.statistics import Statistics
from controlplane.fleet.fault_progress import FaultProgress
from controlplane.model.faults.faults import ALL_WORKLOADS, DrillFault, FaultId, FaultSide, WorkloadSelection
from controlplane.model.faults.kinds import FaultKind
from tests.support.drill_plane import DrillPlane
from tests.support.header_application import HeaderApplication
from tests.support.loopback import echo
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, free_network, free_port, start_envoy
from tests.support.waiting import DEADLINE_S, until

HTTP, TCP, PROXY = 9080, 9090, 15002
CART, FLEET = "cart.shop.svc.cluster.local", "fleet.shop.svc.cluster.local"
WEB = WorkloadSelection(namespaces=("shop",), labels=(("app", "web"),))
_EVERYTHING = Statistics(prefixes=("cluster.", "http.", "listener."))
_ZONES = {"fleet-1": "eu/z1", "fleet-2": "eu/z2", "fleet-3": "eu/z2"}
_PLACES = {"web": 11, "cart": 21, "fleet-1": 31, "fleet-2": 32, "fleet-3": 33}
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 9080}}, {{name: tcp, port: 9090}}]}}
---
"""
_ENTRY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{address: {ip}, labels: {{app: {app}}}, locality: {zone}}}
---
"""
_SIDECARS = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: cart, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: cart}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {cart}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {cart}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {web}, captureMode: NONE, hosts: ["*/*"]}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {web}, captureMode: NONE, hosts: ["shop/cart.shop.svc.cluster.local"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: cart, namespace: shop, annotations: {annotations}}}
spec:
  hosts: [cart]
  http:
  - timeout: 1s{more}
    retries: {{attempts: 2, retryOn: 5xx}}
    route: [{{destination: {{host: cart, port: {{number: 9080}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: cart, namespace: shop}}
spec:
  host: cart
  trafficPolicy:
    outlierDetection: {{consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 600s, maxEjectionPercent: 100, minHealthPercent: 50}}
---
"""


class Answer(NamedTuple):
    """The status of an answer, and after how many seconds it came."""

    status: int
    after_s: float


@dataclass
class DrillWorld:
    """The workloads, by name."""

    folder: Path
    network: str
    plane: DrillPlane
    applications: dict[str, HeaderApplication] = field(default_factory=dict)
    envoys: dict[str, Process] = field(default_factory=dict)

    def ip(self, name: str) -> str:
        """Return the address of the workload ``name``."""
        return f"{self.network}.{_PLACES[name]}"

    def save(self, **replaced: str) -> None:
        """Let the manifests be as at first, but for the ``annotations`` of the VirtualService, and ``more`` of its route."""
        text = "".join(_SERVICE.format(name=name) for name in ("web", "cart", "fleet"))
        for name in _PLACES:
            text += _ENTRY.format(name=name, ip=self.ip(name), app=name.partition("-")[0], zone=_ZONES.get(name, "eu/z1"))
        text += _SIDECARS.format(cart=self.ip("cart"), web=self.ip("web"), **{"annotations": "{}", "more": "", **replaced})
        draft = self.folder / "manifests" / "mesh.yaml~"
        draft.write_text(text)
        draft.rename(self.folder / "manifests" / "mesh.yaml")

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client that asks by way of the caller's Envoy."""
        async with httpx.AsyncClient(proxy=f"http://{self.ip('web')}:{PROXY}", timeout=DEADLINE_S) as client:
            yield client

    async def ask(self, times: int = 1, host: str = CART, path: str = "/") -> list[Answer]:
        """Return the answers to requests, one after the other."""
        found = []
        async with self.client() as client:
            for _ in range(times):
                began = time.monotonic()
                answer = await client.get(f"http://{host}:{HTTP}{path}")
                found.append(Answer(answer.status_code, time.monotonic() - began))
        return found

    async def ask_at_once(self, times: int, path: str) -> list[Answer]:
        """Return the answers to requests that are sent together."""
        async with self.client() as client:

            async def one() -> Answer:
                began = time.monotonic()
                answer = await client.get(f"http://{CART}:{HTTP}{path}")
                return Answer(answer.status_code, time.monotonic() - began)

            return await asyncio.gather(*(one() for _ in range(times)))

    async def prepare(self, *faults: DrillFault, lease_ms: int = 2000) -> FaultProgress:
        """Have ``faults`` prepared, and wait until no connection is left that does not pass their places."""
        prepared = await self.plane.prepare(*faults, lease_ms=lease_ms)

        async def drained() -> bool:
            return not any([await self.draining(name) for name in self.envoys])

        await until(drained, "connections from before are left")
        return prepared

    async def draining(self, name: str) -> int:
        """Return how many filter chains the Envoy of ``name`` still serves for connections from before."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            query = {"filter": "^listener_manager.total_filter_chains_draining$"}
            answer = await client.get(f"http://{self.ip(name)}:{ADMIN_PORT}/stats", params=query)
        return int(answer.text.rpartition(":")[2])

    async def served_by(self, times: int) -> dict[str, int]:
        """Return how many of as many requests each instance of the fleet has had."""
        before = {name: application.asked for name, application in self.applications.items()}
        assert {each.status for each in await self.ask(times, FLEET)} == {200}
        return {name: asked for name, each in self.applications.items() if (asked := each.asked - before[name])}

    async def until_answered(self, status: int) -> None:
        """Wait until requests to the callee are answered ``status``."""

        async def answered() -> bool:
            return [each.status for each in await self.ask()] == [status]

        await until(answered, f"requests are answered {status}")

    async def until_moved(self, name: str) -> None:
        """Wait until the counter ``name`` of the callee's cluster grows with a request."""

        async def moved() -> bool:
            before = await self.counters()
            await self.ask()
            return await self.moved(before, name) != (0,)

        await until(moved, f"{name} grows")

    async def until_closed(self) -> list[int]:
        """Return the statuses of five requests, once connections from before have been left."""
        await self.ask(3)
        return [each.status for each in await self.ask(5)]

    async def talk(self, data: bytes) -> bytes:
        """Return what comes back for ``data`` from the callee's TCP port by way of the caller's Envoy; nothing: it was closed."""
        reader, writer = await asyncio.open_connection(self.ip("web"), TCP)
        try:
            writer.write(data)
            return await reader.read(len(data))
        except OSError:
            return b""
        finally:
            writer.close()

    async def counters(self, host: str = CART, port: int = HTTP) -> dict[str, int]:
        """Return the counters and gauges of the caller's cluster of ``host``, by the last part of their names."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            prefix = f"cluster.outbound|{port}||{host};."
            answer = await client.get(f"http://{self.ip('web')}:{ADMIN_PORT}/stats", params={"filter": "^cluster[.]outbound"})
        found = [line.removeprefix(prefix).rpartition(": ") for line in answer.text.splitlines() if line.startswith(prefix)]
        return {name: int(value) for name, _, value in found if value.isdecimal()}

    async def configuration(self, name: str) -> str:
        """Return all that the Envoy of ``name`` is told now."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{self.ip(name)}:{ADMIN_PORT}/config_dump")).text

    async def moved(self, before: dict[str, int], *names: str) -> tuple[int, ...]:
        """Return by how much the counters ``names`` of the callee's cluster have grown since ``before``."""
        after = await self.counters()
        return tuple(after.get(name, 0) - before.get(name, 0) for name in names)

    async def start_envoy(self, name: str) -> None:
        """Start the Envoy of the workload ``name``."""
        spec = EnvoySpec(name=name, ip=self.ip(name), labels={"app": name}, namespace="shop", statistics=_EVERYTHING, drain_s=1)
        self.envoys[name] = await start_envoy(spec, self.folder, self.plane.xds)

    async def until_serving(self) -> None:
        """Wait until requests and connections pass."""

        async def serves() -> bool:
            with contextlib.suppress(httpx.TransportError, OSError):
                answers = [*await self.ask(), *await self.ask(host=FLEET)]
                return [each.status for each in answers] == [200, 200] and await self.talk(b"hello") == b"hello"
            return False

        await until(serves, "requests pass", watched=self.plane.process)

    async def start_plane(self) -> None:
        """Start the control plane."""
        await self.plane.start()
        await until(self._ready, "the control plane is ready", watched=self.plane.process)

    async def _ready(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                return (await client.get(f"http://{self.plane.admin}/readyz")).status_code == 200
        except httpx.TransportError:
            return False


def fault(kind: FaultKind, side: FaultSide, host: str = CART, injection: str = "") -> DrillFault:
    """Return a fault of ``kind`` in what web asks of ``host``."""
    name = injection or f"{type(kind).__name__.lower()}-{side}"
    caller = WEB if side is FaultSide.CALLER else ALL_WORKLOADS  # at the callee they are known by certificates, and there are none here
    return DrillFault(id=FaultId("shop", "drill", name), kind=kind, host=host, side=side, caller=caller)


@contextlib.asynccontextmanager
async def drill_world(folder: Path) -> AsyncIterator[DrillWorld]:
    """Yield the workloads; end everything with the block."""
    network = free_network((HTTP, TCP, PROXY, ADMIN_PORT, 8000, 8001))
    (folder / "manifests").mkdir()
    xds, admin, commands = (f"127.0.0.1:{free_port()}" for _ in range(3))
    world = DrillWorld(folder, network, DrillPlane(folder, xds, admin, commands))
    world.save()
    async with contextlib.AsyncExitStack() as stack:
        for name, port in (("cart", 8000), ("fleet-1", HTTP), ("fleet-2", HTTP), ("fleet-3", HTTP)):
            await stack.enter_async_context(_application(world, name, port))
        await stack.enter_async_context(await asyncio.start_server(echo, world.ip("cart"), 8001))
        stack.push_async_callback(_end, world)
        await world.start_plane()
        for name in ("web", "cart"):
            await world.start_envoy(name)
        await world.until_serving()
        yield world


async def _end(world: DrillWorld) -> None:
    await asyncio.gather(*(each.stop() for each in world.envoys.values()))
    if world.plane.process is not None:
        await world.plane.process.stop()


@contextlib.asynccontextmanager
async def _application(world: DrillWorld, name: str, port: int) -> AsyncIterator[None]:
    world.applications[name] = HeaderApplication()
    server = HttpServer(world.applications[name], f"{world.ip(name)}:{port}")
    server.open()
    task = asyncio.create_task(server.run())
    try:
        yield
    finally:
        server.stop()
        await task
        server.close()
