"""Probes of an application through its Envoy: each kind says what the application says, and only to the node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import httpx

from controlplane.bootstrap.status_listeners import ApplicationProbe
from controlplane.demo.ports import free_port
from controlplane.demo.processes import until
from tests.live.alone import Alone, alone

NODE = "127.9.9.9"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse


@dataclass
class Application:
    """Something that can be probed; what it answers is in its fields."""

    http: int = field(default_factory=free_port)
    tcp: int = field(default_factory=free_port)
    grpc: int = field(default_factory=free_port)
    status: int = 200
    more: str = ""  # header lines
    health: bytes = SERVING
    requested: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self, ip: str) -> AsyncIterator[None]:
        """Listen at ``ip`` until the block ends."""
        http = await asyncio.start_server(self.answer, ip, self.http)
        server = grpc.aio.server()
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._check)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
        server.add_insecure_port(f"{ip}:{self.grpc}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)
            http.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requested.append(head.partition(" HTTP/")[0])
            writer.write(f"HTTP/1.1 {self.status} Said\r\n{self.more}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    async def _check(self, request: bytes, _: object) -> bytes:
        self.requested.append(f"Check {request!r}")
        return self.health


@contextlib.asynccontextmanager
async def probed(folder: Path) -> AsyncIterator[tuple[Alone, Application]]:
    """Yield an Envoy that is ready, and the application beside it."""
    app = Application()
    probes = (
        ApplicationProbe(requested="/app-health/web/readyz", kind="http", port=app.http, path="/ready?deep=1"),
        ApplicationProbe(requested="/app-health/web/livez", kind="tcp", port=app.tcp),
        ApplicationProbe(requested="/app-health/web/startupz", kind="grpc", port=app.grpc, service="web"),
    )
    async with alone(folder, probes=probes, nodes=(NODE,)) as one, app.running(one.ip):
        await one.start()
        await one.until_ready()
        yield one, app


def answers(one: Alone, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return await one.status(15021, f"/app-health/web/{path}", source=NODE) == status

    return so


async def test_an_http_probe_is_passed_on_as_it_would_have_come(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        assert await answers(one, "readyz", 200)()
        app.status = 500
        assert await answers(one, "readyz", 500)()

        assert set(app.requested) >= {"GET /ready?deep=1"}


async def test_a_redirect_is_a_success_that_nobody_follows_to_a_path_that_only_the_application_has(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        app.status, app.more = 302, "location: /login\r\n"

        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=NODE), follow_redirects=True) as kubelet:
            found = await kubelet.get(f"http://{one.ip}:15021/app-health/web/readyz")

        assert found.status_code == 302


async def test_a_tcp_probe_says_whether_the_port_is_open(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        assert await answers(one, "livez", 503)()

        async def close(_: object, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(close, one.ip, app.tcp)
        await until("the probe succeeds", answers(one, "livez", 200), seconds=5)
        server.close()
        await until("the probe fails", answers(one, "livez", 503), seconds=5)


async def test_a_grpc_probe_says_what_the_service_says(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        await until("the probe succeeds", answers(one, "startupz", 200), seconds=5)
        app.health = NOT_SERVING
        await until("the probe fails", answers(one, "startupz", 503), seconds=5)

        assert "Check b'\\n\\x03web'" in app.requested


async def test_nobody_but_the_node_learns_anything_of_the_application(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        found = [await one.status(15021, f"/app-health/web/{each}", source="127.9.9.8") for each in ("readyz", "livez", "startupz")]

        assert found == [404, 404, 404]
        assert "GET /ready?deep=1" not in app.requested
        assert await one.status(15021, "/healthz/ready", source="127.9.9.8") == 200
        assert await one.status(15021, "/healthz/ready", source=NODE) == 200
