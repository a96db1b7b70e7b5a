"""Access logs of real Envoys: of each sort, with their fields, and what each provider is told of requests and connections."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.access_log_service import AccessLogService
from tests.support.otlp_receivers import attributes, otlp_receiver
from tests.support.telemetry_world import ALS, CONNECTIONS, OTLP_GRPC, OTLP_HTTP, TLS, TelemetryWorld, telemetry_world
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROUTED_BY = "/apis/networking.istio.io/v1/namespaces/edge/virtual-service/storefront"
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
"""
BY_TELEMETRY = """
    extensionProviders:
    - name: text
      envoyFileAccessLog:
        path: FOLDER/text.log
        logFormat: {text: "by-text %REQ(:PATH)% %RESPONSE_CODE% %METADATA(ROUTE:istio:config)%"}
    - name: json
      envoyFileAccessLog:
        path: FOLDER/json.log
        logFormat: {labels: {path: "%REQ(:PATH)%", code: "%RESPONSE_CODE%", flags: "%RESPONSE_FLAGS%", proxy: {id: "%ENVIRONMENT(PATH)%"}}}
    - name: requests
      envoyHttpAls: {service: receivers.example, port: 9001, logName: of-requests, additionalRequestHeadersToLog: [x-user]}
    - name: connections
      envoyTcpAls: {service: receivers.example, port: 9001, logName: of-connections}
    - name: otlp
      envoyOtelAls:
        service: receivers.example
        port: 4317
        logFormat: {text: "%REQ(:PATH)%", labels: {code: "%RESPONSE_CODE%", protocol: "%PROTOCOL%"}}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec:
  accessLogging:
  - providers: [{name: text}, {name: requests}, {name: connections}, {name: otlp}]
  - providers: [{name: JSON}]
    filter: {expression: "response.code >= 400 || response.flags != 0"}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: back, namespace: shop}
spec:
  selector: {matchLabels: {app: back}}
  accessLogging: [{providers: [{name: text}, {name: connections}]}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TelemetryWorld]:
    async with telemetry_world(tmp_path_factory.mktemp("logs")) as world:
        yield world


async def test_nothing_is_logged_until_somebody_asks_for_it_and_one_line_has_every_proxy_log(world: TelemetryWorld) -> None:
    for address in world.addresses.values():
        assert "access_log" not in json.dumps(await world.listeners(address))

    await world.apply(f"{SETTINGS}    accessLogFile: /dev/stdout", "/dev/stdout")
    await world.ask("/one-line")

    for name, code in (("edge", "via_upstream"), ("front", "via_upstream"), ("back", "via_upstream")):
        await until(partial(_has_logged, world.envoys[name].log), f"{name} has logged a request")
        assert code in world.envoys[name].log.read_text()


async def test_each_sort_of_provider_has_its_fields(world: TelemetryWorld) -> None:
    service = AccessLogService()
    folder = world.folder
    async with service.serving(f"{world.receivers}:{ALS}"), otlp_receiver(folder, world.receivers, OTLP_GRPC, OTLP_HTTP) as collector:
        await world.apply(SETTINGS + BY_TELEMETRY.replace("FOLDER", str(folder)), f"{folder}/text.log")

        await world.ask("/here", {"x-user": "alice"})
        await world.ask("/missing")
        assert await _echoed(f"{world.network}.12", CONNECTIONS)
        await _refused(f"{world.network}.31", TLS)

        def entries() -> list[str]:
            return [entry.request.path for entry in service.requests.get("of-requests", [])]

        await until(lambda: entries().count("/here") == 3 and entries().count("/missing") == 3, "requests have come by gRPC")
        await until(lambda: len(service.connections.get("of-connections", [])) > 1, "connections have come by gRPC")
        await until(lambda: len(collector.log_records()) > 5, "records have come by OTLP")
        await until(lambda: len(_lines(folder / "json.log")) > 3, "lines have come as JSON")
        records = [(record["body"], attributes(record)) for record in collector.log_records()]

    text = _lines(folder / "text.log")
    assert text.count(f"by-text /here 200 {ROUTED_BY}") == 1  # the gateway's: the others' routes are nobody's
    assert text.count("by-text /here 200 -") == 3
    documents = [json.loads(line) for line in _lines(folder / "json.log")]
    assert {(each["path"], each["code"]) for each in documents} == {("/missing", 404), (None, 0)}  # the other one nobody was there for
    assert {each["flags"] for each in documents if each["path"] is None} == {"NR"}
    assert {entry.request.request_headers["x-user"] for entry in service.requests["of-requests"] if entry.request.path == "/here"} == {
        "alice",
        "",
    }
    received = [entry.connection_properties.received_bytes for entry in service.connections["of-connections"]]
    assert 5 in received
    assert ({"stringValue": "/here"}, {"code": "200", "protocol": "HTTP/1.1"}) in records


async def test_what_is_asked_for_no_longer_is_no_longer_logged(world: TelemetryWorld) -> None:
    await world.apply(f"{SETTINGS}    accessLogFile: {world.folder}/last.log", "last.log")
    await world.ask("/last")
    await until(lambda: sum("/last" in line for line in _lines(world.folder / "last.log")) == 4, "each of the four listeners has logged it")

    assert not any("/last" in line for line in _lines(world.folder / "text.log"))


def _has_logged(file: Path) -> bool:
    return '"GET /one-line HTTP/1.1" 200' in file.read_text()


async def _echoed(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return answer == b"hello"


async def _refused(host: str, port: int) -> None:
    """Connect by TLS with a server name that nobody has."""
    context = ssl.create_default_context()
    with pytest.raises((ssl.SSLError, ConnectionError, httpx.TransportError)):
        await asyncio.open_connection(host, port, ssl=context, server_hostname="nobody.example")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
