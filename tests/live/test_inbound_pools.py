"""Connection pools at the server's own proxy, by what a real Envoy lets through to its application: clients have no proxy here."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.mesh_clients import TCP
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_RULE = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: {connectionPool: %s}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("pools")) as started:
        yield started


async def limited(world: PolicyWorld, cluster: str, pool: str, breaker: str, limit: int) -> None:
    """Give the workload's service ``pool``, and wait until its Envoy's ``cluster`` has as many of ``breaker`` left as the limit is."""
    await world.apply(_RULE % pool)

    async def so() -> bool:
        return await world.counted(f"^cluster.{cluster};.circuit_breakers.default.{breaker}$") == limit

    await until(so, f"{limit} {breaker}")


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return what comes back of five bytes, nothing where the connection is closed instead."""
    with contextlib.suppress(ConnectionError):
        writer.write(b"hello")
        return await reader.read(5)
    return b""


async def test_requests_beyond_the_limit_are_refused_before_the_application(world: PolicyWorld) -> None:
    await limited(world, "inbound.9080..", "{http: {http2MaxRequests: 2}}", "remaining_rq", 2)
    world.application.answers.clear()
    asked_before, tasks = world.application.asked, []
    for number in range(1, 3):
        tasks.append(asyncio.create_task(world.ask(who=None)))

        async def arrived(number: int = number) -> bool:
            return world.application.asked == asked_before + number

        await until(arrived, f"request {number} is with the application")

    refused = [(await world.ask(who=None)).status for _ in range(4)]
    world.application.answers.set()
    passed = [answer.status for answer in await asyncio.gather(*tasks)]

    assert (passed, refused) == ([200, 200], [503] * 4)
    assert world.application.asked == asked_before + 2


async def test_connections_beyond_the_limit_are_closed(world: PolicyWorld) -> None:
    await limited(world, "inbound.9090..", "{tcp: {maxConnections: 2}}", "remaining_cx", 2)
    outcomes: Counter[bytes] = Counter()
    writers = []
    for _ in range(5):
        reader, writer = await asyncio.open_connection(f"{world.network}.11", TCP)
        writers.append(writer)
        outcomes[await said(reader, writer)] += 1
    for writer in writers:
        writer.close()

    assert outcomes == {b"hello": 2, b"": 3}


async def test_connections_end_when_they_are_idle_or_old(world: PolicyWorld) -> None:
    ended = {}
    for name, pool in (("idle", "{tcp: {idleTimeout: 300ms}}"), ("old", "{tcp: {idleTimeout: 0s, maxConnectionDuration: 600ms}}")):
        await world.apply(_RULE % pool)
        reader, writer = await asyncio.open_connection(f"{world.network}.11", TCP)
        first = await said(reader, writer)
        async with asyncio.timeout(DEADLINE_S):
            ended[name] = (first, await reader.read(5))
        writer.close()

    assert ended == {"idle": (b"hello", b""), "old": (b"hello", b"")}


async def test_what_the_sidecar_says_stands_before_the_rule(world: PolicyWorld) -> None:
    world.edit("  ingress:\n", "  inboundConnectionPool: {tcp: {maxConnections: 1}}\n  ingress:\n")

    await limited(world, "inbound.9090..", "{tcp: {maxConnections: 5}}", "remaining_cx", 1)
