"""Everything that can happen to a Consul, while requests are made of its services: none fails, and nothing is removed that is there.

It has more services than it takes connections; in ``make prove`` 300, with 10 instances each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.fakes.consul import ConsulDouble, consul_double
from tests.support.proofs import TIMES
from tests.support.registry_world import APP_PORT, RegistryWorld, SteadyLoad, registry_world
from tests.support.single_envoy import TcpRelay

SERVICES, INSTANCES = (300, 10) if TIMES > 1 else (210, 4)  # of 200 connections that a Consul takes from one address
HOST = "s0.service.consul"
URL = f"http://{HOST}:{APP_PORT}/"
REQUESTS = 60  # under each fault


async def errors(consul: ConsulDouble, _relay: TcpRelay, during: Callable[[], Awaitable[None]], status: int) -> None:
    consul.status = status
    await during()
    consul.status = 0


async def no_leader(consul: ConsulDouble, _relay: TcpRelay, during: Callable[[], Awaitable[None]]) -> None:
    consul.leader = False
    await during()
    consul.leader = True


async def slow(consul: ConsulDouble, _relay: TcpRelay, during: Callable[[], Awaitable[None]]) -> None:
    consul.delay_s = 1.0
    await during()
    consul.delay_s = 0.0


async def cut(_consul: ConsulDouble, relay: TcpRelay, during: Callable[[], Awaitable[None]]) -> None:
    relay.down = True
    relay.cut()
    await during()
    relay.down = False


async def black_hole(_consul: ConsulDouble, relay: TcpRelay, during: Callable[[], Awaitable[None]]) -> None:
    relay.silent = True
    await during()
    relay.silent = False
    relay.cut()


async def restarted_empty(consul: ConsulDouble, relay: TcpRelay, during: Callable[[], Awaitable[None]]) -> None:
    relay.down = True
    relay.cut()
    await consul.restart()
    relay.down = False
    await during()


def register(consul: ConsulDouble, world: RegistryWorld) -> None:
    """Register all services; of the one that is asked for, instances that are there."""
    for service in range(SERVICES):
        for number in range(INSTANCES if service else len(world.apps)):
            address = f"10.1.{service % 250}.{number}" if service else world.address(number)
            row = {"Name": f"s{service}", "ID": f"s{service}-{number}", "Address": address, "Port": APP_PORT}
            consul.register({**row, "Check": {"TTL": "1h", "Status": "passing"}, "Meta": {"protocol": "http"}})


@pytest.fixture
async def worlds(tmp_path: Path) -> AsyncIterator[tuple[ConsulDouble, TcpRelay, RegistryWorld]]:
    async with consul_double() as consul:
        relay = TcpRelay(consul.port)
        async with relay.open() as address, registry_world(tmp_path, ("--consul", f"http://{address}")) as world:
            yield consul, relay, world


async def test_no_fault_takes_anything_away(worlds: tuple[ConsulDouble, TcpRelay, RegistryWorld]) -> None:
    consul, relay, world = worlds
    register(consul, world)
    await world.has(HOST, 0, 1, 2)

    async def all_there() -> bool:
        return len([row for row in await world.page("/v1/objects?namespace=consul") if row["kind"] == "ServiceEntry"]) == SERVICES

    await world.eventually(all_there, f"{SERVICES} services")
    async with SteadyLoad(world.caller, URL, per_second=100) as load:

        async def during() -> None:
            await load.at_least(load.tally.total + REQUESTS)

        faults: dict[str, Callable[[], Awaitable[None]]] = {
            "500": lambda: errors(consul, relay, during, 500),
            "429": lambda: errors(consul, relay, during, 429),
            "no leader": lambda: no_leader(consul, relay, during),
            "slow": lambda: slow(consul, relay, during),
            "cut": lambda: cut(consul, relay, during),
            "black hole": lambda: black_hole(consul, relay, during),
            "restarted empty": lambda: restarted_empty(consul, relay, during),
        }
        for name, fault in faults.items():
            await fault()
            assert await all_there(), name
            assert len(await world.endpoints(HOST)) == 3, name
        register(consul, world)
        consul.set_check("n1", "s0-2", "service:s0-2", "critical")
        await world.has(HOST, 0, 1)
    print(f"{load.tally.total} requests under {len(faults)} faults, {load.tally.failed} failed; {consul.most_connections} connections")

    assert load.tally.failed == 0, (load.tally.statuses, load.tally.errors[:3])
    assert consul.most_connections < 20
