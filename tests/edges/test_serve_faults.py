"""The discovery server when something is wrong: sources that are not read yet, peers that do not read, faults of our own."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.envoy.type_urls import CDS
from controlplane.model.keys import Key
from controlplane.objects.changes import MeshChange
from controlplane.serve.authn import authenticate
from controlplane.serve.xds import streams
from controlplane.xds.events import Sent
from controlplane.xds.stream import Response
from controlplane.xds.view import View
from tests.support.control_plane import ADS, NODE, DeltaMethod, delta, delta_request, status_of
from tests.support.discovery_server import Machine, serving_by
from tests.support.waiting import until


def silent(view: View) -> Machine:
    return Machine(lambda: None)


async def test_nobody_is_answered_before_every_source_has_been_read() -> None:
    async with serving_by(silent, sources=("files", "more files")) as running:
        running.updates.submit("files", ())
        async with delta(running.address) as call:
            refused = await status_of(call)
        running.updates.submit("more files", ())
        await until(running.updates.synced.is_set)
        async with delta(running.address) as call:
            await call.write(delta_request(CDS, node=NODE))
            await until(lambda: running.books.open)

    assert refused == (grpc.StatusCode.UNAVAILABLE, "not every source has been read yet")


async def test_a_fault_of_ours_in_one_stream_ends_that_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    faulty = [True, False]

    def make(view: View) -> Machine:
        return Machine(_fail if faulty.pop(0) else lambda: None)

    async with serving_by(make) as running, delta(running.address) as bad, delta(running.address) as good:
        await bad.write(delta_request(CDS, node=NODE))
        code, details = await status_of(bad)
        await good.write(delta_request(CDS, node=NODE))
        await until(lambda: running.books.open)

        assert (code, details) == (grpc.StatusCode.INTERNAL, "a fault of the control plane; it is logged there")
        assert not good.done()
    assert "stream failed" in caplog.text


async def test_a_fault_of_ours_in_a_request_ends_that_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_by(lambda _: Machine(lambda: None, _fail)) as running, delta(running.address) as call:
        await call.write(delta_request(CDS, node=NODE))

        assert (await status_of(call))[0] is grpc.StatusCode.INTERNAL
        await until(lambda: not running.books.open)
    assert "stream failed" in caplog.text


async def test_a_fault_of_ours_in_the_mesh_ends_one_refresh_and_not_the_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_by(silent) as running:
        with monkeypatch.context() as patch:
            patch.setattr(running.mesh, "apply", _fail)
            running.updates.submit("files", (MeshChange(Key("Service", "shop", "a"), None),))
            await until(lambda: "refresh failed" in caplog.text)
        before = running.updates.refreshes
        running.updates.submit("files", ())
        await until(lambda: running.updates.refreshes > before)


async def test_a_peer_that_does_not_read_is_dropped_and_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """T27."""
    monkeypatch.setattr(streams, "WRITE_S", 0.3)
    payload = Response(b"\x22\x80\x80\x40" + b"x" * (1 << 20), Sent(CDS, "1", "", 0, 0, 1 << 20))

    async with serving_by(lambda _: Machine(lambda: payload)) as running:
        async with delta(running.address) as call:
            await call.write(delta_request(CDS, node=NODE))
            await until(lambda: running.books.open)
            await until(lambda: not running.books.open)

        assert running.books.sent < 50


async def test_a_peer_that_asks_for_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticate, "FIRST_REQUEST_S", 0.2)

    async with serving_by(silent) as running, delta(running.address) as call:
        assert (await status_of(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_thousand_streams_at_once_are_all_taken() -> None:
    async with serving_by(silent) as running, grpc.aio.insecure_channel(running.address) as channel:
        method: DeltaMethod = channel.stream_stream(
            f"{ADS}/DeltaAggregatedResources", request_serializer=DeltaDiscoveryRequest.SerializeToString
        )
        calls = [method() for _ in range(1000)]
        await asyncio.gather(*(call.write(delta_request(CDS, node=NODE)) for call in calls))
        await until(lambda: len(running.books.open) == 1000)
        for call in calls:
            call.cancel()
        await until(lambda: not running.books.open)

        assert running.subscribers.sessions() == ()


def _fail(*_: object) -> None:
    raise RuntimeError("a mistake of ours")
