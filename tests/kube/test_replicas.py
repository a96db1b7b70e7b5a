"""Several replicas on one API server: one leads, all serve."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from controlplane.envoy.type_urls import CDS, LDS
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.kube.lease import Lease, LeaseTiming
from tests.support.cluster import Cluster
from tests.support.control_plane import delta
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import create, service
from tests.support.leases import take
from tests.support.waiting import at_most, until

QUICK = LeaseTiming(duration_s=1.5, renew_s=1.0, retry_s=0.2)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("own"), controllers=False)
    cluster.namespace("navarch-system")
    yield cluster
    cluster.stop()


async def test_one_of_two_leads_and_the_other_takes_over_when_it_stops_or_falls_silent(own: Cluster) -> None:
    async with connect(KubernetesAccess(str(own.kubeconfig()))) as client:
        where = ("navarch-system", "navarch-leader")
        first, second = (Lease(client, where, name, random.random, QUICK) for name in ("a", "b"))
        one = asyncio.create_task(first.run())
        await until(lambda: first.is_leader, deadline_s=at_most(5))
        two = asyncio.create_task(second.run())
        held_by_both = False
        for _ in range(20):
            await asyncio.sleep(0.05)
            held_by_both |= first.is_leader and second.is_leader
        assert not held_by_both
        assert first.is_leader

        one.cancel()  # stops in good order: gives it back
        await asyncio.wait([one])
        await until(lambda: second.is_leader, deadline_s=at_most(1))
        assert not first.is_leader

        two.get_loop().call_soon(two.cancel)
        await asyncio.wait([two])


async def test_s35_a_holder_that_was_stopped_knows_at_once_that_it_holds_nothing(own: Cluster) -> None:
    async with connect(KubernetesAccess(str(own.kubeconfig()))) as client:
        where = ("navarch-system", "navarch-paused")
        first, second = (Lease(client, where, name, random.random, QUICK) for name in ("a", "b"))
        await first._try()  # and then it does nothing more, as a stopped process
        assert first.is_leader
        task = asyncio.create_task(second.run())

        await until(lambda: second.is_leader, deadline_s=at_most(4))

        assert not first.is_leader
        task.cancel()
        await asyncio.wait([task])


async def test_a_proxy_that_moves_to_another_replica_is_sent_nothing(own: Cluster) -> None:
    namespace = own.namespace("moving")
    create(own, namespace, service("one"), service("two"))
    node = f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local"
    async with serving(own.kubeconfig(), pod="a") as first, serving(own.kubeconfig(), pod="b") as second:
        async with delta(first.at.xds) as call:
            had = {type_url: await take(call, type_url, node, {}) for type_url in (CDS, LDS)}

        async with delta(second.at.xds) as call:
            for type_url, before in had.items():
                versions = {each.name: each.version for each in before.resources}
                assert versions
                again = await take(call, type_url, node, versions)
                assert [each.name for each in again.resources] == []
                assert list(again.removed_resources) == []
