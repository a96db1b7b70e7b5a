"""A real Envoy with extensions switched off gets all the rest: what only adds something is left out, what lets requests pass is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import httpx
import pytest
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import ParseDict

from controlplane.envoy.extensions import lacking_extensions
from tests.support.control_plane import Running, control_plane
from tests.support.envoy_versions import VERSIONS, envoy_of
from tests.support.front_gateway import front_bootstrap
from tests.support.processes import free_port, start
from tests.support.proofs import ends
from tests.support.waiting import until

OFF = (
    "envoy.filters.http/envoy.filters.http.cors",
    "envoy.filters.http/envoy.filters.http.fault",
    "envoy.filters.http/envoy.filters.http.rbac",
    "envoy.retry_host_predicates/envoy.retry_host_predicates.previous_hosts",
    "envoy.wasm.runtime/envoy.wasm.runtime.v8",
)
OBJECTS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: default}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [shop.example]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {closed}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: default}}
spec:
  hosts: ["*"]
  gateways: [front]
  http:
  - match: [{{uri: {{prefix: /shop}}}}]
    fault: {{abort: {{percentage: {{value: 100}}, httpStatus: 418}}}}
    corsPolicy: {{allowOrigins: [{{exact: "https://one.example"}}]}}
    route: [{{destination: {{host: shop.example}}}}]
  - {{directResponse: {{status: 201}}}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {{name: open, namespace: default}}
spec: {{selector: {{matchLabels: {{app: front}}}}, url: file:///nowhere.wasm, failStrategy: FAIL_OPEN}}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: default}
spec: {rules: [{}]}
"""
NODE = "router~127.0.0.1~front-1.default~default.svc.cluster.local"


class Front:
    """A gateway in an Envoy without some extensions."""

    def __init__(self, running: Running, port: int) -> None:
        self.running = running
        self.port = port

    async def status(self, path: str) -> int:
        """Return what ``path`` is answered with; 0: nobody does."""
        try:
            answer = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{self.port}{path}")
        except httpx.TransportError:
            return 0
        return answer.status_code

    async def answers(self, path: str, status: int) -> None:
        async def is_so() -> bool:
            return await self.status(path) == status

        await until(is_so, f"{path} is answered {status}")

    async def told(self) -> dict[str, str]:
        rows = await self.running.json("/v1/problems")
        assert isinstance(rows, list)
        return {row["message"]: row["severity"] for row in rows if row["code"] == "MissingExtension"}

    async def refused(self) -> list[object]:
        rows = await self.running.json("/v1/proxies")
        assert isinstance(rows, list)
        return [state["error"] for row in rows for connection in row["connections"] for state in connection["types"] if state["error"]]


@asynccontextmanager
async def front(folder: Path, version: str, api_type: str) -> AsyncIterator[Front]:
    manifests = folder / "manifests"
    manifests.mkdir()
    port = free_port()
    (manifests / "front.yaml").write_text(OBJECTS.format(port=port, closed=free_port()))
    async with control_plane(manifests) as running:
        config = ("--config-yaml", front_bootstrap(running.at.xds, api_type))
        command = [envoy_of(version), *config, "--use-dynamic-base-id", "--log-level", "warning", "--disable-extensions", ",".join(OFF)]
        envoy = await start("envoy", command, folder)
        try:
            yield Front(running, port)
        finally:
            await envoy.stop()


@pytest.mark.parametrize("version", ends(VERSIONS))
async def test_a_stock_envoy_lacks_what_is_newer_than_its_version_and_nothing_else(tmp_path: Path, version: str) -> None:
    port = free_port()
    admin = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    envoy = await start("envoy", [envoy_of(version), "--config-yaml", json.dumps(admin), "--use-dynamic-base-id"], tmp_path)

    async def server_info() -> httpx.Response | None:
        try:
            return await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/server_info")
        except httpx.TransportError:
            return None

    try:
        await until(server_info, "the Envoy answers", watched=envoy)
        found = await server_info()
    finally:
        await envoy.stop()

    assert found
    node = ParseDict(found.json()["node"], Node(), ignore_unknown_fields=True)
    silent = Node(user_agent_build_version=node.user_agent_build_version)
    assert len(node.extensions) > 400
    assert lacking_extensions(node) == lacking_extensions(silent)


@pytest.mark.parametrize(("version", "api_type"), [*zip(ends(VERSIONS), cycle(("DELTA_GRPC", "GRPC")), strict=False)])
async def test_what_its_build_lacks_is_left_out_or_closed(tmp_path: Path, version: str, api_type: str) -> None:
    async with front(tmp_path, version, api_type) as gateway:
        await gateway.answers("/", 201)
        await gateway.answers("/shop", 503)  # not 418: nothing injects faults, and nobody listens there
        without_policy = await gateway.told()

        (tmp_path / "manifests" / "policy.yaml").write_text(POLICY)
        await gateway.answers("/", 403)
        with_policy = await gateway.told()

        (tmp_path / "manifests" / "policy.yaml").unlink()
        await gateway.answers("/", 201)
        refused = await gateway.refused()

    left_out = {f"{NODE}: this Envoy has no envoy.filters.http.{name}: it is left out of" for name in ("cors", "fault")} | {
        f"{NODE}: this Envoy has no envoy.retry_host_predicates.previous_hosts: it is left out of",
        f"{NODE}: this Envoy has no envoy.wasm.runtime.v8: it is left out of",
    }
    assert {message.partition(" of ")[0] + " of" for message in without_policy} == left_out
    assert set(without_policy.values()) == {"warning"}
    [closed] = with_policy.keys() - without_policy.keys()
    assert closed.startswith(
        f"{NODE}: this Envoy has no envoy.filters.http.rbac: it decides about requests, which are all answered 403 by Listener "
    )
    assert with_policy[closed] == "error"
    assert refused == []
