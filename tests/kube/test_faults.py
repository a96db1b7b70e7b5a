"""A real API server spoiled in every way, under load: no request fails, nothing is sent because of it, nothing is missed.

Named after the faults of docs/threats.md: what is spoiled, and how soon the change that was made meanwhile is in effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.envoys import REVIEWS, DemoMesh, traffic
from tests.support.kube_envoys import Through, answers, edit, resources, running
from tests.support.waiting import at_most, until, within
from tests.support.with_cluster import knowing_our_kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENT_S = 6.0  # after which a silent watch is given up
BACKOFF_S = 7.5  # the longest wait, with its jitter
CALM_S = 2.5  # after which a failure counts as a first one
AWAY_S = 15.0
OUTAGE_S = 30.0
OTHER = "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {ports: [{name: http, port: 80}]}\n"


class Mesh:
    """A mesh whose control plane reads the API server ``own`` through ``relay``."""

    def __init__(self, world: DemoMesh, own: Cluster, relay: Relay) -> None:
        self.world = world
        self.own = own
        self.relay = relay
        self.edits = 0

    @asynccontextmanager
    async def undisturbed(self, *, restarted: bool = False) -> AsyncIterator[None]:
        """Let requests flow while the block runs: none may fail, and no Envoy be sent anything, by a control plane ``restarted`` too."""
        await self.world.store.save("other", OTHER)
        await until(self.other, "the other Service is there", deadline_s=at_most(10))
        await asyncio.sleep(CALM_S)  # the calm itself: what is waited for is the time
        before = resources(await self.world.proxies())

        async def enough() -> bool:
            return tally.total >= 100

        async with traffic(self.world, REVIEWS, per_second=100) as tally:
            yield
            await until(enough, "a hundred requests", deadline_s=at_most(20))
            assert resources(await self.world.proxies()) == (0 if restarted else before)
        print(f"{tally.total} requests, {tally.failed} failed; 0 resources sent")
        assert (tally.failed, tally.errors) == (0, [])
        [plane] = self.world.planes.values()
        assert await plane.ready()

    async def reconnected(self, within_s: float) -> None:
        """Wait until every Envoy is back and has nothing to wait for, at most ``within_s`` from now."""
        begun = time.monotonic()

        async def back() -> bool:
            rows = await self.world.proxies()
            return len(rows) == len(self.world.envoys) and all(row["synced"] for row in rows)

        await until(back, "every Envoy is back", deadline_s=at_most(within_s + 10))
        took = time.monotonic() - begun
        print(f"all back {took:.2f} s after")
        assert took <= within(within_s)

    async def change(self) -> float:
        """Edit a route and delete a Service by kubectl; return when that was done (seconds since the epoch)."""
        self.edits += 1
        one = await self.world.route("reviews", [edit(self.edits)])
        other = await self.world.store.save("other", "")
        return max(one.done, other.done)

    async def in_effect(self, since: float, within_s: float) -> None:
        """Wait until the change is in effect: at every Envoy, and the Service is gone; at most ``within_s`` after ``since``."""

        async def has() -> bool:
            return not await self.other() and await answers(self.world) == {str(self.edits)}

        await until(has, "the change is in effect", deadline_s=at_most(within_s + 10))
        took = time.time() - since
        print(f"in effect {took:.2f} s after")
        assert took <= within(within_s)

    async def whole(self) -> bool:
        """Return whether every collection is watched."""
        return self.relay.whole

    async def other(self) -> bool:
        """Return whether the control plane has the Service that ``change`` deletes."""
        [plane] = self.world.planes.values()
        return f"Service/{self.world.store.namespace}/other" in {str(each["object"]) for each in await plane.get("/v1/objects")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("faults")
    own = await asyncio.to_thread(knowing_our_kinds, folder / "own")
    try:
        async with Relay(own, folder).listening() as relay:
            store = Through(own, {"navarch": relay}, "--watch-timeout", str(SILENT_S))
            async with running(folder, store) as world:
                yield Mesh(world, own, relay)
    finally:
        own.stop()


async def test_s05_all_watches_reset(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        mesh.relay.cut()
        await until(mesh.whole, "every collection is watched again", deadline_s=at_most(10))

    await mesh.in_effect(await mesh.change(), 2)


async def test_s06_410_as_a_status(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        mesh.relay.expire()
        await until(mesh.whole, "every collection is watched again", deadline_s=at_most(10))

    await mesh.in_effect(await mesh.change(), 2)


async def test_s07_410_in_the_stream(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        said = await mesh.relay.say(b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n')
        assert said > 10
        await until(mesh.whole, "every collection is watched again", deadline_s=at_most(10))

    await mesh.in_effect(await mesh.change(), 2)


async def test_s08_silent_watches(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        mesh.relay.silence()
    since = await mesh.change()

    await mesh.in_effect(since, SILENT_S * 1.5)


async def test_s09_429_with_a_time_and_then_500(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        mesh.relay.answer = (429, {"Retry-After": "3"})
        mesh.relay.cut()
        asked = len(mesh.relay.asked)
        await asyncio.sleep(2.5)
        watches = [path for _, path in mesh.relay.asked[asked:] if "watch=true" in path]
        assert len(watches) <= 2 * len(set(watches))  # once, and once more where a connection was cut
        assert not [path for _, path in mesh.relay.asked[asked:] if "limit=500" in path]  # a 429 is no reason to list
        mesh.relay.answer = (500, {})
        await asyncio.sleep(3)
    await mesh.change()
    mesh.relay.answer = None

    await mesh.in_effect(time.time(), 2 + BACKOFF_S)


@pytest.mark.parametrize("line", [b'{"type":"MODIFIED","object":{"meta', b"\x00\xff garbage\n"], ids=["half", "garbage"])
async def test_s10_broken_lines(mesh: Mesh, line: bytes) -> None:
    async with mesh.undisturbed():
        await mesh.relay.say(line)
        mesh.relay.cut()
        await until(mesh.whole, "every collection is watched again", deadline_s=at_most(10))

    await mesh.in_effect(await mesh.change(), 2)


async def test_s11_replayed_events(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        await mesh.relay.replay()
    since = await mesh.change()
    await mesh.relay.replay()

    await mesh.in_effect(since, 2)


async def test_s12_deleted_and_created_anew_under_the_same_name(mesh: Mesh) -> None:
    world = mesh.world
    await world.place("ratings", ())

    await world.place("ratings", [world.instances["ratings-v1"]])

    async def serves() -> bool:
        return (await world.caller.many(REVIEWS.replace("reviews", "ratings"), 3)).failed == 0

    await until(serves, "ratings is back", deadline_s=at_most(2))


async def test_s13_slow_replies(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        mesh.relay.delay_s = 2.0
        await asyncio.sleep(SILENT_S)
    since = await mesh.change()

    await mesh.in_effect(since, 2 + 2)
    mesh.relay.delay_s = 0.0


async def test_s01_the_control_plane_is_killed_for_15_s(mesh: Mesh) -> None:
    async with mesh.undisturbed(restarted=True):
        await mesh.world.kill_plane()
        await asyncio.sleep(AWAY_S)
        await mesh.world.start_plane()
        await mesh.reconnected(within_s=5)


async def test_s02_the_control_plane_restarts_while_the_api_server_is_down(mesh: Mesh) -> None:
    async with mesh.undisturbed(restarted=True):
        await mesh.world.kill_plane()
        mesh.relay.down = True
        begun = asyncio.create_task(mesh.world.start_plane())
        await asyncio.sleep(AWAY_S)
        assert await mesh.world.proxies() == []  # no stream is answered
        mesh.relay.down = False
        await mesh.reconnected(within_s=5)
        await begun


async def test_an_outage_of_half_a_minute_with_the_history_gone_after(mesh: Mesh) -> None:
    async with mesh.undisturbed():
        await asyncio.to_thread(mesh.own.kill_api)
        await asyncio.sleep(OUTAGE_S)
    await asyncio.to_thread(mesh.own.start_api)
    since = await mesh.change()
    await asyncio.to_thread(mesh.own.compact)

    await mesh.in_effect(since, 2 + BACKOFF_S)
