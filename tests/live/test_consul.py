"""Services of a Consul, the real one and the double, under real requests from a real Envoy: each change in effect, and none lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.support.consul.api import ConsulApi
from tests.support.consul.server import RealConsul, real_consul
from tests.support.fakes.consul import ConsulDouble, consul_double
from tests.support.registry_world import APP_PORT, SUBSETS, RegistryWorld, SteadyLoad, registry_world, served, timed
from tests.support.waiting import MEASURING, within

HOST = "web.service.consul"
URL = f"http://{HOST}:{APP_PORT}/"
HTTP = {"protocol": "http"}
ROUNDS = 8 if MEASURING else 2  # of 7 changes
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Served(NamedTuple):
    """A Consul, and a mesh that has its services."""

    server: RealConsul | ConsulDouble
    world: RegistryWorld

    @property
    def consul(self) -> ConsulApi:
        return self.server.api

    async def register(self, number: int, name: str = "web", **fields: object) -> str:
        app = self.world.apps[number]
        told = {"meta": {**HTTP, "version": app.version}, "identifier": f"{name}-{number}", **fields}
        return await self.consul.register(name, app.ip, APP_PORT, **told)  # type: ignore[arg-type]  # the arguments of a registration

    async def has(self, *numbers: int, name: str = "web") -> None:
        await self.world.has(f"{name}.service.consul", *numbers)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["double", "real"])
async def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    consul = consul_double() if request.param == "double" else real_consul(tmp_path_factory.mktemp("consul"))
    async with consul as server:
        await server.api.put("/v1/config", {"Kind": "service-defaults", "Name": "by-entry", "Protocol": "http"})
        async with registry_world(tmp_path_factory.mktemp("mesh"), ("--consul", server.url)) as world:
            yield Served(server, world)


async def test_each_change_of_health_and_registration_is_in_effect_at_once(mesh: Served) -> None:
    consul, lags = mesh.consul, []
    await mesh.register(0)
    await mesh.has(0)
    async with SteadyLoad(mesh.world.caller, URL, per_second=100) as load:
        await load.at_least(20)
        for _ in range(ROUNDS):
            lags.append(await timed(mesh.register(1), mesh.has(0, 1)))
            lags.append(await timed(consul.check("web-1", "fail"), mesh.has(0)))
            lags.append(await timed(consul.check("web-1", "pass"), mesh.has(0, 1)))
            lags.append(await timed(consul.check("web-1", "warn"), mesh.has(0, 1)))
            lags.append(await timed(consul.maintain("web-1", enable=True), mesh.has(0)))
            lags.append(await timed(consul.maintain("web-1", enable=False), mesh.has(0, 1)))
            lags.append(await timed(consul.deregister("web-1"), mesh.has(0)))
    half = sorted(lags)[len(lags) // 2]
    print(f"{type(mesh.server).__name__}: {len(lags)} changes, p50 {half * 1000:.0f} ms, p99 {max(lags) * 1000:.0f} ms")

    assert load.tally.failed == 0, (load.tally.statuses, load.tally.errors[:3])
    assert max(lags) < within(1.0)


async def test_weights_count_and_others_while_there_is_a_warning(mesh: Served) -> None:
    url = f"http://weighted.service.consul:{APP_PORT}/"
    await mesh.register(0, "weighted", weights=(9, 1))
    await mesh.register(1, "weighted", weights=(1, 9))
    await mesh.has(0, 1, name="weighted")

    passing = await mesh.world.shares(url, 400)
    await mesh.consul.check("weighted-0", "warn")
    await mesh.consul.check("weighted-1", "warn")

    async def turned() -> bool:
        return (await mesh.world.shares(url, 200))["v2"] > 140

    await mesh.world.eventually(turned, "the weights of warnings")
    assert 300 < passing["v1"] < 400, passing

    await mesh.register(1, "weighted", weights=(1, 0))
    await mesh.consul.check("weighted-1", "warn")
    await mesh.has(0, name="weighted")


async def test_versions_of_meta_and_tags_are_subsets(mesh: Served) -> None:
    await mesh.register(0)
    await mesh.register(1, meta=HTTP, tags=["version=v2", "blue"])
    await mesh.has(0, 1)
    mesh.world.write("subsets", SUBSETS % {"host": HOST, "namespace": "consul"})

    async def divided() -> bool:
        return (await mesh.world.shares(URL, 200))["v2"] < 60

    await mesh.world.eventually(divided, "90 of 100 to v1")
    shares = await mesh.world.shares(URL, 400)
    assert 300 < shares["v1"] < 400, shares


async def test_an_address_that_is_a_name_is_looked_up(mesh: Served) -> None:
    async with served("127.0.0.1") as port:
        await mesh.consul.register("named", "localhost", port, meta={**HTTP, "port": "80"})

        async def answers() -> bool:
            return (await mesh.world.caller.many("http://named.service.consul/", 4)).failed == 0

        await mesh.world.eventually(answers, "an answer by a name")


async def test_protocols_come_from_configuration_entries_where_instances_say_none(mesh: Served) -> None:
    await mesh.register(0, "by-entry", meta={})
    await mesh.has(0, name="by-entry")
    assert (await mesh.world.shares(f"http://by-entry.service.consul:{APP_PORT}/", 4))["v1"] == 4

    await mesh.register(0, "by-default", meta={})
    await mesh.has(0, name="by-default")
    await mesh.consul.everywhere("http")

    async def answers() -> bool:
        return (await mesh.world.caller.many(f"http://by-default.service.consul:{APP_PORT}/", 4)).failed == 0

    await mesh.world.eventually(answers, "requests by the protocol of proxy-defaults")


async def test_nothing_fails_while_consul_comes_back_without_its_state(mesh: Served) -> None:
    name, url = "steady", f"http://steady.service.consul:{APP_PORT}/"
    await mesh.register(0, name)
    await mesh.register(1, name)
    await mesh.has(0, 1, name=name)
    async with SteadyLoad(mesh.world.caller, url, per_second=100) as load:
        await mesh.server.restart()

        async def told() -> bool:
            return any(row["code"] == "RegistryRestarted" for row in await mesh.world.page("/v1/problems"))

        await mesh.world.eventually(told, "that Consul has lost its state")
        await mesh.register(1, name)
        await mesh.register(2, name)
        await mesh.has(0, 1, 2, name=name)
        await load.at_least(load.tally.total + 50)

    assert load.tally.failed == 0, (load.tally.statuses, load.tally.errors[:3])
