"""Traces of real Envoys, through a gateway and two workloads, as a real collector and a real Zipkin receive them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import pytest
import pytest_asyncio

from tests.support.otlp_receivers import attributes, otlp_receiver
from tests.support.telemetry_world import OTLP_GRPC, OTLP_HTTP, ZIPKIN, TelemetryWorld, telemetry_world
from tests.support.waiting import until
from tests.support.zipkin_servers import zipkin_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
_AT_A_TIME = 20
_SIGMAS = 5.0  # that a share may be off
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: collector
      opentelemetry: {service: receivers.example, port: 4317}
    - name: by-http
      opentelemetry: {service: receivers.example, port: 4318, http: {path: /v1/traces}}
    - name: zipkin
      zipkin: {service: receivers.example, port: 9411}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec:
  tracing:
  - providers: [{name: PROVIDER}]
    randomSamplingPercentage: SHARE
    customTags:
      mark: {literal: {value: MARK}}
      user: {header: {name: x-user, defaultValue: nobody}}
      method: {formatter: {value: "%REQ(:METHOD)%"}}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A span, whoever has received it."""

    trace: str
    id: str
    parent: str
    kind: str
    name: str
    service: str
    tags: Mapping[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TelemetryWorld]:
    async with telemetry_world(tmp_path_factory.mktemp("traces")) as world:
        await world.set_runtime("tracing.opentelemetry.flush_interval_ms", "200")
        await world.set_runtime("tracing.zipkin.flush_interval_ms", "200")
        yield world


def settings(provider: str, share: float, mark: str) -> str:
    return SETTINGS.replace("PROVIDER", provider).replace("SHARE", f"{share:g}").replace("MARK", mark)


async def test_a_collector_has_one_trace_of_a_request_with_its_parents_kinds_names_and_tags(world: TelemetryWorld) -> None:
    async with otlp_receiver(world.folder, world.receivers, OTLP_GRPC, OTLP_HTTP) as collector:
        for provider in ("collector", "by-http"):
            await world.apply(settings(provider, 100, f"to-{provider}"), f"to-{provider}")

            await world.ask("/traced", {"x-user": "alice"})

            def spans(mark: str = f"to-{provider}") -> list[Span]:
                kinds = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}
                made = (
                    Span(
                        str(span["traceId"]),
                        str(span["spanId"]),
                        str(span.get("parentSpanId", "")),
                        kinds[int(str(span["kind"]))],
                        str(span["name"]),
                        str(span["service"]),
                        attributes(span),
                    )
                    for span in collector.spans()
                )
                return of_the_request(made, mark)

            await until(partial(_enough, spans), f"five spans have come {provider}")

            check_chain(spans())


async def test_a_zipkin_has_the_same_trace(world: TelemetryWorld) -> None:
    async with zipkin_server(world.folder, world.receivers, ZIPKIN) as zipkin:
        await world.apply(settings("zipkin", 100, "to-zipkin"), "to-zipkin")

        await world.ask("/traced", {"x-user": "alice"})

        async def spans() -> list[Span]:
            made = []
            for span in await zipkin.spans():
                service, tags = span["localEndpoint"], span["tags"]
                assert isinstance(service, dict)
                assert isinstance(tags, dict)
                texts = [str(span.get(name, "")) for name in ("traceId", "id", "parentId", "kind", "name")]
                made.append(Span(texts[0], texts[1], texts[2], texts[3], texts[4], str(service["serviceName"]), tags))
            return of_the_request(made, "to-zipkin")

        async def complete() -> bool:
            return len(await spans()) >= 5

        await until(complete, "five spans have come to Zipkin")
        check_chain(await spans())


@pytest.mark.parametrize(("percent", "requests"), [(0, 300), (1, 2000), (100, 300)])
async def test_as_many_requests_are_traced_as_the_share_says(world: TelemetryWorld, percent: int, requests: int) -> None:
    await world.apply(settings("collector", percent, f"share-{percent}"), f"share-{percent}")
    before = await world.counted("edge", "tracing.random_sampling")

    for _ in range(requests // _AT_A_TIME):
        await asyncio.gather(*(world.ask("/answered") for _ in range(_AT_A_TIME)))

    traced = await world.counted("edge", "tracing.random_sampling") - before
    share = percent / 100
    print(f"{percent} %: {traced} of {requests} requests were traced")
    assert abs(traced - requests * share) <= _SIGMAS * math.sqrt(requests * share * (1 - share))


def _enough(spans: Callable[[], list[Span]]) -> bool:
    return len(spans()) >= 5


def of_the_request(spans: Iterable[Span], mark: str) -> list[Span]:
    """Return those of ``spans`` that are of the request for ``/traced`` while spans had ``mark``."""
    found = list(spans)
    traces = {span.trace for span in found if span.tags.get("http.url", "").endswith("/traced") and span.tags.get("mark") == mark}
    return [span for span in found if span.trace in traces]


def check_chain(spans: list[Span]) -> None:
    """Check that ``spans`` are those of one request through gateway, ``front`` and ``back``."""
    assert len({span.trace for span in spans}) == 1
    assert len(spans) == 5
    [root] = [span for span in spans if not span.parent or span.parent == "0" * 16]
    chain = [root]
    while len(chain) < len(spans):
        chain += [span for span in spans if span.parent == chain[-1].id]
    services = ("edge.edge", "edge.edge", "front.shop", "front.shop", "back.shop")
    assert [(span.kind, span.service) for span in chain] == list(
        zip(("SERVER", "CLIENT", "SERVER", "CLIENT", "SERVER"), services, strict=True)
    )
    names = [span.name for span in chain]
    # Who asks says what the request is called, also to who is asked: by X-Envoy-Decorator-Operation.
    assert (names[0], names[2]) == ("shop.example:8080/*", "shop.example:8080/*")
    assert (names[3], names[4]) == ("back.shop.svc.cluster.local:9080/*", "back.shop.svc.cluster.local:9080/*")
    asked = [span for span in chain if "http.url" in span.tags]  # the gateway's second span has Envoy's own tags alone
    assert [span.tags["istio.canonical_service"] for span in asked] == ["edge", "front", "front", "back"]
    assert [span.tags["user"] for span in asked] == ["alice", "alice", "nobody", "nobody"]
    assert {span.tags["method"] for span in asked} == {"GET"}
