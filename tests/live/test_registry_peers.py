"""Instances of a registry that are in the mesh: mutual TLS with whom they say they are, and with nobody else; and an ejection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.support.envoys import LISTENERS, SERVICE_PORT, DemoMesh, FolderStore, peer_authentication_manifest
from tests.support.fakes.consul import ConsulDouble, consul_double
from tests.support.waiting import until

CALLER = "spiffe://cluster.local/ns/default/sa/productpage"
REVIEWS = "spiffe://cluster.local/ns/default/sa/reviews"
OUTLIERS = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ejected, namespace: consul}
spec:
  host: ejected.service.consul
  trafficPolicy: {outlierDetection: {consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 300s, maxEjectionPercent: 100}}
"""
pytestmark = pytest.mark.asyncio(loop_scope="module")


class FolderBesideConsul(FolderStore):
    """A folder of manifests that a control plane serves beside a Consul."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url

    def serve(self, replica: str) -> Sequence[str]:
        return (*super().serve(replica), "--consul", self._url)


class World(NamedTuple):
    consul: ConsulDouble
    mesh: DemoMesh

    async def register(self, name: str, instance: str, **meta: str) -> None:
        ip = self.mesh.instances[instance].ip
        await self.consul.api.register(name, ip, SERVICE_PORT, identifier=f"{name}-{instance}", meta={"protocol": "http", **meta})

    async def statuses(self, name: str, count: int = 10) -> dict[int, int]:
        return dict((await self.mesh.caller.many(f"http://{name}.service.consul:{SERVICE_PORT}/reviews/0", count)).statuses)

    async def answers(self, name: str, *statuses: int) -> None:
        """Wait until all requests to ``name`` are answered with ``statuses``."""

        async def holds() -> bool:
            return (await self.statuses(name, 4)).keys() == set(statuses)

        await until(holds, f"{name} answers {statuses}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("peers")
    async with consul_double() as consul:
        mesh = DemoMesh(folder, FolderBesideConsul(folder / "manifests", consul.url), secure=True)
        try:
            await mesh.start()
            await mesh.accepted(mesh.store.save("peers", peer_authentication_manifest("STRICT")), LISTENERS)
            yield World(consul, mesh)
        finally:
            await mesh.stop()


async def test_an_instance_that_says_who_it_is_is_spoken_to_by_mutual_tls(world: World) -> None:
    instance = world.mesh.instances["reviews-v1"]
    await world.register("peers", "reviews-v1", identity=REVIEWS)
    await world.answers("peers", 200)
    instance.callers.clear()

    assert await world.statuses("peers") == {200: 10}
    assert dict(instance.callers) == {CALLER: 10}


async def test_one_that_shows_another_identity_is_refused(world: World) -> None:
    await world.register("wrong", "reviews-v1", identity="spiffe://cluster.local/ns/default/sa/ratings")
    await world.answers("wrong", 503)

    world.mesh.instances["reviews-v1"].callers.clear()
    assert await world.statuses("wrong") == {503: 10}
    assert not world.mesh.instances["reviews-v1"].callers


async def test_one_that_says_nothing_is_spoken_to_in_the_clear(world: World) -> None:
    await world.register("plain", "reviews-v1")

    await world.answers("plain", 503)  # it demands mutual TLS


async def test_an_instance_that_fails_is_ejected(world: World) -> None:
    failing = world.mesh.instances["reviews-v2"]
    await world.mesh.store.save("outliers", OUTLIERS)
    await world.register("ejected", "reviews-v1", identity=REVIEWS)
    await world.register("ejected", "reviews-v2", identity=REVIEWS)
    await world.answers("ejected", 200)
    failing.status = 500
    try:

        async def ejected() -> bool:
            return await world.statuses("ejected", 20) == {200: 20}

        await until(ejected, "an ejection")
        failing.requests = 0
        assert await world.statuses("ejected", 20) == {200: 20}
        assert failing.requests == 0
    finally:
        failing.status = 200
