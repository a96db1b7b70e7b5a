"""Workloads outside the cluster register themselves: WorkloadEntries at a real API server, by the replica that has the stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial

import grpc
import grpc.aio
import pytest
from envoy.config.core.v3.health_check_pb2 import HEALTHY, UNHEALTHY
from envoy.service.health.v3.hds_pb2 import HealthCheckRequestOrEndpointHealthResponse as Report
from envoy.service.health.v3.hds_pb2 import HealthCheckSpecifier

from controlplane.envoy.type_urls import CDS
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.kube_control_plane import HOME, identities
from tests.support.pod_proxies import apply, roots_of
from tests.support.registered_machine import ISTIO, NAME, Machine, part
from tests.support.secure_control_plane import asking
from tests.support.waiting import until
from tests.support.with_cluster import knowing_our_kinds

ENTRY: dict[str, object] = {**ISTIO, "kind": "WorkloadEntry"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("registrations"))
    cluster.namespace(HOME)
    yield cluster
    cluster.stop()


async def test_an_entry_is_there_while_its_proxy_is_and_says_what_the_group_says(own: Cluster) -> None:
    machine = Machine(own, "alone")
    async with identities(own, "a") as running:
        async with machine.connected(running):
            await machine.kept_by("a")

            found = await machine.entry()
            labels = {"app": "cart", "security.istio.io/tlsMode": "istio"}
            assert part(found, "spec") == {"address": "10.0.0.1", "labels": labels, "serviceAccount": "cart"}
            assert part(found, "metadata", "annotations", "istio.io/autoRegistrationGroup") == "carts"

        await machine.kept_by("")


async def test_a_change_of_the_group_reaches_the_entries_of_its_instances(own: Cluster) -> None:
    machine = Machine(own, "changing")
    async with identities(own, "f") as running, machine.connected(running):
        await machine.kept_by("f")

        machine.label("basket")

        await machine.labelled("basket")


async def test_a_proxy_that_moves_keeps_its_entry_and_the_other_replica_keeps_it_then(own: Cluster) -> None:
    machine = Machine(own, "moving")
    async with (
        identities(own, "a") as first,
        identities(own, "b") as second,
    ):
        async with machine.connected(first):
            await machine.kept_by("a")
            uid = part(await machine.entry(), "metadata", "uid")
            stay = contextlib.AsyncExitStack()
            await stay.enter_async_context(machine.connected(second))
            await machine.kept_by("b")
        for _ in range(3):
            await machine.kept_by("b")

        assert part(await machine.entry(), "metadata", "uid") == uid
        await stay.aclose()
        await machine.kept_by("")


async def test_what_a_replica_that_is_gone_has_left_is_deleted_by_the_leader(own: Cluster) -> None:
    machine = Machine(own, "left")
    said = {"istio.io/autoRegistrationGroup": "carts", "istio.io/workloadController": "ghost", "istio.io/connectedAt": "2020"}
    apply(own, "left", {**ENTRY, "metadata": {"name": NAME, "annotations": said}, "spec": {"address": "10.0.0.1"}})

    async with identities(own, "c"):
        await machine.kept_by("")


async def test_an_entry_that_somebody_wrote_is_left_alone(own: Cluster) -> None:
    machine = Machine(own, "written")
    apply(own, "written", {**ENTRY, "metadata": {"name": NAME}, "spec": {"address": "10.0.0.9"}})
    other = Machine(own, "written-not")

    async with identities(own, "d") as running:
        async with machine.connected(running), other.connected(running):
            await other.kept_by("d")
        await other.kept_by("")

        assert part(await machine.entry(), "spec") == {"address": "10.0.0.9"}


async def test_health_that_the_proxy_reports_stands_in_the_status(own: Cluster) -> None:
    machine = Machine(own, "checked", probe=True)
    async with identities(own, "e") as running, machine.connected(running):
        await machine.kept_by("e")
        async with reports(running, machine) as call:
            told = await call.read()
            assert isinstance(told, HealthCheckSpecifier)
            assert told.cluster_health_checks[0].health_checks[0].HasField("tcp_health_check")

            for status, said in ((HEALTHY, "True"), (UNHEALTHY, "False")):
                await call.write(found(status))
                await until(partial(condition_is, machine, said))


async def test_it_does_not_matter_which_replica_health_is_reported_to(own: Cluster) -> None:
    machine = Machine(own, "apart", probe=True)
    async with identities(own, "g") as first, identities(own, "h") as second:
        async with machine.connected(first):
            await machine.kept_by("g")
            async with reports(second, machine) as call:
                await call.write(found(HEALTHY))
                await until(partial(condition_is, machine, "True"))
                assert await machine.keeper() == "h"

            await machine.kept_by("g")
        await machine.kept_by("")


async def condition_is(machine: Machine, said: str) -> bool:
    entry = await machine.entry()
    conditions = part(entry, "status", "conditions") if entry and "status" in entry else []
    assert isinstance(conditions, list)
    return any((each["type"], each["status"]) == ("Healthy", said) for each in conditions)


def found(status: int) -> Report:
    """Return the report that all that is checked has ``status``."""
    report = Report()
    cluster = report.endpoint_health_response.cluster_endpoints_health.add(cluster_name="application")
    cluster.locality_endpoints_health.add().endpoints_health.add(health_status=status)
    return report


@contextlib.asynccontextmanager
async def reports(running: Running, machine: Machine) -> AsyncIterator[grpc.aio.StreamStreamCall[Report, HealthCheckSpecifier]]:
    """Open the stream by which the proxy of ``machine`` reports its health."""
    credentials = grpc.ssl_channel_credentials(roots_of(running))
    options = (("grpc.ssl_target_name_override", "localhost"),)
    assert running.at.xds_tls
    async with grpc.aio.secure_channel(running.at.xds_tls, credentials, options) as channel:
        method: grpc.aio.StreamStreamMultiCallable[Report, HealthCheckSpecifier] = channel.stream_stream(
            "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck",
            request_serializer=Report.SerializeToString,
            response_deserializer=HealthCheckSpecifier.FromString,
        )
        call = method(metadata=(("authorization", f"Bearer {machine.workload.token(bound=False)}"),))
        first = Report()
        first.health_check_request.node.CopyFrom(asking(CDS, machine.node).node)
        await call.write(first)
        yield call
        call.cancel()
