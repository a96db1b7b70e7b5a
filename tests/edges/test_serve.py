"""The discovery server, asked by real gRPC clients."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS
from controlplane.serve.xds.services import SERVICES
from tests.support.control_plane import (
    ADS,
    NODE,
    DeltaMethod,
    Running,
    control_plane,
    delta,
    delta_request,
    next_delta,
    next_sotw,
    sotw,
    sotw_request,
    status_of,
)
from tests.support.manifests import selecting, workload
from tests.support.waiting import DEADLINE_S, until

REVIEWS = "outbound|80||reviews.shop.svc.cluster.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    return tmp_path


async def test_a_save_reaches_a_delta_client(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        clusters = await next_delta(call)
        await call.write(delta_request(CDS, nonce=clusters.nonce))
        await call.write(delta_request(EDS, names=(REVIEWS,)))
        before = await next_delta(call)
        await call.write(delta_request(EDS, nonce=before.nonce))
        began = time.perf_counter()
        (folder / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews', '127.0.0.8')}")
        after = await next_delta(call)
        print(f"from the save to the client: {(time.perf_counter() - began) * 1000:.1f} ms")

    assert REVIEWS in [each.name for each in clusters.resources]
    assert [each.name for each in after.resources] == [REVIEWS]
    assert _addresses(before.resources[0].resource.value) == ["127.0.0.9"]
    assert _addresses(after.resources[0].resource.value) == ["127.0.0.8"]


async def test_a_save_reaches_a_state_of_the_world_client(folder: Path) -> None:
    async with control_plane(folder) as running, sotw(running.at.xds) as call:
        await call.write(sotw_request(CDS, node=NODE))
        clusters = await next_sotw(call)
        await call.write(sotw_request(CDS, nonce=clusters.nonce, version=clusters.version_info))
        (folder / "more.yaml").write_text(selecting("ratings", "ratings"))
        more = await next_sotw(call)

    assert len(more.resources) == len(clusters.resources) + 1


async def test_every_discovery_service_answers_and_no_other_method_exists(folder: Path) -> None:
    """XP-01, XP-02."""
    async with control_plane(folder) as running:
        for service in SERVICES:
            type_url = "" if service.only else CDS
            if service.sotw:
                async with sotw(running.at.xds, f"/{service.name}/{service.sotw}") as call:
                    await call.write(sotw_request(type_url, node=NODE, names=("unknown",)))
                    await call.write(sotw_request(type_url or service.only or "", names=("unknown", "*")))
                    assert not call.done()
            async with delta(running.at.xds, f"/{service.name}/{service.delta}") as delta_call:
                await delta_call.write(delta_request(type_url, node=NODE, names=("unknown",)))
                if service.only == ECDS:  # one that is not there may come: "there is none" has Envoy wait without end
                    continue
                answer = await next_delta(delta_call)
                assert (answer.type_url, list(answer.removed_resources)) == (service.only or CDS, ["unknown"])
        for method in (
            "/envoy.service.route.v3.VirtualHostDiscoveryService/StreamVirtualHosts",
            "/envoy.api.v2.ClusterDiscoveryService/StreamClusters",
        ):
            async with sotw(running.at.xds, method) as call:
                assert (await status_of(call))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_first_request_without_a_node_that_we_know_ends_the_stream(folder: Path) -> None:
    """XP-05, T24."""
    async with control_plane(folder) as running:
        for node in ("", "a", "sidecar~1.2.3.4", "ztunnel~1.2.3.4~a.b~c"):
            async with delta(running.at.xds) as call:
                await call.write(delta_request(CDS, node=node))
                code, details = await status_of(call)
                assert (code, "expected sidecar~IP" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_request_that_breaks_the_protocol_ends_its_own_stream_only(folder: Path) -> None:
    """XP-02."""
    async with control_plane(folder) as running, delta(running.at.xds) as good, delta(running.at.xds) as bad:
        await good.write(delta_request(CDS, node=NODE))
        await next_delta(good)
        await bad.write(delta_request("", node=NODE))

        assert (await status_of(bad))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert not good.done()


async def test_later_requests_need_no_node(folder: Path) -> None:
    """XP-04."""
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        clusters = await next_delta(call)
        await call.write(delta_request(CDS, nonce=clusters.nonce))
        await call.write(delta_request(LDS))

        assert (await next_delta(call)).type_url == LDS


async def test_bytes_that_are_no_request_hurt_nobody_else(folder: Path) -> None:
    """T24."""
    async with control_plane(folder) as running, delta(running.at.xds) as good, grpc.aio.insecure_channel(running.at.xds) as channel:
        await good.write(delta_request(CDS, node=NODE))
        first = await next_delta(good)
        await good.write(delta_request(CDS, nonce=first.nonce))
        for garbage in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x02ab", b""):
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{ADS}/DeltaAggregatedResources")
            call = method()
            await call.write(garbage)
            async with asyncio.timeout(DEADLINE_S):
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        (folder / "more.yaml").write_text(selecting("ratings", "ratings"))

        assert [each.name for each in (await next_delta(good)).resources] == ["outbound|80||ratings.shop.svc.cluster.local"]


async def test_a_large_request_is_read_and_one_beyond_measure_refused(folder: Path) -> None:
    """XP-83, T26."""
    async with control_plane(folder) as running:
        large = delta_request(CDS, node=NODE)
        large.initial_resource_versions.update({f"{'x' * 200}{at}": "0123456789abcdef" for at in range(60_000)})
        assert large.ByteSize() > 13 << 20
        async with delta(running.at.xds) as call:
            await call.write(large)
            assert (await next_delta(call)).type_url == CDS
        async with delta(running.at.xds) as call:
            huge = delta_request(CDS, node=NODE)
            huge.node.cluster = "x" * (40 << 20)
            await call.write(huge)
            assert (await status_of(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_that_asks_for_too_many_names_is_ended(folder: Path) -> None:
    """T26."""
    names = tuple(f"n{at}" for at in range(100_001))
    async with control_plane(folder) as running:
        async with delta(running.at.xds) as call:
            await call.write(delta_request(EDS, node=NODE, names=names))
            assert (await status_of(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with sotw(running.at.xds) as sotw_call:
            await sotw_call.write(sotw_request(EDS, node=NODE, names=names))
            assert (await status_of(sotw_call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_streams_that_end_leave_nothing_behind(folder: Path) -> None:
    """XP-86."""
    async with control_plane(folder) as running:
        for _ in range(20):
            async with delta(running.at.xds) as call:
                await call.write(delta_request(CDS, node=NODE))
                await next_delta(call)
        async with delta(running.at.xds) as call:
            await call.write(delta_request(CDS, node=NODE))
            await call.done_writing()
            await next_delta(call)
            assert (await status_of(call))[0] is grpc.StatusCode.OK
        await until(partial(_is_alone, running))


async def test_a_client_that_does_not_read_delays_no_other(folder: Path) -> None:
    """XP-85, XP-18, T27."""
    async with control_plane(folder) as running, delta(running.at.xds) as slow, delta(running.at.xds) as quick:
        for call in (slow, quick):
            await call.write(delta_request(CDS, node=NODE))
            first = await next_delta(call)
            await call.write(delta_request(CDS, nonce=first.nonce))
        names: set[str] = set()
        for at in range(20):
            (folder / "more.yaml").write_text("---\n".join(selecting(f"s{at}-{each}", "x") for each in range(20)))
            while len(names) != 20 or not all(f"|s{at}-" in name for name in names):
                response = await next_delta(quick)
                names = (names | {each.name for each in response.resources}) - set(response.removed_resources)
                await quick.write(delta_request(CDS, nonce=response.nonce))
        held = await next_delta(slow)
        await slow.write(delta_request(CDS, nonce=held.nonce))
        last = await next_delta(slow)

    assert len(last.resources) == 20
    assert all("|s19-" in each.name for each in last.resources)


async def test_the_stop_ends_streams_in_good_order_and_refuses_new_ones(folder: Path) -> None:
    """XP-87."""
    async with control_plane(folder, grace_s=2.0) as running, delta(running.at.xds) as call, delta(running.at.xds) as late:
        await call.write(delta_request(CDS, node=NODE))
        await next_delta(call)
        running.stop.set()
        await until(lambda: running.plane.draining)
        await late.write(delta_request(CDS, node=NODE))

        assert (await status_of(call))[0] is grpc.StatusCode.OK
        assert (await status_of(late))[0] is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(DEADLINE_S):
            await running.task


async def test_two_control_planes_never_share_a_port(folder: Path) -> None:
    from controlplane.app.control_plane import ControlPlane
    from controlplane.settings import Settings

    async with control_plane(folder) as running:
        with pytest.raises(OSError, match="cannot listen"):
            await ControlPlane(Settings(files=(str(folder),), xds=running.at.xds, admin="127.0.0.1:0")).run(asyncio.Event())
        with pytest.raises(OSError, match="in use"):
            await ControlPlane(Settings(files=(str(folder),), xds="127.0.0.1:0", admin=running.at.admin)).run(asyncio.Event())


async def test_frequent_pings_of_a_client_are_no_offence(folder: Path) -> None:
    """XP-84: the server allows any number of pings."""
    options = (("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0))
    async with control_plane(folder) as running, grpc.aio.insecure_channel(running.at.xds, options=options) as channel:
        method: DeltaMethod = channel.stream_stream(
            f"{ADS}/DeltaAggregatedResources", request_serializer=DeltaDiscoveryRequest.SerializeToString
        )
        call = method()
        await call.write(delta_request(CDS, node=NODE))
        await call.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await call.code()
        call.cancel()


async def _is_alone(running: Running) -> bool:
    return await running.json("/v1/proxies") == []


def _addresses(value: bytes) -> list[str]:
    assignment = ClusterLoadAssignment.FromString(value)
    return [each.endpoint.address.socket_address.address for locality in assignment.endpoints for each in locality.lb_endpoints]
