"""What is more than anybody needs is refused, and costs its own stream alone (T26)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.app.garbage_collection import give_large_blocks_back
from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS
from controlplane.serve.xds.quotas import MAX_NAMES, MAX_UNANSWERED
from controlplane.serve.xds.requests import PIECE
from controlplane.serve.xds.streams import EnvoyStream
from tests.support.control_plane import ADS, NODE, DeltaCall, Running, control_plane, delta, delta_request, next_delta, status_of
from tests.support.memory import memory
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
HALF = MAX_NAMES // 2
# Asks for so many names of so many bytes each in one request, by another process, so that its memory is not counted.
ASKS = """
import asyncio, sys, grpc
from tests.support.control_plane import NODE, delta, delta_request, status_of
from controlplane.envoy.type_urls import CDS

async def main(address, count, size):
    names = tuple(f"{number:0{size}}" for number in range(count))
    async with delta(address) as call:
        await call.write(delta_request(CDS, node=NODE, names=names))
        print((await status_of(call, 120))[0].name)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    give_large_blocks_back()
    async with control_plane(tmp_path_factory.mktemp("limits")) as found:
        yield found


async def ended(running: Running, count: int, size: int) -> str:
    """Return how a stream ends that asks for ``count`` names of ``size`` bytes."""
    command = (sys.executable, "-c", ASKS, running.at.xds, str(count), str(size))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2])
    said, _ = await process.communicate()
    return said.decode().strip()


@pytest.mark.parametrize(("count", "size"), [(1_000_000, 12), (100, 1_000_000)], ids=["a million names", "100 MB"])
async def test_t26_a_request_beyond_measure_is_refused_and_its_memory_given_back(running: Running, count: int, size: int) -> None:
    await ended(running, 200_000, 12)  # what is allocated once, and kept, is there now
    gc.collect()
    before = memory()

    assert await ended(running, count, size) == "RESOURCE_EXHAUSTED"

    gc.collect()
    print(f"{(memory() - before) / 1e6:.1f} MB more")
    assert memory() - before < 50e6
    async with delta(running.at.xds) as other:
        await other.write(delta_request(CDS, node=NODE))
        await next_delta(other)


async def end_of(call: DeltaCall) -> grpc.StatusCode:
    """Return how ``call`` ends, reading until it does."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return (await status_of(call))[0]


async def test_unsubscribing_from_nothing_lifts_no_limit(running: Running) -> None:
    async with delta(running.at.xds) as call:
        for turn in range(MAX_NAMES // HALF + 1):
            request = delta_request(CDS, node=NODE, names=tuple(f"{turn}-{number}" for number in range(HALF)))
            request.resource_names_unsubscribe.extend(f"no-{number}" for number in range(HALF))
            await call.write(request)

        assert await end_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_versions_of_what_is_not_there_are_counted(running: Running) -> None:
    async with delta(running.at.xds) as call:
        for type_url in (CDS, LDS, ECDS):
            request = delta_request(type_url, node=NODE, names=("*",))
            request.initial_resource_versions.update({f"{type_url}-{number}": "1" for number in range(HALF)})
            await call.write(request)

        assert await end_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_too_many_versions_cost_their_stream_and_the_log_says_whose(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    running.plane._server._quotas._told_at.clear()  # it is told once a minute
    async with delta(running.at.xds) as call:
        request = delta_request(CDS, node=NODE, names=("*",))
        request.initial_resource_versions.update({str(number): "1" for number in range(5 * MAX_NAMES)})
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(request)

        assert await end_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED

    assert "stream ended, it asks for too much" in caplog.text


async def test_an_envoy_that_comes_back_with_all_it_has_is_served(running: Running) -> None:
    async with delta(running.at.xds) as call:
        request = delta_request(CDS, node=NODE, names=("*",))
        request.initial_resource_versions.update({f"outbound|80||s{number}.shop.svc.cluster.local": "0" * 16 for number in range(10_000)})
        await call.write(request)
        found = {resource.name for resource in (await next_delta(call)).resources}

    assert "BlackHoleCluster" in found  # nothing else is there


async def test_the_streams_of_one_client_have_a_limit_together_and_begin_anew_when_they_have_ended(running: Running) -> None:
    async with contextlib.AsyncExitStack() as open_streams:
        calls = [await open_streams.enter_async_context(delta(running.at.xds)) for _ in range(MAX_UNANSWERED // MAX_NAMES)]
        for stream, call in enumerate(calls):
            await call.write(delta_request(EDS, node=NODE, names=tuple(f"{stream}-{number}" for number in range(MAX_NAMES))))
            await next_delta(call)

        async with delta(running.at.xds) as one_more:
            await one_more.write(delta_request(EDS, node=NODE, names=tuple(map(str, range(HALF)))))
            assert await end_of(one_more) is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def is_admitted() -> bool:
        async with delta(running.at.xds) as another:
            await another.write(delta_request(EDS, node=NODE, names=tuple(map(str, range(HALF)))))
            with contextlib.suppress(grpc.aio.AioRpcError):
                return await another.read() is not grpc.aio.EOF
        return False

    await until(is_admitted)


async def test_others_have_their_turn_while_a_long_request_is_taken_in(running: Running) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        await next_delta(call)
        stream = cast("EnvoyStream[DeltaDiscoveryRequest]", next(iter(running.plane._server._streams)))
        request = delta_request(EDS, names=tuple(map(str, range(MAX_NAMES))))
        counting = asyncio.create_task(count())
        await asyncio.sleep(0)

        await stream._receive_in_pieces(request)

        counting.cancel()
        assert turns >= MAX_NAMES // PIECE


async def test_t26_headers_beyond_measure_are_refused(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.at.xds) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{ADS}/DeltaAggregatedResources")
        call = method(metadata=tuple((f"x-{number}", "y" * 1000) for number in range(60)))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(delta_request(CDS, node=NODE).SerializeToString())
        async with asyncio.timeout(DEADLINE_S):
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
