"""A control plane that follows a registry, applications that can be registered there, and an Envoy whose requests go to them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.demo.apps import APP_PORT, PROXY_PORT, AppInstance, RunningApp
from controlplane.demo.load import LoadGenerator, SteadyLoad, client_through_sidecar
from controlplane.untyped import Json
from tests.support.header_application import HeaderApplication
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import until

__all__ = ["APP_PORT", "RegistryWorld", "SteadyLoad", "registry_world", "served", "timed"]
SUBSETS = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: %(namespace)s}
spec:
  host: %(host)s
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: %(namespace)s}
spec:
  hosts: [%(host)s]
  http:
  - route:
    - {destination: {host: %(host)s, subset: v1}, weight: 90}
    - {destination: {host: %(host)s, subset: v2}, weight: 10}
"""
_CLIENT = """apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: client, namespace: default}
spec: {address: %(ip)s, labels: {app: client}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: default}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
  - port: {number: %(port)d, protocol: HTTP_PROXY, name: http-proxy}
    bind: %(ip)s
    captureMode: NONE
    hosts: ["*/*"]
"""


class RegistryWorld:
    """What runs."""

    def __init__(self, folder: Path, network: str, apps: Sequence[AppInstance]) -> None:
        """Have ``apps`` at addresses of ``network``, and manifests in ``folder``."""
        self.folder = folder
        self.network = network
        self.apps = apps
        self.client = f"{network}.2"
        self.admin = f"127.0.0.1:{free_port()}"
        self.xds = f"127.0.0.1:{free_port()}"
        self.caller = LoadGenerator(client_through_sidecar(self.client))
        self.plane: Process | None = None
        self._pages = httpx.AsyncClient(timeout=30)

    def address(self, number: int) -> str:
        """Return the address of the application ``number``, from 0."""
        return self.apps[number].ip

    def write(self, name: str, text: str) -> None:
        """Let ``text`` be the manifest ``name``."""
        draft = self.folder / "manifests" / f".{name}"
        draft.write_text(text)
        draft.rename(self.folder / "manifests" / f"{name}.yaml")

    async def start_plane(self, options: Sequence[str]) -> None:
        """Start the control plane with ``options``; it is ready when this returns."""
        told = ("--files", str(self.folder / "manifests"), *options)
        self.plane = await start_replica(Replica("navarch", self.xds, self.admin), told, self.folder)
        await until(self.ready, "the control plane", watched=self.plane)

    async def ready(self) -> bool:
        """Return whether the control plane says that it is ready."""
        return await ready_at(self.admin)

    async def page(self, path: str) -> list[Json]:
        """Return the rows of a page of the admin API."""
        found = (await self._pages.get(f"http://{self.admin}{path}")).json()
        assert isinstance(found, list)
        return found

    async def endpoints(self, host: str) -> dict[str, tuple[str, int]]:
        """Return the health and the weight of what the client's Envoy has for the clusters of ``host``, by address."""
        answer = await self._pages.get(f"http://{self.client}:{ADMIN_PORT}/clusters?format=json")
        found: dict[str, tuple[str, int]] = {}
        for cluster in json.loads(answer.text).get("cluster_statuses", []):
            if cluster["name"].endswith(f"||{host}"):
                for each in cluster.get("host_statuses", []):
                    where = each["address"]["socket_address"]
                    found[f"{where['address']}:{where['port_value']}"] = (
                        each["health_status"].get("eds_health_status", ""),
                        each.get("weight", 1),
                    )
        return found

    async def has(self, host: str, *numbers: int) -> None:
        """Wait until the client's Envoy has just the applications ``numbers`` for ``host``."""
        wanted = {f"{self.address(number)}:{APP_PORT}" for number in numbers}

        async def holds() -> bool:
            return (await self.endpoints(host)).keys() == wanted

        await self.eventually(holds, f"{host} at {sorted(wanted)}")

    async def eventually(self, holds: Callable[[], object], what: str) -> None:
        """Wait until ``holds``, as long as the control plane runs."""
        await until(holds, what, watched=self.plane)

    async def shares(self, url: str, count: int) -> Counter[str]:
        """Return which version answered how many of ``count`` requests, of which none may fail."""
        tally = await self.caller.many(url, count)
        assert tally.failed == 0, (tally.statuses, tally.errors[:3])
        return tally.versions

    async def close(self) -> None:
        """Close the connections."""
        await self.caller.close()
        await self._pages.aclose()


async def ready_at(where: str, path: str = "/readyz") -> bool:
    """Return whether who listens at ``where`` says at ``path`` that it is ready."""
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(f"http://{where}{path}")).status_code == 200
    except httpx.HTTPError:
        return False


async def timed(change: Awaitable[object], effect: Awaitable[None]) -> float:
    """Return how many seconds after the answer to ``change`` there was its ``effect``."""
    await change
    began = time.perf_counter()
    await effect
    return time.perf_counter() - began


@asynccontextmanager
async def served(host: str) -> AsyncIterator[int]:
    """Yield the port of an application at ``host``, until the block ends."""
    port = free_port(host)
    server = HttpServer(HeaderApplication(), f"{host}:{port}")
    server.open()
    task = asyncio.create_task(server.run())
    try:
        yield port
    finally:
        server.stop()
        await task
        server.close()


@asynccontextmanager
async def registry_world(
    folder: Path, options: Sequence[str], versions: Sequence[str] = ("v1", "v2", "v2")
) -> AsyncIterator[RegistryWorld]:
    """Yield a world whose control plane is served by ``options``, with an application for each of ``versions``; end it with the block."""
    network = free_network((APP_PORT, PROXY_PORT, ADMIN_PORT, 15021, 15090))
    apps = [AppInstance(f"web-{number}", "web", version, f"{network}.{10 + number}") for number, version in enumerate(versions)]
    (folder / "manifests").mkdir(parents=True, exist_ok=True)
    world = RegistryWorld(folder, network, apps)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(world.close)
        for app in apps:
            served = RunningApp(app)
            served.start()
            stack.push_async_callback(served.stop)
        world.write("client", _CLIENT % {"ip": world.client, "port": PROXY_PORT})
        await world.start_plane(options)
        assert world.plane is not None
        stack.push_async_callback(world.plane.stop)
        envoy = await start_envoy(EnvoySpec(name="client", ip=world.client, labels={"app": "client"}), folder, world.xds)
        stack.push_async_callback(envoy.stop)

        await until(lambda: ready_at(f"{world.client}:15021", "/healthz/ready"), "Envoy", watched=envoy)
        yield world
