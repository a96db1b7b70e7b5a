"""The source alone while the API server, small or real, is spoiled: nothing changes by it, and what happens meanwhile is seen.

The same under load through real Envoys is in ``test_faults``; here every fault is told to the small API server and to a real one, so that
the small one is known to behave like it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.envoy.type_urls import CDS
from tests.support.api_relay import Relay
from tests.support.api_servers import BOTH, ApiServer, started
from tests.support.control_plane import delta, next_delta
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import create, route, seen, service
from tests.support.leases import take
from tests.support.waiting import until

SILENT_S = 3.0
GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'


@pytest.fixture(scope="module", params=BOTH)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    yield from started(request.param, tmp_path_factory.mktemp("own"))


@pytest_asyncio.fixture
async def relay(own: ApiServer, tmp_path: Path) -> AsyncIterator[Relay]:
    async with Relay(own, tmp_path).listening() as listening:
        yield listening


async def cut(relay: Relay) -> None:
    relay.cut()


async def expire(relay: Relay) -> None:
    relay.expire()


async def expire_in_stream(relay: Relay) -> None:
    await until(lambda: relay.whole)  # one that has just ended is begun anew a moment later
    assert await relay.say(GONE) > 10


async def half_a_line(relay: Relay) -> None:
    await relay.say(b'{"type":"MODIFIED","object":{"meta')
    relay.cut()


async def garbage(relay: Relay) -> None:
    await relay.say(b"\x00\xff garbage\n")
    relay.cut()


async def replay(relay: Relay) -> None:
    await relay.replay()


async def silence(relay: Relay) -> None:
    relay.silence()


async def too_many(relay: Relay) -> None:
    relay.answer = (429, {"Retry-After": "1"})
    asked = len(relay.asked)
    relay.cut()
    await until(lambda: len(relay.asked) > asked)
    await asyncio.sleep(0.5)
    again = [path for _, path in relay.asked[asked:]]
    assert not [path for path in again if "limit=" in path]  # a 429 is no reason to list
    assert len(again) <= 2 * len(set(again))


async def broken(relay: Relay) -> None:
    relay.answer = (500, {})
    relay.cut()
    await asyncio.sleep(0.5)


async def slow(relay: Relay) -> None:
    relay.delay_s = 1.0
    relay.cut()


FAULTS: dict[str, Callable[[Relay], Awaitable[None]]] = {
    "s05_reset": cut,
    "s06_410_status": expire,
    "s07_410_event": expire_in_stream,
    "s08_silence": silence,
    "s09_429": too_many,
    "s09_500": broken,
    "s10_half_a_line": half_a_line,
    "s10_garbage": garbage,
    "s11_replay": replay,
    "s13_slow": slow,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_changes_by_a_fault_and_what_happens_meanwhile_is_seen(own: ApiServer, relay: Relay, fault: str) -> None:
    namespace = own.namespace(f"spoiled-{fault.replace('_', '-')}")
    create(own, namespace, service("kept"), service("deleted"), route("r"))
    async with serving(relay.kubeconfig, watch_timeout_s=SILENT_S) as running:
        refreshes = running.plane.refreshes

        await FAULTS[fault](relay)
        assert running.plane.refreshes == refreshes

        own.call("DELETE", f"/api/v1/namespaces/{namespace}/services/deleted")
        create(own, namespace, service("new"))
        relay.answer = None
        await seen(running, "Service", namespace, "kept", "new", within_s=15)
        relay.delay_s = 0.0  # watches end in their turn, so slow ones are hardly ever all there
        await until(lambda: relay.whole)
        assert running.plane.refreshes <= refreshes + 2  # the deletion and the creation


async def test_s12_an_object_that_is_deleted_and_made_again_is_the_new_one(own: ApiServer, relay: Relay) -> None:
    namespace = own.namespace("anew")
    create(own, namespace, service("one"))
    node = f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local"
    async with serving(relay.kubeconfig) as running, delta(running.at.xds) as call:
        first = await take(call, CDS, node, {})
        assert f"outbound|80||one.{namespace}.svc.cluster.local" in {each.name for each in first.resources}
        relay.cut()
        own.call("DELETE", f"/api/v1/namespaces/{namespace}/services/one")
        create(own, namespace, service("one", port=81))

        answer = await next_delta(call)

        assert [each.name for each in answer.resources] == [f"outbound|81||one.{namespace}.svc.cluster.local"]
        assert list(answer.removed_resources) == [f"outbound|80||one.{namespace}.svc.cluster.local"]
