"""Who asks for a large page and does not read it costs little memory, nobody else's time, and is hung up on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, Request, Response

from controlplane.admin import http_server
from controlplane.admin.http_server import HttpServer
from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.bodies import CHUNK_BYTES
from controlplane.admin.request_limit import RequestLimit
from controlplane.slices import LoopShare
from tests.support.waiting import DEADLINE_S, until

STALLED = 10
PIECES = 1500  # of 16 KiB: more than the buffers of both kernels have room for


def pieces() -> Iterator[bytes]:
    for number in range(PIECES):
        yield b"%16d" % number * 1024


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[HttpServer, str, int]]:
    """Serve one large page."""
    app, share = FastAPI(), LoopShare()
    answers = Answers(share)

    @app.get("/large")
    async def large(request: Request) -> Response:
        return await answers.answer(request, pieces, lambda: 1, media_type="text/plain")

    server = HttpServer(RequestLimit(app, share, share), "127.0.0.1:0")
    host, _, port = server.open().rpartition(":")
    task = asyncio.create_task(server.run())
    yield server, host, int(port)
    server.stop()
    async with asyncio.timeout(DEADLINE_S):
        await task


async def asking(host: str, port: int) -> socket.socket:
    """Return a connection with small buffers, by which the page was asked for."""
    asker = socket.socket()
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asker.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(asker, (host, port))
    await loop.sock_sendall(asker, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return asker


async def test_stalled_readers_cost_little_and_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "WRITE_S", 5.0)
    async with serving() as (server, host, port):
        stalled = [await asking(host, port) for _ in range(STALLED)]
        await until(lambda: len(server._connections._peers) == STALLED)
        protocols = [connection._protocol for connection in server._connections._peers]  # type: ignore[attr-defined]
        await until(lambda: all(protocol.flow.write_paused for protocol in protocols))
        waiting = [protocol.transport.get_write_buffer_size() for protocol in protocols]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await until(lambda: not server._connections._peers, "hung up")
        for each in stalled:
            each.close()

    assert max(waiting) <= 2 * CHUNK_BYTES
    assert body == b"".join(pieces())
