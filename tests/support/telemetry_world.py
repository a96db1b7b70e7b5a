"""A gateway, a workload that asks another, and that other, each with a real Envoy, for tests of what these tell.

Requests come to the gateway, go on to ``front``, and from there to ``back``. What telemetry goes to is a service that no Sidecar imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path

import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.bootstrap.statistics import Statistics
from controlplane.model.proxies import ProxyType
from tests.support.envoys import RunningReplica
from tests.support.loopback import echo
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import DEADLINE_S, until

GATEWAY, TLS, INBOUND, CONNECTIONS, PROXY = 8080, 8443, 9080, 9090, 15002
ALS, OTLP_GRPC, OTLP_HTTP, ZIPKIN = 9001, 4317, 4318, 9411
_STATISTICS = Statistics(suffixes=("tracing.random_sampling",))
FORWARDED = (b"x-request-id", b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled")
_MESH = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: edge}}
spec:
  selector: {{app: edge}}
  servers:
  - {{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ["*"], bind: {net}.31}}
  - {{port: {{number: 8443, name: tls, protocol: TLS}}, hosts: ["back.example"], bind: {net}.31, tls: {{mode: PASSTHROUGH}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: storefront, namespace: edge}}
spec:
  hosts: [shop.example]
  gateways: [edge]
  http:
  - {{name: answered, match: [{{uri: {{prefix: /answered}}}}], directResponse: {{status: 200}}}}
  - {{name: all, route: [{{destination: {{host: front.shop.svc.cluster.local}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: passed, namespace: edge}}
spec:
  hosts: [back.example]
  gateways: [edge]
  tls: [{{match: [{{sniHosts: [back.example]}}], route: [{{destination: {{host: back.shop.svc.cluster.local, port: {{number: 9090}}}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: front, namespace: shop}}
spec: {{selector: {{app: front}}, ports: [{{name: http, port: 9080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: back, namespace: shop}}
spec: {{selector: {{app: back}}, ports: [{{name: http, port: 9080}}, {{name: tcp, port: 9090}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: front, namespace: shop}}
spec: {{address: {net}.11, labels: {{app: front}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: back, namespace: shop}}
spec: {{address: {net}.12, labels: {{app: back}}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: front, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: front}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {net}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {net}.11, captureMode: NONE, hosts: ["shop/*"]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: back, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: back}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {net}.12, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {net}.12, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
  egress: [{{hosts: ["~/*"]}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: receivers, namespace: receivers}}
spec:
  hosts: [receivers.example]
  resolution: STATIC
  ports:
  - {{number: 9001, name: grpc-als, protocol: GRPC}}
  - {{number: 4317, name: grpc-otlp, protocol: GRPC}}
  - {{number: 4318, name: http-otlp, protocol: HTTP}}
  - {{number: 9411, name: http-zipkin, protocol: HTTP}}
  endpoints: [{{address: {net}.61}}]
"""


class TelemetryWorld:
    """The Envoys, and what is asked through them."""

    def __init__(self, folder: Path, network: str, plane: RunningReplica) -> None:
        self.folder = folder
        self.network = network
        self.plane = plane
        self.envoys: dict[str, Process] = {}
        self._client = httpx.AsyncClient(timeout=DEADLINE_S)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Return the address of each Envoy by its name."""
        return {"edge": f"{self.network}.31", "front": f"{self.network}.11", "back": f"{self.network}.12"}

    @property
    def receivers(self) -> str:
        """Return the address of what telemetry goes to."""
        return f"{self.network}.61"

    async def apply(self, text: str, mark: str) -> None:
        """Let ``text`` be what is said of telemetry, and wait until all listeners for requests have ``mark`` in them."""
        draft = self.folder / "manifests" / "telemetry.yaml~"
        draft.write_text(text)
        draft.rename(self.folder / "manifests" / "telemetry.yaml")
        for name, address in self.addresses.items():
            await until(partial(self._has, address, mark), f"{name} lives by {mark}", watched=self.envoys[name])
        await self._client.aclose()
        self._client = httpx.AsyncClient(timeout=DEADLINE_S)
        for _ in range(2):  # on connections of before a request is still handled as before, and closes them
            await self.ask("/settled")

    async def ask(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the answer to a request from outside."""
        return await self._client.get(f"http://{self.network}.31:{GATEWAY}{path}", headers={"host": "shop.example", **(headers or {})})

    async def listeners(self, address: str) -> list[dict[str, object]]:
        """Return what the Envoy at ``address`` has of listeners."""
        found = await self._client.get(f"http://{address}:{ADMIN_PORT}/config_dump", params={"resource": "dynamic_listeners"})
        listed: list[dict[str, object]] = found.json().get("configs", [])
        return listed

    async def set_runtime(self, name: str, value: str) -> None:
        """Have every Envoy take ``value`` for ``name`` of its runtime."""
        for address in self.addresses.values():
            (await self._client.post(f"http://{address}:{ADMIN_PORT}/runtime_modify", params={name: value})).raise_for_status()

    async def counted(self, envoy: str, name: str) -> int:
        """Return the sum of the counters of ``envoy`` with ``name`` in their names."""
        lines = (await self._client.get(f"http://{self.addresses[envoy]}:{ADMIN_PORT}/stats", params={"filter": name})).text.splitlines()
        return sum(int(line.rpartition(":")[2]) for line in lines)

    async def begin(self, options: tuple[str, ...]) -> None:
        """Start everything, and wait until every Envoy listens."""
        self.plane.process = await start_replica(self.plane.replica, options, self.folder)
        await until(self.plane.ready, "the control plane is ready", watched=self.plane.process)
        for name, address in self.addresses.items():
            kind, namespace = (ProxyType.ROUTER, "edge") if name == "edge" else (ProxyType.SIDECAR, "shop")
            spec = EnvoySpec(name=name, ip=address, labels={"app": name}, namespace=namespace, kind=kind, statistics=_STATISTICS)
            self.envoys[name] = await start_envoy(spec, self.folder, self.plane.replica.xds)
        await until(self._answers, "a request passes all Envoys", watched=self.envoys["edge"])

    async def stop(self) -> None:
        """End what was started."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        await self.plane.stop()
        await self._client.aclose()

    async def _has(self, address: str, mark: str) -> bool:
        found = await self.listeners(address)
        settled = not any("warming_state" in each or "error_state" in each for each in found)
        active = (json.dumps(each.get("active_state", {})) for each in found)
        return bool(found) and settled and all(mark in each for each in active if "HttpConnectionManager" in each)

    async def _answers(self) -> bool:
        try:
            return (await self.ask("/")).status_code == 200
        except httpx.TransportError:
            return False


_Send = Callable[[MutableMapping[str, object]], Awaitable[None]]
_Receive = Callable[[], Awaitable[MutableMapping[str, object]]]


class _Front:
    """Asks ``back`` what it is asked, through its own Envoy, with the headers of its trace (ASGI)."""

    def __init__(self, proxy: str) -> None:
        self.client = httpx.AsyncClient(proxy=proxy, timeout=DEADLINE_S)

    async def __call__(self, scope: MutableMapping[str, object], receive: _Receive, send: _Send) -> None:
        del receive
        given = scope["headers"]
        assert isinstance(given, list)
        headers = {name.decode(): value.decode() for name, value in given if name in FORWARDED}
        answer = await self.client.get(f"http://back.shop:{INBOUND}{scope['path']}", headers=headers)
        await _answer(send, answer.status_code, answer.content)


class _Back:
    """Answers with the headers that came; what is below ``/missing`` is not there (ASGI)."""

    async def __call__(self, scope: MutableMapping[str, object], receive: _Receive, send: _Send) -> None:
        del receive
        given = scope["headers"]
        assert isinstance(given, list)
        content = json.dumps({name.decode(): value.decode() for name, value in given}).encode()
        await _answer(send, 404 if str(scope["path"]).startswith("/missing") else 200, content)


async def _answer(send: _Send, status: int, content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": content})


@contextlib.asynccontextmanager
async def telemetry_world(folder: Path) -> AsyncIterator[TelemetryWorld]:
    """Yield the world, started below ``folder``; end everything with the block."""
    network = free_network((GATEWAY, TLS, INBOUND, CONNECTIONS, PROXY, ADMIN_PORT, 8000, 8001, ALS, OTLP_GRPC, OTLP_HTTP, ZIPKIN))
    (folder / "manifests").mkdir()
    (folder / "manifests" / "mesh.yaml").write_text(_MESH.format(net=network))
    world = TelemetryWorld(folder, network, RunningReplica(Replica("navarch", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(world.stop)
        front = _Front(f"http://{network}.11:{PROXY}")
        stack.push_async_callback(front.client.aclose)
        for application, address in ((front, f"{network}.11:8000"), (_Back(), f"{network}.12:8000")):
            await stack.enter_async_context(_serving(HttpServer(application, address)))
        await stack.enter_async_context(await asyncio.start_server(echo, f"{network}.12", 8001))
        await world.begin(("--files", str(folder / "manifests"), "--state", str(folder / "state")))
        yield world


@contextlib.asynccontextmanager
async def _serving(server: HttpServer) -> AsyncIterator[None]:
    server.open()
    task = asyncio.create_task(server.run())
    try:
        yield
    finally:
        server.stop()
        await task
        server.close()
