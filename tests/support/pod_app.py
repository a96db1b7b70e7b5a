"""The application of a pod: says who it is, asks others, and lets a test look out of its pod.

By environment: ``APP``, ``VERSION``, ``PORTS`` (9080 by default), and ``CALLS``, URLs that it asks before it answers. At any port: ``/``
answers, after ``?delay`` seconds; ``/health`` says how it is, which ``/health?set=500`` changes; ``/ask?url=`` asks from in here and
``/load?url=&rate=`` does so often, until somebody asks for ``/enough``. SIGTERM ends it when what has begun is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qs, urlsplit

_FORWARDED = ("end-user", "x-request-id")


@dataclass
class Request:
    """A request, as much of it as is looked at."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class App:
    """What it is, and how it is."""

    name: str = field(default_factory=lambda: os.environ.get("APP", "app"))
    version: str = field(default_factory=lambda: os.environ.get("VERSION", "v1"))
    calls: list[str] = field(default_factory=lambda: os.environ.get("CALLS", "").split())
    health: int = 200
    open: int = 0
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)  # nothing is open

    async def serve(self, ports: list[int]) -> None:
        """Answer at ``ports`` until it is asked to leave."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.leaving.set)
        servers = [await asyncio.start_server(self._connection, "0.0.0.0", port, backlog=1024) for port in ports]
        await self.leaving.wait()
        for server in servers:
            server.close()
        if self.open:
            await self.done.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.open += 1
                try:
                    status, body = await self._answer(request, writer.get_extra_info("peername")[0])
                    content = json.dumps(body).encode()
                    last = "Connection: close\r\n" if self.leaving.is_set() else ""
                    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{last}Content-Length: {len(content)}\r\n\r\n"
                    writer.write(head.encode() + content)
                    await writer.drain()
                finally:
                    self.open -= 1
                    if not self.open and self.leaving.is_set():
                        self.done.set()
                if last:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, peer: str) -> tuple[int, object]:
        query = request.query
        match request.path:
            case "/health":
                self.health = int(query.get("set", self.health))
                return self.health, {}
            case "/ask":
                return 200, await ask(query["url"], json.loads(query.get("headers", "{}")))
            case "/load":
                self.enough.clear()
                return 200, await load(query["url"], float(query["rate"]), self.enough)
            case "/enough":
                self.enough.set()
                return 200, {}
            case _:
                await asyncio.sleep(float(query.get("delay", 0)))
                forwarded = {name: value for name, value in request.headers.items() if name in _FORWARDED}
                asked = [await ask(url, forwarded) for url in self.calls]
                said = {"app": self.name, "version": self.version, "peer": peer, "headers": request.headers, "asked": asked}
                return int(query.get("status", 200)), said


async def _read(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    parts = urlsplit(line.split()[1].decode())
    headers: dict[str, str] = {}
    while (header := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = header.decode().partition(":")
        headers[name.lower()] = value.strip()
    await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}, headers)


class Connection:
    """A connection that requests are sent on, one after the other."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; raises OSError, also where the other end breaks off."""
        host, port = self._url.hostname or "", self._url.port or 80
        if self._streams is None:
            self._streams = await asyncio.open_connection(host, port)
        reader, writer = self._streams
        path = f"{self._url.path or '/'}{'?' + self._url.query if self._url.query else ''}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}\r\n".encode())
        first = await reader.readline()
        if not first:
            self.close()
            raise ConnectionResetError("no answer")
        found: dict[str, str] = {}
        while (header := await reader.readline()) not in {b"\r\n", b""}:
            name, _, value = header.decode().partition(":")
            found[name.lower()] = value.strip()
        body = await _body(reader, found)
        if found.get("connection") == "close":
            self.close()
        return int(first.split()[1]), found, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    found = b""
    while size := int(await reader.readline(), 16):
        found += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return found


async def ask(url: str, headers: dict[str, str]) -> dict[str, object]:
    """Return who answers ``url``, and how."""
    connection = Connection(url)
    began = time.monotonic()
    try:
        async with asyncio.timeout(60):
            status, found, body = await connection.get(headers)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        return {"status": 0, "error": repr(error)}
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError:
        said = body.decode(errors="replace")
    return {"status": status, "seconds": time.monotonic() - began, "headers": found, "said": said}


async def load(url: str, rate: float, enough: asyncio.Event) -> dict[str, object]:
    """Ask ``url`` at a steady ``rate`` until it is ``enough``, and return how often each came of it."""
    found: Counter[str] = Counter()
    failed: list[tuple[float, str]] = []
    idle: list[Connection] = []
    began = time.monotonic()

    async def one(at: float) -> None:
        connection = idle.pop() if idle else Connection(url)
        try:
            async with asyncio.timeout(60):
                status, _, body = await connection.get({})
            outcome = str(status)
            detail = body[:120].decode(errors="replace")
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            connection.close()
            outcome = detail = repr(error)
        else:
            idle.append(connection)
        found[outcome] += 1
        if outcome != "200":
            failed.append((round(at, 3), detail))

    async with asyncio.TaskGroup() as group:
        for number in count():
            at = number / rate
            if enough.is_set():
                break
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            group.create_task(one(at))
    return {"outcomes": dict(found), "failed": failed[:50], "seconds": time.monotonic() - began}


if __name__ == "__main__":
    asyncio.run(App().serve([int(port) for port in os.environ.get("PORTS", "9080").split()]))
