"""WebSockets to a workload whose requests are carried by HTTP/2: through a gateway, and from a sidecar, both by mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.support.envoys import ADMIN_PORT, APP_PORT, PROXY_PORT, rule, running, to
from tests.support.gateway_world import GatewayWorld
from tests.support.manifests import document
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Chat:
    """An application that takes WebSockets, and answers other requests with 200; what comes over a WebSocket it sends back."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"upgrade: websocket" in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := await reader.read(100):
                self.heard.append(data)
                writer.write(b"heard " + data)
                await writer.drain()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    async with running(tmp_path_factory.mktemp("websockets"), secure=True, edge=True) as world:
        assert world.gateway
        yield GatewayWorld(world, world.gateway, tmp_path_factory.mktemp("certificates"))


async def conversation(ip: str, port: int, target: str, host: str, said: bytes) -> tuple[bytes, bytes]:
    """Return the status line to a request for a WebSocket, and what is answered to ``said``."""
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}\r\n".encode())
            status = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]
            if b" 101 " not in status:
                return status, b""
            writer.write(said)
            return status, await reader.readexactly(len(b"heard ") + len(said))
    finally:
        writer.transport.abort()


async def http2_connections(ip: str) -> int:
    """Return how many connections by HTTP/2 the Envoy at ``ip`` has made to the workload."""
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        text = (await client.get(f"http://{ip}:{ADMIN_PORT}/stats", params={"filter": "details.*upstream_cx_http2_total$"})).text
    return sum(int(line.rpartition(": ")[2]) for line in text.splitlines() if ": " in line)


async def test_a_websocket_opens_and_carries_data_where_requests_go_by_http2(front: GatewayWorld) -> None:
    world, chat = front.world, Chat()
    details = world.instances["details-v1"]
    await world.running.pop("details-v1").stop()
    await world.store.save(
        "upgrade",
        document("DestinationRule", "details", host="details", trafficPolicy={"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}),
    )
    await front.show([front.server("HTTP", 8080, "*")], "chat.example", http=[rule(to("details"))])
    async with await asyncio.start_server(chat, details.ip, APP_PORT):
        productpage = world.instances["productpage-v1"].ip
        await front.until_answers("http://chat.example/")

        async def by_http2() -> bool:
            """Ask by both ways; return whether both have gone by HTTP/2."""
            asked = [(await front.ask("http://chat.example/")).status_code]
            async with httpx.AsyncClient(proxy=f"http://{productpage}:{PROXY_PORT}", timeout=DEADLINE_S) as client:
                asked.append((await client.get("http://details:9080/")).status_code)
            return asked == [200, 200] and all([await http2_connections(ip) for ip in (front.gateway.ip, productpage)])

        await until(by_http2, "requests go by HTTP/2", watched=front.gateway.process)
        outside = await conversation(front.gateway.ip, 8080, "/ws", "chat.example", b"from outside")
        inside = await conversation(productpage, PROXY_PORT, "http://details:9080/ws", "details:9080", b"from inside")

    assert outside == (b"HTTP/1.1 101 Switching Protocols", b"heard from outside")
    assert inside == (b"HTTP/1.1 101 Switching Protocols", b"heard from inside")
    assert chat.heard == [b"from outside", b"from inside"]
