"""What is more than anybody needs is refused, and costs its own stream alone (T26)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from controlplane.app.garbage_collection import give_large_blocks_back
from controlplane.envoy.type_urls import CDS
from tests.support.control_plane import ADS, NODE, Running, control_plane, delta, delta_request, next_delta
from tests.support.memory import memory
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")
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


async def test_t26_headers_beyond_measure_are_refused(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.at.xds) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{ADS}/DeltaAggregatedResources")
        call = method(metadata=tuple((f"x-{number}", "y" * 1000) for number in range(60)))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(delta_request(CDS, node=NODE).SerializeToString())
        async with asyncio.timeout(DEADLINE_S):
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
