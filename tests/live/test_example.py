"""The Envoy that the README tells to connect, as it stands in examples/envoy, at another loopback address."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import httpx

from tests.support.processes import Process, envoy_binary, free_network, free_port, start, start_control_plane
from tests.support.waiting import DEADLINE_S, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "envoy"
PORTS = (8081, 15000, 15002, 15010)


async def test_the_example_of_the_readme_works(tmp_path: Path) -> None:
    ip = f"{free_network(PORTS)}.11"
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    for path in (EXAMPLE / "manifests").iterdir():
        (manifests / path.name).write_text(elsewhere(path.read_text(), ip))
    web = await asyncio.start_server(answer, ip, 8081)
    plane = await start_control_plane(manifests, tmp_path, xds=f"{ip}:15010", admin=f"127.0.0.1:{free_port()}")
    sidecar, gateway = [await proxy(name, ip, tmp_path) for name in ("sidecar", "gateway")]
    inside = httpx.AsyncClient(proxy=f"http://{ip}:15002", timeout=DEADLINE_S)
    outside = httpx.AsyncClient(timeout=DEADLINE_S, headers={"host": "web.example"})
    front = f"http://{elsewhere('127.0.0.12', ip)}:8080/"
    try:
        await until(partial(says, inside, "http://web:8080/", "hello"), "the first request is answered", watched=sidecar)
        await until(partial(says, outside, front, "hello"), "a request comes in through the gateway", watched=gateway)
        page = manifests / "web.yaml"
        saved = page.read_text().replace(
            "- route: [{destination: {host: web}}]", '- directResponse: {status: 200, body: {string: "edited"}}'
        )
        page.write_text("".join(line for line in saved.splitlines(keepends=True) if not line.startswith(("    timeout", "    retries"))))
        await until(partial(says, inside, "http://web:8080/", "edited"), "an edit is in effect", watched=sidecar)
    finally:
        await asyncio.gather(inside.aclose(), outside.aclose())
        await asyncio.gather(sidecar.stop(), gateway.stop(), plane.stop())
        web.close()


async def proxy(name: str, ip: str, folder: Path) -> Process:
    """Start the Envoy whose bootstrap is ``name``.yaml, at addresses beside ``ip``."""
    bootstrap = folder / f"{name}.yaml"
    bootstrap.write_text(elsewhere((EXAMPLE / f"{name}.yaml").read_text(), ip))
    return await start(name, [envoy_binary(), "-c", str(bootstrap), "--use-dynamic-base-id", "--concurrency", "1"], folder)


async def says(client: httpx.AsyncClient, url: str, text: str) -> bool:
    """Return whether ``url`` is answered with ``text``."""
    try:
        return (await client.get(url)).text == text
    except httpx.TransportError:
        return False


def elsewhere(text: str, ip: str) -> str:
    """Return ``text`` with ``ip`` for its loopback addresses."""
    return text.replace("127.0.0.12", f"{ip[:-1]}2").replace("127.0.0.11", ip).replace("127.0.0.1", ip)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer any request with "hello"."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
    await writer.drain()
    writer.close()
