"""A small mesh for commands of operators: a control plane that gives identities, the sidecar of ``web`` and a gateway, both real Envoys."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cli import navarch
from tests.support.front_gateway import front_bootstrap
from tests.support.processes import envoy_binary, free_port, start
from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import until

GATEWAY = "front-1.default"
SIDECAR = "web-1.default"
SHOP = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: default}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: [web.default.svc.cluster.local, "shop.example"]
  gateways: [front, mesh]
  http:
  - name: first
    headers: {{request: {{set: {{x-key: "planted-header"}}}}}}
    match: [{{uri: {{prefix: /v1}}, headers: {{end-user: {{exact: jason}}}}}}]
    route: [{{destination: {{host: web, subset: v1}}}}]
  - route: [{{destination: {{host: web}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: default}}
spec: {{host: web, subsets: [{{name: v1, labels: {{app: web}}}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: strict, namespace: default}}
spec: {{selector: {{matchLabels: {{app: web}}}}, mtls: {{mode: STRICT}}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: default}}
spec:
  selector: {{matchLabels: {{app: front}}}}
  jwtRules: [{{issuer: "https://planted-user:planted-word@issuer.example", jwksUri: "https://planted-user:planted-word@127.0.0.1:1/keys"}}]
"""


@dataclass
class OperatorWorld:
    """What commands are tried on."""

    envoy: SingleEnvoy
    front_admin: str  # the admin address of the gateway's Envoy

    @property
    def folder(self) -> Path:
        """Return the folder with the manifests."""
        return self.envoy.folder / "manifests"

    @property
    def admin(self) -> str:
        """Return the address of the admin API."""
        return self.envoy.plane.running.at.admin

    async def navarch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command for this control plane."""
        return await asyncio.to_thread(navarch, *arguments, "--admin", self.admin)

    async def json(self, *arguments: str) -> object:
        """Return what a command prints as JSON."""
        ran = await self.navarch(*arguments, "-o", "json")
        assert ran.stderr == "", ran.stderr
        found: object = json.loads(ran.stdout)
        return found


@asynccontextmanager
async def operator_world(folder: Path) -> AsyncIterator[OperatorWorld]:
    """Run such a mesh in ``folder``."""
    port, admin = free_port(), free_port()
    async with single_envoy(folder) as envoy:
        (folder / "manifests" / "shop.yaml").write_text(SHOP.format(port=port))
        bootstrap = json.loads(front_bootstrap(envoy.plane.running.at.xds, "DELTA_GRPC"))
        bootstrap["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}
        options = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
        front = await start("front-1", [envoy_binary(), "--config-yaml", json.dumps(bootstrap), *options], folder)
        try:
            await envoy.start()
            await envoy.until_ready()
            world = OperatorWorld(envoy, f"127.0.0.1:{admin}")

            async def all_synced() -> bool:
                rows = await envoy.plane.running.json("/v1/proxies")
                assert isinstance(rows, list)
                kinds = [{status["type"] for each in row["connections"] for status in each["types"]} for row in rows]
                return len(rows) == 2 and all(row["synced"] for row in rows) and all("RouteConfiguration" in each for each in kinds)

            await until(all_synced, "both Envoys have everything")
            yield world
        finally:
            await front.stop(kill=True)
