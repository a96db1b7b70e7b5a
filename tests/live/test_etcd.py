"""Services that register themselves in a real etcd, under real requests from a real Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.etcd import Etcd, etcd
from tests.support.registry_world import APP_PORT, SUBSETS, RegistryWorld, SteadyLoad, registry_world, served, timed
from tests.support.waiting import MEASURING, within

HOST = "web.etcd"
URL = f"http://{HOST}:{APP_PORT}/"
ROUNDS = 25 if MEASURING else 5  # of 2 changes
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Etcd]:
    async with etcd(tmp_path_factory.mktemp("etcd")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(registry: Etcd, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RegistryWorld]:
    options = ("--etcd", registry.url, "--etcd-prefix", "/services")
    async with registry_world(tmp_path_factory.mktemp("mesh"), options) as started:
        yield started


async def register(registry: Etcd, world: RegistryWorld, *numbers: int, service: str = "web", lease: str = "0", **metadata: object) -> None:
    for number in numbers:
        told = {"protocol": "http", "version": world.apps[number].version, **metadata}
        await registry.register(service, f"{world.address(number)}:{APP_PORT}", told, lease)


async def unregister(registry: Etcd, world: RegistryWorld, *numbers: int, service: str = "web") -> None:
    for number in numbers:
        await registry.delete(f"/services/{service}/{world.address(number)}:{APP_PORT}")


async def test_instances_take_requests_from_when_they_are_registered_until_they_are_not(registry: Etcd, world: RegistryWorld) -> None:
    await register(registry, world, 0)
    await world.has(HOST, 0)
    async with SteadyLoad(world.caller, URL, per_second=100) as load:
        await load.at_least(20)
        lags = []
        for _ in range(ROUNDS):
            lags.append(await timed(register(registry, world, 1), world.has(HOST, 0, 1)))
            lags.append(await timed(unregister(registry, world, 1), world.has(HOST, 0)))
    print(f"etcd: {len(lags)} changes, p50 {sorted(lags)[len(lags) // 2] * 1000:.0f} ms, p99 {max(lags) * 1000:.0f} ms")

    assert load.tally.failed == 0, (load.tally.statuses, load.tally.errors[:3])
    assert max(lags) < within(1.0)


async def test_a_key_whose_lease_ends_is_gone(registry: Etcd, world: RegistryWorld) -> None:
    await register(registry, world, 0)
    await register(registry, world, 1, lease=await registry.lease(1))
    await world.has(HOST, 0, 1)

    await world.has(HOST, 0)


async def test_weights_and_versions_divide_the_requests(registry: Etcd, world: RegistryWorld) -> None:
    await register(registry, world, 0, 1)
    await world.has(HOST, 0, 1)
    world.write("subsets", SUBSETS % {"host": HOST, "namespace": "etcd"})

    async def divided() -> bool:
        return (await world.shares(URL, 200))["v2"] < 60

    await world.eventually(divided, "90 of 100 to v1")
    shares = await world.shares(URL, 400)
    assert 300 < shares["v1"] < 400, shares

    await register(registry, world, 0, service="weighted", weight=9)
    await register(registry, world, 1, service="weighted", weight=1)
    await world.has("weighted.etcd", 0, 1)
    weighted = await world.shares(f"http://weighted.etcd:{APP_PORT}/", 400)
    assert 300 < weighted["v1"] < 400, weighted


async def test_an_address_that_is_a_name_is_looked_up(registry: Etcd, world: RegistryWorld) -> None:
    async with served("127.0.0.1") as port:
        await registry.register("named", f"localhost:{port}", {"protocol": "http", "port": 80})

        async def answers() -> bool:
            return (await world.caller.many("http://named.etcd/", 4)).failed == 0

        await world.eventually(answers, "an answer by a name")


async def test_other_layouts_are_read_too(registry: Etcd, world: RegistryWorld) -> None:
    address = f"{world.address(0)}:{APP_PORT}"
    node = {"id": "micro-1", "address": address, "metadata": {"protocol": "http"}}
    await registry.put("/services/micro/micro-1", {"name": "micro", "version": "v1", "nodes": [node]})
    kratos = {"id": "k1", "name": "kratos", "version": "v1", "metadata": {}, "endpoints": [f"http://{address}"]}
    await registry.put("/services/kratos/k1", kratos)
    await world.has("micro.etcd", 0)
    await world.has("kratos.etcd", 0)

    assert (await world.shares(f"http://micro.etcd:{APP_PORT}/", 4))["v1"] == 4
    assert (await world.shares(f"http://kratos.etcd:{APP_PORT}/", 4))["v1"] == 4


async def test_it_is_told_where_services_come_from_and_what_is_wrong_with_them(registry: Etcd, world: RegistryWorld) -> None:
    await registry.put("/services/broken/a", "not an object")

    async def told() -> bool:
        return any(row["object"] == "ServiceEntry/etcd/broken" for row in await world.page("/v1/problems"))

    await world.eventually(told, "a Problem")
    [problem] = [row for row in await world.page("/v1/problems") if row["object"] == "ServiceEntry/etcd/broken"]
    assert problem["message"] == "key /services/broken/a is left out: expected a JSON object"
    assert problem["file"] == f"etcd {registry.url}/services: service broken"
    [web] = [row for row in await world.page("/v1/objects") if row["object"] == "ServiceEntry/etcd/web"]
    assert (web["file"], web["line"]) == (f"etcd {registry.url}/services: service web", None)


async def test_nothing_fails_while_etcd_is_down_and_what_happened_since_counts_when_it_is_back(
    registry: Etcd, world: RegistryWorld
) -> None:
    await register(registry, world, 0, service="steady")
    await world.has("steady.etcd", 0)
    async with SteadyLoad(world.caller, f"http://steady.etcd:{APP_PORT}/", per_second=100) as load:
        await registry.stop(kill=True)

        async def told() -> bool:
            return any(row["code"] == "RegistryUnreachable" for row in await world.page("/v1/problems"))

        await world.eventually(told, "a Problem")
        await load.at_least(load.tally.total + 50)
        await registry.start()
        await register(registry, world, 1, service="steady")
        await world.has("steady.etcd", 0, 1)

    assert load.tally.failed == 0, (load.tally.statuses, load.tally.errors[:3])
    assert not [row for row in await world.page("/v1/problems") if row["code"] == "RegistryUnreachable"]
