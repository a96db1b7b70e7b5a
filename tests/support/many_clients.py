"""``python -m tests.support.many_clients ADDRESS COUNT``: clients that take all clusters and endpoints, a connection each.

A line is printed when each has everything.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.control_plane import DeltaCall, delta, delta_request


def node(number: int, kind: str = "follower") -> str:
    """Return the node id of one client."""
    return f"sidecar~10.0.0.1~{kind}-{number}.shop~shop.svc.cluster.local"


async def follow(call: DeltaCall, who: str, answered: Callable[[DeltaDiscoveryResponse], None]) -> None:
    """Subscribe ``who`` to everything and accept what comes, telling ``answered``, until the stream ends."""
    await call.write(delta_request(CDS, node=who))
    async for answer in call:
        request = DeltaDiscoveryRequest(type_url=answer.type_url, response_nonce=answer.nonce)
        await call.write(request)
        if answer.type_url == CDS:
            await call.write(delta_request(EDS, names=tuple(each.name for each in answer.resources)))
        answered(answer)


async def main(address: str, count: int) -> None:
    """Do it."""
    ready = asyncio.Barrier(count + 1)

    async def one(number: int) -> None:
        has_all = asyncio.Event()
        async with delta(address) as call, asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(call, node(number), lambda answer: has_all.set() if answer.type_url == EDS else None))
            await has_all.wait()
            await ready.wait()

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(one(number))
        await ready.wait()
        print("ready", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    except* grpc.aio.AioRpcError:
        sys.exit(1)
