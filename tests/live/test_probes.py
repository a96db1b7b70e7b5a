"""Probes of an application through its Envoy: each kind says what the application says, and only to the node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx

from controlplane.bootstrap.status_listeners import ApplicationProbe
from tests.support.probed_application import NOT_SERVING, Application
from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import until

NODE = "127.9.9.9"


@contextlib.asynccontextmanager
async def probed(folder: Path) -> AsyncIterator[tuple[SingleEnvoy, Application]]:
    """Yield an Envoy that is ready, and the application beside it."""
    app = Application()
    probes = (
        ApplicationProbe(requested="/app-health/web/readyz", kind="http", port=app.http, path="/ready?deep=1"),
        ApplicationProbe(requested="/app-health/web/livez", kind="tcp", port=app.tcp),
        ApplicationProbe(requested="/app-health/web/startupz", kind="grpc", port=app.grpc, service="web"),
    )
    async with single_envoy(folder, probes=probes, nodes=(NODE,)) as one, app.running(one.ip):
        await one.start()
        await one.until_ready()
        yield one, app


def answers(one: SingleEnvoy, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return await one.status(15021, f"/app-health/web/{path}", source=NODE) == status

    return so


async def test_an_http_probe_is_passed_on_as_it_would_have_come(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        await until(answers(one, "readyz", 200), "readyz answers 200")
        app.status = 500
        await until(answers(one, "readyz", 500), "readyz answers 500")

        assert set(app.asked) >= {"GET /ready?deep=1"}


async def test_a_redirect_is_a_success_that_nobody_follows_to_a_path_that_only_the_application_has(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        app.status, app.more = 302, "location: /login\r\n"

        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=NODE), follow_redirects=True) as kubelet:
            found = await kubelet.get(f"http://{one.ip}:15021/app-health/web/readyz")

        assert found.status_code == 302


async def test_a_tcp_probe_says_whether_the_port_is_open(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        await until(answers(one, "livez", 503), "livez answers 503")

        async def close(_: object, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(close, one.ip, app.tcp)
        await until(answers(one, "livez", 200), "the probe succeeds")
        server.close()
        await until(answers(one, "livez", 503), "the probe fails")


async def test_a_grpc_probe_says_what_the_service_says(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        await until(answers(one, "startupz", 200), "the probe succeeds")
        app.health = NOT_SERVING
        await until(answers(one, "startupz", 503), "the probe fails")

        assert "Check b'\\n\\x03web'" in app.asked


async def test_nobody_but_the_node_learns_anything_of_the_application(tmp_path: Path) -> None:
    async with probed(tmp_path) as (one, app):
        found = [await one.status(15021, f"/app-health/web/{each}", source="127.9.9.8") for each in ("readyz", "livez", "startupz")]

        assert found == [404, 404, 404]
        assert "GET /ready?deep=1" not in app.asked
        assert await one.status(15021, "/healthz/ready", source="127.9.9.8") == 200
        assert await one.status(15021, "/healthz/ready", source=NODE) == 200
