"""Several replicas on one API server: one leads, all serve."""

from __future__ import annotations

import asyncio
import datetime as dt
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


LEASES = "/apis/coordination.k8s.io/v1/namespaces/navarch-system/leases"
CONFIG_MAPS = "/api/v1/namespaces/navarch-system/configmaps"


@pytest.mark.parametrize("off_s", [-3600, -20, 20, 3600])
async def test_a_replica_whose_clock_is_off_is_not_cleared_away(own: Cluster, off_s: int) -> None:
    pod = f"off-{off_s}".replace("--", "-minus-")

    def renewed() -> dict[str, object]:
        at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=off_s)
        spec = {"holderIdentity": pod, "leaseDurationSeconds": 15, "renewTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        return {"metadata": {"name": f"navarch-replica-{pod}"}, "spec": spec}

    async def renew() -> None:
        while True:
            await asyncio.to_thread(own.call, "PATCH", f"{LEASES}/navarch-replica-{pod}", renewed(), "application/merge-patch+json")
            await asyncio.sleep(0.5)

    def looks() -> int:  # of the leader at who lives
        return sum('"verb":"list"' in line and '"resource":"leases"' in line for line in own.audit.read_text().splitlines())

    own.call("POST", LEASES, renewed())
    told = {"metadata": {"name": f"navarch-fleet-{pod}", "labels": {"navarch.io/fleet": "true"}}, "data": {"standings": "{}"}}
    own.call("POST", CONFIG_MAPS, told)
    renewing = asyncio.create_task(renew())
    try:
        async with serving(own.kubeconfig(), pod="a"):
            begun = looks()

            async def looked() -> bool:
                return await asyncio.to_thread(looks) >= begun + 5

            await until(looked)
            found = await asyncio.to_thread(own.kubectl, "-n", "navarch-system", "get", "lease,configmap", "-o", "name")
            renewing.cancel()
            await asyncio.wait([renewing])

            async def cleared() -> bool:
                return pod not in await asyncio.to_thread(own.kubectl, "-n", "navarch-system", "get", "lease,configmap", "-o", "name")

            await until(cleared, "one that renews no more is cleared away", deadline_s=at_most(30))
    finally:
        renewing.cancel()
    assert f"navarch-replica-{pod}" in found
    assert f"navarch-fleet-{pod}" in found
