"""A pod's end, as a kubelet asks a real Envoy for it: only the node may, clients are told to go, and what has begun ends well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from controlplane.bootstrap.status_listeners import DRAIN_PATH
from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import DEADLINE_S, at_most, until

_NODE = "127.0.0.9"
_DRAIN_S = 3


@asynccontextmanager
async def application(ip: str) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Answer requests at port 8000 of ``ip``; gives what tells that a slow one is there, and what lets it go."""
    there, go = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()).strip():
            while (await reader.readline()).strip():
                pass  # its header
            if b"/slow" in line:
                there.set()
                await go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(answer, ip, 8000)
    try:
        yield there, go
    finally:
        go.set()
        server.close()


async def inbound(one: SingleEnvoy, path: str) -> httpx.Response:
    """Return the answer to a request that comes in to the workload of ``one``."""
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        return await client.get(f"http://{one.ip}:9080{path}")


async def asked(one: SingleEnvoy, source: str) -> int:
    """Return with which status the drain is answered to ``source``."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=source), timeout=DEADLINE_S) as client:
        return (await client.get(f"http://{one.ip}:15021{DRAIN_PATH}")).status_code


async def test_a_pod_ends_without_a_broken_request(tmp_path: Path) -> None:
    async with single_envoy(tmp_path, nodes=(_NODE,)) as one:
        ports = one.settings.status
        assert ports
        one.settings = replace(one.settings, status=replace(ports, drain_s=_DRAIN_S))
        async with application(one.ip) as (there, go):
            await one.start()
            await one.until_ready()
            before = await inbound(one, "/")
            slow = asyncio.create_task(inbound(one, "/slow"))
            await asyncio.wait_for(there.wait(), DEADLINE_S)
            stranger = await asked(one, "127.0.0.1")
            began = time.monotonic()
            draining = asyncio.create_task(asked(one, _NODE))

            async def told() -> bool:
                return "close" in (await inbound(one, "/")).headers.get_list("connection")

            await until(told, "clients are told to go", deadline_s=at_most(5))
            told_after = time.monotonic() - began
            status = await draining
            took = time.monotonic() - began
            go.set()
            last = await slow

    assert (before.status_code, before.headers.get("connection")) == (200, None)
    assert stranger == 404
    assert status == 200
    assert told_after < _DRAIN_S <= took
    assert (last.status_code, last.text) == (200, "hi")
    print(f"clients were told after {told_after:.2f} s, the kubelet was answered after {took:.2f} s")
