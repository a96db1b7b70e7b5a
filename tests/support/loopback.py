"""Small servers of tests on loopback addresses, and whether somebody listens there."""

from __future__ import annotations

import asyncio
import contextlib

from controlplane.admin.http_server import HttpServer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, until the client has ended."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()


async def ended(web: HttpServer, task: asyncio.Task[None]) -> None:
    """End ``web``, which runs in ``task``."""
    web.stop()
    await task
    web.close()


async def is_open(ip: str, port: int) -> bool:
    """Return whether a connection to ``port`` of ``ip`` is taken."""
    try:
        _, writer = await asyncio.open_connection(ip, port)
    except OSError:
        return False
    writer.close()
    return True
