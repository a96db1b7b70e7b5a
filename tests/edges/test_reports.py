"""The services by which proxies report: what they are asked, and who is not listened to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest_asyncio
from envoy.service.load_stats.v3.lrs_pb2 import LoadStatsRequest, LoadStatsResponse

from controlplane.envoy.type_urls import CDS
from tests.support.secure_control_plane import Secure, asking, node, secure
from tests.support.waiting import until

METHOD = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
Call = grpc.aio.StreamStreamCall[bytes, LoadStatsResponse]


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Secure]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder, load_interval_s=2.5) as running:
        yield running


@contextlib.asynccontextmanager
async def reporting(plane: Secure) -> AsyncIterator[Call]:
    """Open the stream of load reports, as the service account ``client``."""
    assert plane.running.at.xds_tls
    options = (("grpc.ssl_target_name_override", "localhost"),)
    async with grpc.aio.secure_channel(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), options) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, LoadStatsResponse] = channel.stream_stream(
            METHOD, response_deserializer=LoadStatsResponse.FromString
        )
        call = method(metadata=(("authorization", f"Bearer {plane.token()}"),))
        yield call
        call.cancel()


def report(who: dict[str, object], *clusters: str, features: Sequence[str] = ()) -> bytes:
    """Return a report of ``who`` that ten requests went to each of ``clusters``, in the first of which two failed."""
    found = LoadStatsRequest(node=asking(CDS, who).node)
    found.node.client_features.extend(features)
    for name in clusters:
        cluster = found.cluster_stats.add(cluster_name=name)
        cluster.load_report_interval.seconds = 5
        place = {"region": "west", "zone": "1"}
        cluster.upstream_locality_stats.add(locality=place, total_issued_requests=10, total_error_requests=2, total_requests_in_progress=1)
    return found.SerializeToString()


async def test_xp_89_all_clusters_are_asked_for_only_where_that_is_understood(plane: Secure) -> None:
    for features, clusters in ((("envoy.lrs.supports_send_all_clusters",), ()), ((), ("a", "b"))):
        async with reporting(plane) as call:
            await call.write(report(node(), "b", "a", features=features))
            asked = await call.read()

            assert isinstance(asked, LoadStatsResponse)
            assert (asked.send_all_clusters, tuple(asked.clusters)) == (bool(features), clusters)
            assert asked.load_reporting_interval.ToTimedelta().total_seconds() == 2.5


async def test_what_is_reported_is_shown_while_its_proxy_reports(plane: Secure) -> None:
    async def shown() -> object:
        return await plane.running.json("/v1/load")

    async with reporting(plane) as call:
        await call.write(report(node(), "cart"))
        await until(shown)

        assert await shown() == [
            {
                "cluster": "cart",
                "locality": "west/1",
                "proxies": 1,
                "requests": 10,
                "errors": 2,
                "requestsPerSecond": 2.0,
                "errorsPerSecond": 0.4,
                "estimatedLatencyMs": 500.0,
            }
        ]

    async def forgotten() -> bool:
        return await shown() == []

    await until(forgotten)


async def test_who_comes_again_before_its_first_stream_is_over_is_not_forgotten_with_that(plane: Secure) -> None:
    async with reporting(plane) as second:
        async with reporting(plane) as first:
            await first.write(report(node(), "cart"))
            await first.read()
            await second.write(report(node(), "cart"))
            await second.read()
            await first.done_writing()
            assert await first.code() is grpc.StatusCode.OK

        rows = await plane.running.json("/v1/load")
        assert isinstance(rows, list)
        assert [row["requests"] for row in rows] == [20]


async def test_who_says_to_be_another_is_not_listened_to(plane: Secure) -> None:
    for who in (node(account="other"), node(namespace="elsewhere")):
        async with reporting(plane) as call:
            await call.write(report(who, "cart"))

            assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await plane.running.json("/v1/load") == []


async def test_bytes_that_are_no_report_end_the_stream_and_nothing_else(plane: Secure) -> None:
    async with reporting(plane) as good:
        await good.write(report(node(), "cart"))
        await good.read()
        async with reporting(plane) as bad:
            await bad.write(b"\xff\xff\xff")
            assert await bad.code() is grpc.StatusCode.INVALID_ARGUMENT

        await good.write(b"\xff\xff\xff")
        assert await good.code() is grpc.StatusCode.INVALID_ARGUMENT
