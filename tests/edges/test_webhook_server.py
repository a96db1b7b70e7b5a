"""The webhooks under those who are no API server, and under reviews that are larger than any should be."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.untyped import Json, section
from tests.support.waiting import within
from tests.support.webhook_server import WebhookServer, header, review, webhook_server

SLOW = 250
POD_KIND = {"group": "", "version": "v1", "kind": "Pod"}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as found:
        yield found


def route(name: str = "r", **spec: object) -> Json:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec or {"hosts": ["a"]}}


GOOD = review(route(hosts=["a.example"], http=[{"route": [{"destination": {"host": "a.example"}}]}]))


def allowed(answer: object) -> bool:
    assert isinstance(answer, dict)
    return bool(answer["response"]["allowed"])


@pytest.mark.parametrize("stops_at", ["the connection", "the handshake", "the header", "the body"])
async def test_250_slow_connections_without_credentials_stop_nobody(server: WebhookServer, stops_at: str) -> None:
    tls = None if stops_at == "the connection" else server.trust
    slow = [await asyncio.open_connection("localhost", server.port, ssl=tls) for _ in range(SLOW)]
    begun = {"the connection": b"\x16", "the handshake": b"", "the header": b"POST /validate HTTP/1.1\r\nHost: lo"}
    for _, writer in slow:
        writer.write(begun.get(stops_at, header(1000) + b"{"))

    began = time.perf_counter()
    answers = [await server.ask(GOOD) for _ in range(5)]
    took = time.perf_counter() - began

    print(f"{stops_at}: 5 reviews in {took:.3f} s beside {SLOW} slow connections")
    for _, writer in slow:
        writer.transport.abort()
    assert [(status, allowed(answer)) for status, answer in answers] == [(200, True)] * 5
    assert took < within(1.0)


async def test_bodies_that_are_never_whole_hold_only_so_much(server: WebhookServer) -> None:
    part = b" " * (2 << 20)
    slow = [await asyncio.open_connection("localhost", server.port, ssl=server.trust) for _ in range(60)]  # 120 MiB, of 64 that are held

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(header(5 << 20) + part)
        await writer.drain()

    await asyncio.gather(*(send(writer) for _, writer in slow), return_exceptions=True)
    status, answer = await server.ask(GOOD)

    async def ending(reader: asyncio.StreamReader) -> bytes:
        """Return the status that is told, where what is still to come does not break the connection before it is read."""
        try:
            return (await reader.readline())[9:12]
        except ConnectionError:
            return b""

    ended = await asyncio.gather(*(ending(reader) for reader, _ in slow))  # by the limit of time at the latest
    for _, writer in slow:
        writer.transport.abort()
    assert (status, allowed(answer)) == (200, True)
    assert set(ended) <= {b"408", b""}


def large(count: int) -> bytes:
    """Return a review of a VirtualService with ``count`` routes."""
    routes = [
        {
            "name": f"route-{index}",
            "match": [{"uri": {"prefix": f"/path/number/{index}"}, "headers": {"x-user": {"exact": f"user-{index}"}}}],
            "route": [{"destination": {"host": f"service-{index % 100}.shop.svc.cluster.local", "port": {"number": 80}}, "weight": 100}],
            "timeout": "5s",
        }
        for index in range(count)
    ]
    return review(route(hosts=["a.example"], http=routes))


async def test_20_reviews_of_1_35_mb_at_once_are_answered_and_cost_the_small_ones_and_the_health_nothing(server: WebhookServer) -> None:
    body = large(5_300)
    assert 1_300_000 < len(body) < 1_400_000
    await server.ask(GOOD)
    began = time.perf_counter()
    heavy = asyncio.gather(*(server.ask(body) for _ in range(20)))
    small: list[float] = []
    health: list[float] = []
    while not heavy.done():
        for call, times in ((server.healthz(), health), (server.ask(GOOD), small)):
            since = time.perf_counter()
            await call
            times.append(time.perf_counter() - since)
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began

    answers = await heavy
    statuses = [status for status, _ in answers]
    print(f"20 of {len(body)} bytes: {took:.2f} s, {statuses.count(200)} with a verdict")
    print(f"meanwhile /healthz {max(health) * 1000:.0f} ms at most, small reviews {max(small) * 1000:.0f} ms")
    assert set(statuses) <= {200, 503}  # whoever asked would not have waited for longer
    assert all("no verdict within 9.5 s" in str(answer) for status, answer in answers if status == 503)
    assert statuses.count(503) <= within(0)
    assert took < within(12)
    assert max(health) < within(0.25)
    assert max(small) < within(0.5)


def nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


def pod(containers: int = 1, **more: object) -> Json:
    spec = {"containers": [{"name": f"c-{index}", "image": "x"} for index in range(containers)], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "p"}}, "spec": spec}


@pytest.mark.parametrize("depth", [70, 250, 260, 500, 900, 1000, 1020, 5000, 100_000])
@pytest.mark.parametrize("path", ["/validate", "/inject/namespace"])
async def test_reviews_of_many_levels_are_answered_with_words(
    server: WebhookServer, depth: int, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = ('{"a":' * depth) + "1" + "}" * depth
    values = (
        review(route(hosts=["a"], deep="@")).replace(b'"@"', inner.encode()),
        review({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "a"}, "spec": "@"}).replace(
            b'"@"', inner.encode()
        ),
        review(pod(deep="@"), kind=POD_KIND, namespace="shop").replace(b'"@"', inner.encode()),
        review(pod(), kind=POD_KIND, namespace="shop", oldObject="@").replace(b'"@"', inner.encode()),
        review({"kind": "@"}).replace(b'"@"', inner.encode()),
        b"[" * depth + b"]" * depth,
    )

    answers = [await server.ask(body, path) for body in values]

    for status, answer in answers:
        assert isinstance(answer, dict)
        assert status == 200 or (status == 400 and "expected" in answer["error"]), (status, answer)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("containers", [200, 255, 256, 257, 300, 2000])
async def test_pods_of_many_containers_are_answered_with_words(
    server: WebhookServer, containers: int, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = {"kind": POD_KIND, "namespace": "shop"}
    values = (
        pod(containers),
        pod(1, initContainers=[{"name": f"i-{index}", "image": "x"} for index in range(containers)]),
        pod(1, volumes=[{"name": f"v-{index}", "emptyDir": {}} for index in range(containers)]),
        pod(1, ephemeralContainers=[{"name": f"e-{index}", "image": "x"} for index in range(containers)]),
    )

    answers = [await server.ask(review(value, **namespace), "/inject/namespace") for value in values]

    for status, answer in answers:
        assert status == 200
        assert isinstance(answer, dict)
        response = section(answer, "response")
        assert response["allowed"] is True or "expected" in json.dumps(response["status"])
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
