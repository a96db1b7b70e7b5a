"""Who writes, and who may lead: replicas, by one process each, with the same options, and none older than another."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import urllib.error
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.ca.rotation import OutOfOrder
from controlplane.untyped import Json, items, section, text
from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.kube_control_plane import IDENTIFIED, serving
from tests.support.kube_objects import NETWORKING, create, route, service
from tests.support.waiting import at_most, until
from tests.support.with_cluster import knowing_our_kinds

HOME = "navarch-system"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"
_ASKING = ("tokenreviews", "subjectaccessreviews")  # POST, and nothing is stored


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("own"))
    cluster.namespace(HOME)
    yield cluster
    cluster.stop()


@pytest.fixture(autouse=True)
def nobody_left(own: Cluster) -> Iterator[None]:
    """Leave no Lease behind for the next test to wait for."""
    yield
    own.call("DELETE", LEASES)


@contextlib.asynccontextmanager
async def relayed(own: Cluster, folder: Path) -> AsyncIterator[Relay]:
    """Give a relay that remembers what it was asked."""
    folder.mkdir()
    async with Relay(own, folder).listening() as relay:
        yield relay


def written(relay: Relay) -> list[tuple[str, str]]:
    """Return what was written through ``relay``."""
    return [(method, path) for method, path in relay.asked if method != "GET" and not path.endswith(_ASKING)]


def holder(own: Cluster, name: str = "navarch-leader") -> str:
    """Return which process holds a Lease."""
    return text(section(own.call("GET", f"{LEASES}/{name}"), "spec"), "holderIdentity")


async def leads(running: Running) -> bool:
    _, page = await running.get("/metrics")
    return "navarch_kubernetes_leader 1.0" in page


async def programmed(own: Cluster, namespace: str) -> set[str]:
    """Return the routes of ``namespace`` that are programmed."""
    found = await asyncio.to_thread(own.call, "GET", f"{NETWORKING}/namespaces/{namespace}/virtualservices")
    return {
        text(section(each, "metadata"), "name")
        for each in items(found)
        for condition in items(section(each, "status"), "conditions")
        if (condition["type"], condition["status"]) == ("Programmed", "True")
    }


async def test_whoever_is_no_replica_observes_and_writes_nothing(own: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    namespace = own.namespace("observed")
    create(own, namespace, service("reviews"), route("r"))
    with caplog.at_level(logging.WARNING):
        async with (
            relayed(own, tmp_path / "relay") as relay,
            serving(own.kubeconfig(), pod="real") as real,
            serving(relay.kubeconfig, namespaces=(namespace,), pod=None) as laptop,
        ):
            await until(lambda: programmed(own, namespace), deadline_s=at_most(20))
            created = [f"r{number}" for number in range(5)]
            create(own, namespace, *(route(name) for name in created))

            async def all_programmed() -> bool:
                return await programmed(own, namespace) == {"r", *created}

            await until(all_programmed, deadline_s=at_most(20))
            assert (await leads(real), await leads(laptop)) == (True, False)
            assert written(relay) == []
            rows = await laptop.json("/v1/objects")
            assert isinstance(rows, list)
            assert {row["name"] for row in rows if row["kind"] == "VirtualService"} == {"r", *created}
    said = [record for record in caplog.records if record.message == "this control plane only observes"]
    assert len(said) == 1


async def test_an_observer_with_identities_has_those_of_the_cluster_and_begins_none(own: Cluster, tmp_path: Path) -> None:
    async with relayed(own, tmp_path / "relay") as relay:
        with pytest.raises(OutOfOrder, match="--replica begins one"):
            async with serving(relay.kubeconfig, pod=None, more=IDENTIFIED):
                pass
        async with serving(own.kubeconfig(), more=IDENTIFIED, pod="real"):
            pass
        async with serving(relay.kubeconfig, pod=None, more=IDENTIFIED):
            pass
        assert written(relay) == []


async def test_of_two_processes_with_one_name_one_is_the_replica(own: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(own.kubeconfig(), pod="twin") as first:
        await until(lambda: leads(first), deadline_s=at_most(10))
        process = holder(own)
        assert process.startswith("twin_")
        with caplog.at_level(logging.WARNING):
            async with serving(own.kubeconfig(), pod="twin") as second:
                await until(lambda: "another process is this replica" in caplog.text)
                assert (await leads(first), await leads(second)) == (True, False)
                assert (holder(own), holder(own, "navarch-replica-twin")) == (process, process)


async def test_when_the_process_with_its_name_ends_the_other_is_the_replica_and_leads(own: Cluster) -> None:
    async with contextlib.AsyncExitStack() as later:
        async with serving(own.kubeconfig(), pod="twin") as first:
            await until(lambda: leads(first), deadline_s=at_most(10))
            second = await later.enter_async_context(serving(own.kubeconfig(), pod="twin"))
            assert not await leads(second)
        await until(lambda: leads(second), deadline_s=at_most(10))
        assert holder(own) == holder(own, "navarch-replica-twin")


async def test_a_replica_with_other_namespaces_is_told_apart_and_does_not_lead(own: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    namespace, other = own.namespace("mine"), own.namespace("theirs")
    with caplog.at_level(logging.WARNING):
        async with serving(own.kubeconfig(), pod="whole") as whole:
            await until(lambda: leads(whole), deadline_s=at_most(10))
            async with (
                serving(own.kubeconfig(), namespaces=(other,), pod="part") as part,
                serving(own.kubeconfig(), pod="second") as second,
            ):
                create(own, namespace, service("reviews"), route("r"))
                await until(lambda: programmed(own, namespace), deadline_s=at_most(20))
                await until(lambda: "replica has other options than the leader" in caplog.text)
                whole.stop.set()
                await whole.task
                await until(lambda: leads(second), deadline_s=at_most(20))
                assert not await leads(part)
    assert [record.__dict__["pod"] for record in caplog.records if "other options" in record.message][:1] == ["part"]


async def test_an_older_version_does_not_lead_while_a_newer_one_lives(own: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    newer = asyncio.create_task(_living(own, "newer", "99.0.0"))
    await until(lambda: _exists(own, "navarch-replica-newer"))
    try:
        with caplog.at_level(logging.WARNING):
            async with serving(own.kubeconfig(), pod="older") as older:
                await until(lambda: "this replica does not lead" in caplog.text)
                assert not await leads(older)

                newer.cancel()
                await asyncio.to_thread(own.call, "DELETE", f"{LEASES}/navarch-replica-newer")
                await until(lambda: leads(older), deadline_s=at_most(30))
    finally:
        newer.cancel()
    assert "is of version 99.0.0" in caplog.text or any("99.0.0" in str(record.__dict__.get("reason")) for record in caplog.records)


async def _living(own: Cluster, pod: str, version: str) -> None:
    """Renew the Lease of a replica of ``version``, which does nothing else."""
    annotations = {"navarch.io/version": version, "navarch.io/options": "others"}
    metadata: Json = {"name": f"navarch-replica-{pod}", "namespace": HOME, "annotations": annotations}
    method, path = "POST", LEASES
    while True:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": f"{pod}_1", "leaseDurationSeconds": 15, "renewTime": now}
        with contextlib.suppress(urllib.error.HTTPError):
            await asyncio.to_thread(own.call, method, path, {"metadata": metadata, "spec": spec})
        method, path = "PUT", f"{LEASES}/navarch-replica-{pod}"
        await asyncio.sleep(1.0)


async def _exists(own: Cluster, name: str) -> bool:
    return name in {text(section(each, "metadata"), "name") for each in items(await asyncio.to_thread(own.call, "GET", LEASES))}
