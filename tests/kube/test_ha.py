"""Two replicas, each a process that reads a real API server by a relay of its own: who writes, who takes over, what Envoys see."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.untyped import instant, section, text
from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.envoys import REVIEWS, DemoMesh, traffic
from tests.support.envoys import ClusterStore as Store
from tests.support.kube_envoys import Through, edit, programmed, running, sent, streams
from tests.support.waiting import at_most, until, within
from tests.support.with_cluster import knowing_our_kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLICAS = ("navarch", "navarch-2")
TAKEOVER_S = 20.0
PAUSE_S = 30.0


class Pair:
    """A mesh with two replicas, whose Envoys may move between them."""

    def __init__(self, world: DemoMesh, relays: dict[str, Relay]) -> None:
        self.world = world
        self.relays = relays
        self.edits = 0

    async def leader(self) -> str:
        """Return which replica holds the Lease."""
        store = self.world.store
        assert isinstance(store, Store)
        return text(section(await store.get("lease", "navarch-leader"), "spec"), "holderIdentity").partition("_")[0]

    async def other(self) -> tuple[str, str]:
        """Return the leader, and the one that does not lead."""
        leader = await self.leader()
        return leader, next(each for each in REPLICAS if each != leader)

    async def change(self) -> None:
        """Edit the route of reviews."""
        self.edits += 1
        await self.world.route("reviews", [edit(self.edits)])

    async def told(self, within_s: float) -> float:
        """Wait until the status says that all Envoys have the latest edit; return how long that took."""
        begun = time.monotonic()
        await programmed(self.world, within_s=within_s)
        return time.monotonic() - begun

    async def all_back(self) -> None:
        """Wait until every Envoy is connected, and has nothing to wait for."""

        async def back() -> bool:
            rows = await self.world.proxies()
            return len(rows) == len(self.world.envoys) and all(row["synced"] for row in rows)

        await until(back, "every Envoy is back", deadline_s=at_most(10))

    def statuses(self, replica: str, since: int = 0) -> list[str]:
        """Return the writes of ``replica`` that only the leader may do, after the first ``since`` requests."""
        asked = self.relays[replica].asked[since:]
        return [path for method, path in asked if method in ("PUT", "PATCH", "POST") and ("/status" in path or "/events" in path)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("ha")
    own = await asyncio.to_thread(knowing_our_kinds, folder / "own", controllers=False)
    try:
        async with contextlib.AsyncExitStack() as stack:
            relays = {name: await stack.enter_async_context(relay(own, folder / name)) for name in REPLICAS}
            world = await stack.enter_async_context(running(folder, Through(own, relays), replicas=2, shared=True))
            found = Pair(world, relays)
            await found.change()
            await found.told(TAKEOVER_S)
            yield found
    finally:
        own.stop()


def relay(own: Cluster, folder: Path) -> contextlib.AbstractAsyncContextManager[Relay]:
    folder.mkdir()
    return Relay(own, folder).listening()


async def test_the_leader_alone_writes_what_all_replicas_have(pair: Pair) -> None:
    leader, other = await pair.other()
    since = {name: len(pair.relays[name].asked) for name in REPLICAS}

    await pair.change()
    took = await pair.told(10)

    print(f"Programmed on all Envoys of both, {took:.1f} s after the edit")
    assert pair.statuses(leader, since[leader])
    assert pair.statuses(other) == []


async def test_s03_replicas_restart_in_turn_and_envoys_move_without_being_sent_anything(pair: Pair) -> None:
    world = pair.world
    async with traffic(world, REVIEWS, per_second=100) as tally:
        for name in REPLICAS:
            process = world.planes[name].process
            assert process is not None
            begun = time.time()
            await process.stop()
            await pair.all_back()
            took = time.time() - begun
            moved = [each for row in await world.proxies() for each in streams(row) if instant(each, "connectedAt") >= begun]
            print(f"{name} stopped: {len(moved)} Envoys moved, the last after {took:.1f} s, and were sent {sent(moved)} resources")
            assert took <= within(5 + 5)  # the drain, and the gap
            assert moved
            assert sent(moved) == 0
            await world.start_plane(name)
    print(f"{tally.total} requests, {tally.failed} failed")
    assert (tally.failed, tally.errors) == (0, [])


async def test_the_leader_is_killed_and_the_other_takes_over(pair: Pair) -> None:
    leader, other = await pair.other()
    await pair.world.kill_plane(leader)
    since = len(pair.relays[other].asked)
    await pair.all_back()

    await pair.change()

    async def taken_over() -> bool:
        return await pair.leader() == other

    await until(taken_over, "the other leads", deadline_s=at_most(TAKEOVER_S))
    took = await pair.told(10)
    print(f"the other leads, and {took:.1f} s later the status is right")
    assert pair.statuses(other, since)
    await pair.world.start_plane(leader)


async def test_s35_a_leader_that_was_stopped_writes_nothing_when_it_goes_on(pair: Pair) -> None:
    leader, other = await pair.other()
    process = pair.world.planes[leader].process
    assert process is not None
    process.pause()
    stopped = time.monotonic()
    since = {name: len(pair.relays[name].asked) for name in REPLICAS}
    try:

        async def taken_over() -> bool:
            return await pair.leader() == other

        await until(taken_over, "the other leads", deadline_s=at_most(TAKEOVER_S))
        print(f"the other leads {time.monotonic() - stopped:.1f} s after the leader was stopped")
        await pair.change()
        await asyncio.sleep(max(0.0, PAUSE_S - (time.monotonic() - stopped)))  # what is waited for is the time
    finally:
        process.resume()
    await pair.all_back()
    await pair.change()
    await pair.told(TAKEOVER_S)

    assert pair.statuses(leader, since[leader]) == []
    assert pair.statuses(other, since[other])
    assert await pair.leader() == other
