"""The control plane's own traces at a real collector: an edit that a real Envoy accepts is one trace, from the file to the answer."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from pathlib import Path

import httpx
import pytest

from controlplane.app.control_plane import ControlPlane
from controlplane.settings import OwnTraceSettings, Settings
from tests.support.control_plane import run_until_ready
from tests.support.front_gateway import front_bootstrap
from tests.support.otlp_receivers import Json, OtlpReceiver, attributes, otlp_receiver
from tests.support.processes import envoy_binary, free_port, start
from tests.support.waiting import until

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: default}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}]}}
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: default}}
spec: {{hosts: ["*"], gateways: [front], http: [{{directResponse: {{status: {status}}}}}]}}
"""
STEPS = ["source", "apply", "refresh", "publish", "send", "ack"]  # in the order in which they begin


def accepted_traces(receiver: OtlpReceiver) -> list[list[Json]]:
    """Return the traces of changes that the one Envoy was told of and has accepted."""
    by_trace: dict[object, list[Json]] = defaultdict(list)
    for span in receiver.spans():
        by_trace[span["traceId"]].append(span)
    return [
        spans
        for spans in by_trace.values()
        if any(attributes(span).get("navarch.accepted") == "1" for span in spans) and any(span["name"] == "change" for span in spans)
    ]


async def test_an_edit_that_an_envoy_accepts_is_one_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    port = free_port()
    (manifests / "gateway.yaml").write_text(GATEWAY.format(port=port))
    (manifests / "route.yaml").write_text(ROUTE.format(status=201))

    async def is_answered(status: int) -> bool:
        try:
            return (await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/")).status_code == status
        except httpx.TransportError:
            return False

    async with otlp_receiver(tmp_path, "127.0.0.1", free_port(), free_port()) as receiver:
        traces = OwnTraceSettings(endpoint=f"http://127.0.0.1:{receiver.http_port}/v1/traces")
        anywhere = "127.0.0.1:0"
        settings = Settings(files=(str(manifests),), xds=anywhere, admin=anywhere, grace_s=1.0, traces=traces)
        async with run_until_ready(ControlPlane(settings)) as running:
            command = [envoy_binary(), "--config-yaml", front_bootstrap(running.at.xds, "DELTA_GRPC"), "--use-dynamic-base-id"]
            envoy = await start("envoy", command, tmp_path)
            try:
                await until(lambda: is_answered(201), "the gateway answers", watched=envoy)
                (manifests / "route.yaml").write_text(ROUTE.format(status=202))
                await until(lambda: is_answered(202), "the edit arrives", watched=envoy)
                await until(lambda: accepted_traces(receiver), "its trace arrives", watched=receiver.process)
            finally:
                await envoy.stop()
        spans = accepted_traces(receiver)[-1]

    [root] = [span for span in spans if not span.get("parentSpanId")]
    assert {span["parentSpanId"] for span in spans if span is not root} == {root["spanId"]}
    assert {span["service"] for span in spans} == {"navarch"}
    begins = {str(span["name"]).partition(" ")[0]: int(str(span["startTimeUnixNano"])) for span in spans}
    assert begins.keys() == {"change", *STEPS}
    assert sorted(STEPS, key=lambda name: begins[name]) == STEPS
    assert int(str(root["endTimeUnixNano"])) == max(int(str(span["endTimeUnixNano"])) for span in spans)
    assert 0 < int(str(root["endTimeUnixNano"])) - int(str(root["startTimeUnixNano"])) < 60_000_000_000
