"""Two workloads and a gateway whose Envoys count as Istio's do, and clients of other sorts.

``web`` of the namespace ``shop`` answers HTTP, gRPC and TCP; ``caller`` of ``elsewhere`` asks it through an Envoy of its own, the gateway
``front`` of ``edge`` for those outside; and as with all MeshClients anybody asks with a certificate, or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc.aio
import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.bootstrap.statistics import Statistics
from controlplane.ca.file_store import FileStore as Stored
from controlplane.ca.rotation import AuthorityState, load_state, read_key
from controlplane.ca.tokens import AUDIENCE, sign_token
from controlplane.model.proxies import ProxyType
from tests.support.envoys import CredentialFiles, RunningReplica
from tests.support.header_application import HeaderApplication
from tests.support.loopback import echo, ended, is_open
from tests.support.mesh_clients import HTTP, TCP, MeshClients
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import DEADLINE_S, until

GRPC, PROXY, EDGE, STATS = 9081, 15002, 8080, 15090
IDLE_S = 5  # after which what does not come any more is forgotten
METHOD = "/shop.Prices/Ask"
_HOUR = dt.timedelta(hours=1)
COUNTING = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultProviders: {metrics: [prometheus]}"}
"""
_WORKLOAD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}-v1-5d4f-x
  namespace: {namespace}
  labels: {{app: {name}, version: v1, pod-template-hash: 5d4f, security.istio.io/tlsMode: istio}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {name}-v1-5d4f, uid: a, controller: true}}]
spec: {{serviceAccountName: {name}}}
status: {{phase: Running, podIP: {ip}}}
---
"""
_OBJECTS = """
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 9080}}, {{name: grpc, port: 9081}}, {{name: tcp, port: 9090}}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9081, protocol: GRPC, name: grpc}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8002}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: caller, namespace: elsewhere}}
spec:
  workloadSelector: {{labels: {{app: caller}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: http-proxy}}, bind: {network}.12, captureMode: NONE, hosts: ["*/*"]}}
  - {{port: {{number: 9081, protocol: GRPC, name: grpc}}, bind: {network}.12, captureMode: NONE, hosts: ["shop/*"]}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {network}.12, captureMode: NONE, hosts: ["shop/*"]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: edge}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: 8080, name: http, protocol: HTTP}}, bind: {network}.13, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: edge}}
spec:
  hosts: ["*"]
  gateways: [front]
  http: [{{route: [{{destination: {{host: web.shop.svc.cluster.local, port: {{number: 9080}}}}}}]}}]
"""


class CountedMesh(MeshClients):
    """The workloads, and their control plane."""

    def __init__(self, folder: Path, network: str, plane: RunningReplica) -> None:
        super().__init__(folder, network)
        self.plane = plane
        self.envoys: dict[str, Process] = {}

    @property
    def authority(self) -> AuthorityState:
        """Return the authority, which is in a folder."""
        stored = Stored(self.folder / "state").read_now()
        assert stored
        return load_state(stored)

    def save(self, name: str, text: str) -> None:
        """Let ``text`` be what the manifest ``name`` says."""
        draft = self.folder / "manifests" / f"{name}.yaml~"
        draft.write_text(text)
        draft.rename(self.folder / "manifests" / f"{name}.yaml")

    async def page(self, suffix: int) -> str:
        """Return the page for Prometheus of the Envoy at the address that ends in ``suffix``."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{self.network}.{suffix}:{STATS}/stats/prometheus")).text

    async def listeners(self, suffix: int) -> str:
        """Return what the Envoy at the address that ends in ``suffix`` has of listeners, as JSON."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{self.network}.{suffix}:{ADMIN_PORT}/config_dump?resource=dynamic_listeners")).text

    async def through_own_envoy(self, path: str = "/", host: str = f"web.shop:{HTTP}", **headers: str) -> int:
        """Return the status of a request by ``caller``."""
        async with httpx.AsyncClient(proxy=f"http://{self.network}.12:{PROXY}", timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{host}{path}", headers=headers)).status_code

    async def through_gateway(self) -> int:
        """Return the status of a request from outside."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{self.network}.13:{EDGE}/")).status_code

    async def by_grpc(self, message: bytes) -> bytes:
        """Return what ``web`` answers to a call of ``caller`` by gRPC."""
        options = (("grpc.default_authority", f"web.shop:{GRPC}"), ("grpc.enable_http_proxy", 0))
        async with grpc.aio.insecure_channel(f"{self.network}.12:{GRPC}", options=options) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            return await call(message, timeout=DEADLINE_S)

    async def by_tcp(self, data: bytes) -> bytes:
        """Return what comes back for ``data`` to ``caller`` by TCP, through its own Envoy."""
        reader, writer = await asyncio.open_connection(f"{self.network}.12", TCP)
        try:
            writer.write(data)
            async with asyncio.timeout(DEADLINE_S):
                return await reader.readexactly(len(data))
        finally:
            writer.close()

    async def start(self, name: str, namespace: str, suffix: int, *, kind: ProxyType = ProxyType.SIDECAR, binary: str = "") -> None:
        """Start the Envoy of a workload, whose token is bound to its pod."""
        pod = f"{name}-v1-5d4f-x"
        key = read_key(Stored(self.folder / "state", "tokens.pem").read_now() or b"")
        held = CredentialFiles(self.folder / f"{name}-credentials")
        shown = sign_token(key, (namespace, name), AUDIENCE, dt.datetime.now(dt.UTC), _HOUR, pod)
        held.write(token=shown, roots=self.authority.bundle.decode())
        known = EnvoySpec(
            name=pod,
            ip=f"{self.network}.{suffix}",
            labels={"app": name, "version": "v1" if name == "web" else "forged"},
            namespace=namespace,
            account=name,
            credentials=held,
            more=(("WORKLOAD_NAME", "admin"),),  # which is believed of nobody whose pod is known
            statistics=Statistics(idle_s=IDLE_S),
            binary=binary,
        )
        self.envoys[name] = await start_envoy(replace(known, kind=kind), self.folder, self.plane.replica.xds_tls)

    async def stop(self) -> None:
        """End what was started."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        await self.plane.stop()


@contextlib.asynccontextmanager
async def counted_mesh(folder: Path, settings: str = COUNTING) -> AsyncIterator[CountedMesh]:
    """Yield the mesh, with ``settings``; end everything with the block."""
    network = free_network((HTTP, GRPC, TCP, PROXY, EDGE, ADMIN_PORT, STATS, 8000, 8001, 8002))
    (folder / "manifests").mkdir()
    replica = Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(3)))
    world = CountedMesh(folder, network, RunningReplica(replica))
    application = HttpServer(HeaderApplication(), f"{network}.11:8000")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(world.stop)
        places = (("web", "shop", 11), ("caller", "elsewhere", 12), ("front", "edge", 13))
        pods = (_WORKLOAD.format(name=name, namespace=namespace, ip=f"{network}.{suffix}") for name, namespace, suffix in places)
        world.save("mesh", "".join(pods) + _OBJECTS.format(network=network))
        world.save("settings", settings)
        application.open()
        task = asyncio.create_task(application.run())
        stack.push_async_callback(ended, application, task)
        await stack.enter_async_context(await asyncio.start_server(echo, f"{network}.11", 8001))
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_prices(),))
        server.add_insecure_port(f"{network}.11:8002")
        await server.start()
        stack.push_async_callback(server.stop, None)
        options = ("--files", str(folder / "manifests"), "--state", str(folder / "state"))
        world.plane.process = await start_replica(replica, options, folder)
        await until(world.plane.ready, "the control plane is ready", watched=world.plane.process)
        for name, namespace, suffix in places:
            await world.start(name, namespace, suffix, kind=ProxyType.ROUTER if name == "front" else ProxyType.SIDECAR)
        for name, suffix, ports in (("web", 11, (HTTP, GRPC, TCP)), ("caller", 12, (PROXY, GRPC, TCP)), ("front", 13, (EDGE,))):
            for port in ports:
                await until(partial(is_open, f"{network}.{suffix}", port), f"port {port} is open", watched=world.envoys[name])
        yield world


def _prices() -> grpc.GenericRpcHandler:
    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if request == b"fail":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return request

    service, _, method = METHOD.strip("/").partition("/")
    return grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(answer)})


def labels_of(page: str, metric: str) -> list[Mapping[str, str]]:
    """Return the labels of each series of ``metric`` on ``page``."""
    lines = (line for line in page.splitlines() if line.startswith(f"{metric}{{"))
    found = (line.partition("{")[2].rpartition("}")[0] for line in lines)
    return [dict(pair.split("=", 1) for pair in text.replace('"', "").split(",")) for text in found]
