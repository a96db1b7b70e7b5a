"""The control plane's own traces: what becomes of a change, from its source to the last proxy that has accepted it, is one trace."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from controlplane.app.control_plane import ControlPlane
from controlplane.envoy.type_urls import CDS
from controlplane.settings import OwnTraceSettings, Settings
from tests.support.control_plane import DeltaCall, Running, delta, delta_request, next_delta, run_until_ready
from tests.support.waiting import until

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: one, namespace: shop}}
spec: {{hosts: [{host}], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}
"""
NODE = "sidecar~10.0.0.{}~web-{}.shop~shop.svc.cluster.local"
Span = Mapping[str, object]


class Receiver:
    """Takes OTLP's JSON, and has what it was sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[object] = []
        self.headers: list[str] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.headers.append(request.headers.get("x-key", ""))
        if self.status == 200:
            for of_resource in body["resourceSpans"]:
                self.resources.append(of_resource["resource"])
                self.spans += [span for scope in of_resource["scopeSpans"] for span in scope["spans"]]
        return web.json_response({}, status=self.status)

    def trace_of(self, changes: int, connections: int) -> list[Span] | None:
        """Return the trace of the first batch of so many changes that so many connections were told of, once all of it is there."""
        for root in self.spans:
            told = {each["key"]: each["value"] for each in root["attributes"]}  # type: ignore[attr-defined]
            wanted = {"navarch.changes": {"intValue": str(changes)}, "navarch.connections": {"intValue": str(connections)}}
            if "parentSpanId" not in root and wanted.items() <= told.items():
                return [span for span in self.spans if span["traceId"] == root["traceId"]]
        return None


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield receiver, f"http://{host}:{port}/v1/traces"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def traced(folder: Path, endpoint: str) -> AsyncIterator[Running]:
    anywhere = "127.0.0.1:0"
    settings = Settings(
        files=(str(folder),),
        xds=anywhere,
        admin=anywhere,
        grace_s=1.0,
        traces=OwnTraceSettings(endpoint=endpoint, headers=(("x-key", "secret"),), timeout_s=5.0),
    )
    async with run_until_ready(ControlPlane(settings)) as running:
        yield running


async def subscribed(call: DeltaCall, number: int) -> None:
    await call.write(delta_request(CDS, node=NODE.format(number, number)))
    response = await next_delta(call)
    await call.write(delta_request(CDS, nonce=response.nonce))


async def accept(call: DeltaCall) -> None:
    """Accept whatever comes, until cancelled."""
    while True:
        await call.write(delta_request(CDS, nonce=(await next_delta(call)).nonce))


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")


async def test_a_change_from_source_to_last_ack_is_one_trace(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(ENTRY.format(host="one.example"))
    async with receiving() as (receiver, endpoint), traced(tmp_path, endpoint) as running:
        async with delta(running.at.xds) as first, delta(running.at.xds) as second:
            await subscribed(first, 1)
            await subscribed(second, 2)

            file.write_text(ENTRY.format(host="two.example"))
            nonces = [(await next_delta(call)).nonce for call in (first, second)]
            await first.write(delta_request(CDS, nonce=nonces[0]))
            assert receiver.trace_of(1, 2) is None  # the second has not accepted it
            await second.write(delta_request(CDS, nonce=nonces[1]))
            await until(lambda: receiver.trace_of(1, 2), "the trace arrives")
        spans = receiver.trace_of(1, 2)

    assert spans
    by_name = {str(span["name"]).partition(" ")[0]: span for span in spans}
    assert sorted(str(span["name"]) for span in spans) == [
        "ack Cluster",
        "apply",
        "change",
        "publish",
        "refresh",
        "send Cluster",
        next(str(span["name"]) for span in spans if str(span["name"]).startswith("source ")),
    ]
    root = by_name["change"]
    assert {span["parentSpanId"] for span in spans if span is not root} == {root["spanId"]}
    order = [int(str(by_name[name]["startTimeUnixNano"])) for name in ("change", "source", "apply", "refresh", "publish", "send")]
    assert order == sorted(order)
    assert max(int(str(span["endTimeUnixNano"])) for span in spans) == int(str(root["endTimeUnixNano"]))
    assert root["endTimeUnixNano"] == by_name["ack"]["endTimeUnixNano"]
    assert {"key": "navarch.accepted", "value": {"intValue": "2"}} in by_name["ack"]["attributes"]  # type: ignore[operator]
    assert set(receiver.headers) == {"secret"}
    told = {each["key"]: each["value"]["stringValue"] for each in receiver.resources[0]["attributes"]}  # type: ignore[index]
    assert told["service.name"] == "navarch"
    assert told["deployment.environment"] == "test"


async def test_a_refusal_is_an_error_and_a_receiver_that_is_down_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "one.yaml"
    file.write_text(ENTRY.format(host="one.example"))
    async with receiving() as (receiver, endpoint):
        receiver.status = 503
        async with traced(tmp_path, endpoint) as running, delta(running.at.xds) as call:
            await until(lambda: "traces not sent" in caplog.text, "the failure is told")
            await subscribed(call, 1)
            receiver.status = 200
            file.write_text(ENTRY.format(host="two.example"))
            response = await next_delta(call)
            refusal = delta_request(CDS, nonce=response.nonce)
            refusal.error_detail.message = "no"
            await call.write(refusal)
            accepting = asyncio.create_task(accept(call))  # the parts, which are tried one by one
            await until(lambda: receiver.trace_of(1, 1), "the trace arrives")
            [root] = [span for span in receiver.trace_of(1, 1) or () if "parentSpanId" not in span]
            await until(lambda: "traces sent again" in caplog.text, "that it works again is told")
            accepting.cancel()

    assert root["status"] == {"code": 2}
    assert caplog.text.count("traces not sent") == 1


async def test_without_a_receiver_nothing_of_the_sdk_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, controlplane.app.control_plane as _; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )

    ran = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await ran.communicate()

    assert out.decode().strip() == "[]"
