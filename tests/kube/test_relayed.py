"""A control plane that reads an API server, small or real, through a relay: rotated credentials, a replica that lags, a storm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from tests.support.api_relay import Relay
from tests.support.api_servers import BOTH, ApiServer, started
from tests.support.control_plane import delta, delta_request, next_delta
from tests.support.fakes.kube_api import FakeApi
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import create, endpoint_slice, seen, service
from tests.support.leases import take
from tests.support.waiting import at_most, until, within

QUICK = (5000, 1000)  # changes of one object, and the pushes allowed: all in about 5 s
SLOW = (1000, 1000)  # a real API server takes about 150 changes of one object a second: each may be a push of its own
AT_ONCE = 32


@pytest.fixture(scope="module", params=BOTH)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    yield from started(request.param, tmp_path_factory.mktemp("own"))


@pytest_asyncio.fixture
async def relay(own: ApiServer, tmp_path: Path) -> AsyncIterator[Relay]:
    async with Relay(own, tmp_path).listening() as listening:
        yield listening


async def test_s51_the_token_file_is_rotated_and_the_old_token_refused(own: ApiServer, relay: Relay) -> None:
    namespace = own.namespace("rotated-token")
    relay.token = "first"
    async with serving(relay.kubeconfig) as running:
        refreshes = running.plane.refreshes
        relay.token_file.write_text("second")
        relay.token = "second"
        relay.cut()
        since = time.monotonic()
        create(own, namespace, service("after"))

        await seen(running, "Service", namespace, "after", within_s=5)

        print(f"seen {time.monotonic() - since:.1f} s after the rotation")
        assert running.plane.refreshes == refreshes + 1


async def test_s51_the_authority_of_the_api_server_is_swapped(own: ApiServer, relay: Relay) -> None:
    namespace = own.namespace("rotated-authority")
    async with serving(relay.kubeconfig) as running:
        refreshes = running.plane.refreshes
        await relay.rotate_authority()
        since = time.monotonic()
        create(own, namespace, service("after"))

        await seen(running, "Service", namespace, "after", within_s=5)

        print(f"seen {time.monotonic() - since:.1f} s after the swap")
        assert running.plane.refreshes == refreshes + 1


async def test_s36_a_proxy_hops_between_replicas_of_which_one_lags(own: ApiServer, relay: Relay) -> None:
    namespace = own.namespace("lagging")
    create(own, namespace, service("one"))
    node = f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local"
    async with serving(own.kubeconfig(), pod="a") as first, serving(relay.kubeconfig, pod="b") as second:
        relay.lag_s = 10.0
        create(own, namespace, service("two"))
        changed = time.monotonic()
        await seen(first, "Service", namespace, "one", "two")

        held: dict[str, str] = {}
        flips = [await hop(replica.at.xds, node, held, has=replica is first) for replica in (first, second, first, second)]
        await seen(second, "Service", namespace, "one", "two", within_s=12)
        lag = time.monotonic() - changed
        flips.append(await hop(second.at.xds, node, held, has=True))
        async with delta(first.at.xds) as call:
            last = await take(call, CDS, node, held)

    print(f"clusters that changed at each hop: {flips}; equal {lag - 10:.1f} s after the lag")
    assert flips[1:] == [1, 1, 1, 1]
    assert lag - 10 <= within(2)
    assert (list(last.resources), list(last.removed_resources)) == ([], [])


async def hop(address: str, node: str, held: dict[str, str], *, has: bool) -> int:
    """Connect with what is ``held`` until that is as it is there, with the Service ``two`` or not; return how many clusters changed."""
    async with delta(address) as call:
        answer, flips = await take(call, CDS, node, held), 0
        while True:
            flips += len(answer.resources) + len(answer.removed_resources)
            held |= {each.name: each.version for each in answer.resources}
            for name in answer.removed_resources:
                del held[name]
            if any("||two." in name for name in held) is has:
                return flips
            answer = await next_delta(call)
            await call.write(delta_request(CDS, nonce=answer.nonce))


async def test_s43_a_storm_of_changes_ends_in_the_last_state_and_few_pushes(own: ApiServer) -> None:
    namespace = own.namespace("storm")
    storm, allowed = QUICK if isinstance(own, FakeApi) else SLOW
    create(own, namespace, service("one"))
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    own.call("POST", path, endpoint_slice(address(0)))
    node = f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local"
    cluster = f"outbound|80||one.{namespace}.svc.cluster.local"
    pushes: list[DeltaDiscoveryResponse] = []
    async with serving(own.kubeconfig()) as running, delta(running.at.xds) as call:
        await call.write(delta_request(EDS, node=node, names=(cluster,)))

        async def listen() -> None:
            while True:
                pushes.append(await next_delta(call, at_most(60)))
                await call.write(delta_request(EDS, nonce=pushes[-1].nonce))

        listening = asyncio.create_task(listen())
        await until(lambda: pushes)
        begun = time.monotonic()
        async with connect(KubernetesAccess(str(own.kubeconfig()))) as client:
            left = iter(range(1, storm))

            async def work() -> None:
                for number in left:
                    await client.patch(f"{path}/one-1", endpoint_slice(address(number)))

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
            lasted = time.monotonic() - begun
            await client.patch(f"{path}/one-1", endpoint_slice(address(storm)))
        ended = time.monotonic()
        await until(lambda: address(storm).encode() in pushes[-1].SerializeToString(), deadline_s=at_most(10))
        took = time.monotonic() - ended
        listening.cancel()

    print(f"{storm} changes in {lasted:.1f} s, {len(pushes) - 1} pushes, the last state {took * 1000:.0f} ms after")
    assert took <= within(2)
    assert len(pushes) - 1 <= allowed


def address(number: int) -> str:
    return f"10.9.{number // 250}.{number % 250 + 1}"
