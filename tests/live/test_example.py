"""The Envoy that the README tells to connect, as it stands in examples/envoy, at another loopback address."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from controlplane.demo.ports import free_network, free_port
from controlplane.demo.processes import control_plane, envoy_binary, start, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "envoy"
PORTS = (8081, 15000, 15002, 15010)


async def test_the_example_of_the_readme_works(tmp_path: Path) -> None:
    ip = f"{free_network(PORTS)}.11"
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    for path in (EXAMPLE / "manifests").iterdir():
        (manifests / path.name).write_text(elsewhere(path.read_text(), ip))
    bootstrap = tmp_path / "sidecar.yaml"
    bootstrap.write_text(elsewhere((EXAMPLE / "sidecar.yaml").read_text(), ip))
    web = await asyncio.start_server(answer, ip, 8081)
    plane = await control_plane(manifests, tmp_path, xds=f"{ip}:15010", admin=f"127.0.0.1:{free_port()}")
    envoy = await start("envoy", [envoy_binary(), "-c", str(bootstrap), "--use-dynamic-base-id", "--concurrency", "1"], tmp_path)
    client = httpx.AsyncClient(proxy=f"http://{ip}:15002", timeout=5.0)

    async def body_of_a_request() -> str:
        try:
            return (await client.get("http://web:8080/")).text
        except httpx.TransportError:
            return ""

    async def says(text: str) -> bool:
        return await body_of_a_request() == text

    try:
        await until("the first request is answered", lambda: says("hello"), seconds=20, watched=envoy)
        page = manifests / "web.yaml"
        saved = page.read_text().replace(
            "- route: [{destination: {host: web}}]", '- directResponse: {status: 200, body: {string: "edited"}}'
        )
        page.write_text("".join(line for line in saved.splitlines(keepends=True) if not line.startswith(("    timeout", "    retries"))))
        await until("an edit is in effect", lambda: says("edited"), seconds=10, watched=envoy)
    finally:
        await client.aclose()
        await envoy.stop()
        await plane.stop()
        web.close()


def elsewhere(text: str, ip: str) -> str:
    """Return ``text`` with ``ip`` for its loopback addresses."""
    return text.replace("127.0.0.11", ip).replace("127.0.0.1", ip)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer any request with "hello"."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
    await writer.drain()
    writer.close()
