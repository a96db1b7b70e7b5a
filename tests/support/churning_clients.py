"""``python -m tests.support.churning_clients ADDRESS COUNT STAY_S AWAY_S``: sidecars, a connection each, that come and go.

They do as lines of standard input say: ``go`` (come and go), ``hold`` (come and stay), ``end``. A line is printed for each, with how many
have come so far: for ``hold`` when all are there and have everything.
"""

from __future__ import annotations

import asyncio
import random
import sys

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from tests.support.control_plane import DeltaCall, delta, delta_request
from tests.support.many_clients import node

_EVERYTHING = {CDS, EDS, LDS, RDS, VHDS}


class Client:
    """One sidecar."""

    def __init__(self, number: int, address: str, times: tuple[float, float]) -> None:
        self.who = node(number, "churner")
        self.address = address
        self.stay_s, self.away_s = times
        self.arrivals = 0
        self.complete = asyncio.Event()

    async def run(self, hold: asyncio.Event, go: asyncio.Event) -> None:
        """Come and go while ``go`` is set; come and stay while ``hold`` is."""
        while True:
            try:
                async with delta(self.address) as call, asyncio.timeout(self.stay_s * (0.5 + random.random())) as until:
                    try:
                        self.arrivals += 1
                        staying = asyncio.create_task(self._stay(until, hold, go))
                        try:
                            await self._follow(call)
                        finally:
                            staying.cancel()
                    finally:
                        self.complete.clear()
            except (grpc.aio.AioRpcError, TimeoutError):
                pass
            if not hold.is_set():
                await asyncio.sleep(self.away_s * (0.5 + random.random()))

    async def _stay(self, until: asyncio.Timeout, hold: asyncio.Event, go: asyncio.Event) -> None:
        while True:
            await hold.wait()
            until.reschedule(None)
            await go.wait()  # who is let go leaves within its usual time
            until.reschedule(asyncio.get_running_loop().time() + self.stay_s * random.random())

    async def _follow(self, call: DeltaCall) -> None:
        await call.write(delta_request(CDS, node=self.who))
        await call.write(delta_request(LDS))
        has: set[str] = set()
        async for answer in call:
            await call.write(DeltaDiscoveryRequest(type_url=answer.type_url, response_nonce=answer.nonce))
            if answer.type_url == CDS:
                await call.write(delta_request(EDS, names=tuple(each.name for each in answer.resources)))
            elif answer.type_url not in has and answer.type_url == LDS:
                await call.write(delta_request(RDS, names=("80",)))
            elif answer.type_url not in has and answer.type_url == RDS:
                await call.write(delta_request(VHDS))
            has.add(answer.type_url)
            if has >= _EVERYTHING:
                self.complete.set()


async def main(address: str, count: int, times: tuple[float, float]) -> None:
    """Do it."""
    loop, hold, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    go.set()
    clients = [Client(number, address, times) for number in range(count)]
    tasks = [asyncio.create_task(each.run(hold, go)) for each in clients]
    while (line := (await loop.run_in_executor(None, sys.stdin.readline)).strip()) not in ("", "end"):
        if line == "hold":
            go.clear()
            hold.set()
            for each in clients:
                await each.complete.wait()
        else:
            hold.clear()
            go.set()
        print(line, sum(each.arrivals for each in clients), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), (float(sys.argv[3]), float(sys.argv[4]))))
