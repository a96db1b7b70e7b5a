"""A replica more gets its share of the proxies that are there already, and none of them is sent anything again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import grpc

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.control_plane import DeltaCall
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.single_envoy import TcpRelay
from tests.support.waiting import until

AGE_S = 3.0
PROXIES = 12
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.1.1.1]}]
"""
CLUSTER = "outbound|80||web.default.svc.cluster.local"


class Proxy:
    """A proxy that comes again when its stream ends, with what it has."""

    def __init__(self, number: int, plane: Secure, address: str) -> None:
        self._node = node()
        self._node["id"] = f"sidecar~10.0.0.{number + 1}~client-{number}.default~default.svc.cluster.local"
        self._plane = plane
        self._address = address
        self._held: dict[str, dict[str, str]] = {type_url: {} for type_url in (CDS, EDS)}
        self.resources: list[int] = []  # that it was sent, stream by stream
        self.endings: list[grpc.StatusCode] = []

    async def run(self) -> None:
        """Come again and again."""
        credentials = grpc.ssl_channel_credentials(self._plane.roots)
        while True:
            async with stream(self._address, credentials, token=self._plane.token()) as call:
                self.resources.append(0)
                await self._speak(call)
                self.endings.append(await call.code())

    async def _speak(self, call: DeltaCall) -> None:
        for type_url, names in ((CDS, ()), (EDS, (CLUSTER,))):
            request = asking(type_url, self._node if type_url == CDS else None, *names)
            request.initial_resource_versions.update(self._held[type_url])
            await call.write(request)
        async for response in call:
            self.resources[-1] += len(response.resources) + len(response.removed_resources)
            self._held[response.type_url].update({each.name: each.version for each in response.resources})
            await call.write(asking(response.type_url, nonce=response.nonce))

    @property
    def is_configured(self) -> bool:
        """Return whether it has something of each type."""
        return all(self._held.values())


@contextlib.asynccontextmanager
async def connected(proxies: Iterable[Proxy]) -> AsyncIterator[None]:
    """Let ``proxies`` run until the block ends, and be configured when it begins."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(proxy.run()) for proxy in proxies]
        await until(lambda: any(task.done() for task in tasks) or all(proxy.is_configured for proxy in proxies), "all are configured")
        yield
        for task in tasks:
            task.cancel()


async def count(plane: Secure) -> int:
    """Return how many proxies are connected to ``plane``."""
    rows = await plane.running.json("/v1/proxies")
    assert isinstance(rows, list)
    return len(rows)


def port(plane: Secure) -> int:
    """Return where ``plane`` serves those who have a token."""
    assert plane.running.at.xds_tls
    return int(plane.running.at.xds_tls.rpartition(":")[2])


async def test_a_new_replica_has_its_share_within_the_age_of_a_connection_and_sends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "web.yaml").write_text(MANIFESTS)
    async with contextlib.AsyncExitStack() as replicas:
        first = await replicas.enter_async_context(secure(folder, age_s=AGE_S))
        service = TcpRelay(port(first))  # leads each connection to another replica, as the address of a Service does
        async with service.open() as address:
            proxies = [Proxy(number, first, address) for number in range(PROXIES)]
            async with connected(proxies):
                before = await count(first)
                second = await replicas.enter_async_context(secure(folder, age_s=AGE_S))
                service.ports = (port(first), port(second))
                since = [len(proxy.resources) for proxy in proxies]

                async def all_have_come_again() -> bool:
                    moved = all(len(proxy.resources) > streams for proxy, streams in zip(proxies, since, strict=True))
                    return moved and await count(first) + await count(second) == PROXIES

                await until(all_have_come_again, "every proxy is on a connection that was made since")
                shares = await count(first), await count(second)
                streams = [[*proxy.resources] for proxy in proxies]
                endings = {ending for proxy in proxies for ending in proxy.endings}

    print(f"{before} proxies at one replica, {shares} at two; resources by stream: {streams}")
    assert before == PROXIES
    assert min(shares) >= PROXIES / 4
    assert {resources for of_proxy in streams for resources in of_proxy[1:]} == {0}
    assert endings == {grpc.StatusCode.OK}
