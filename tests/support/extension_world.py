"""Workloads behind real Envoys, one by each of the two protocols, for users' own filters, and a registry that has their modules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from controlplane.admin.http_server import HttpServer
from controlplane.model.proxies import ProxyType
from tests.support.envoy_versions import VERSIONS, envoy_of
from tests.support.envoys import RunningReplica
from tests.support.fakes.module_registry import ModuleRegistry
from tests.support.header_application import HeaderApplication
from tests.support.loopback import echo
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import DEADLINE_S, until

HTTP, OTHER_HTTP, TCP, PROXY = 9080, 9081, 9090, 15002
DELTA, SOTW, GATEWAY = "delta", "sotw", "gateway"
PASSWORD = "hunter2-of-the-robot"
_PLACES = {DELTA: 11, SOTW: 12}
_GATEWAY_PLACE = 13
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 9080}}, {{name: http-other, port: 9081}}, {{name: tcp, port: 9090}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{address: {ip}, labels: {{app: {name}}}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: {name}}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {ip}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9081, protocol: HTTP, name: http-other}}, bind: {ip}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {ip}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {ip}, captureMode: NONE, hosts: ["*/*"]}}
---
"""
_FRONT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: shop}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: 9080, name: http, protocol: HTTP}}, bind: {ip}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: shop}}
spec: {{hosts: ["*"], gateways: [front], http: [{{directResponse: {{status: 200}}}}]}}
"""


@dataclass
class ExtensionWorld:
    """The workloads, by the protocol that their Envoys speak."""

    folder: Path
    network: str
    plane: RunningReplica
    registry: ModuleRegistry = field(default_factory=ModuleRegistry)
    private: ModuleRegistry = field(default_factory=lambda: ModuleRegistry(PASSWORD))
    envoys: dict[str, Process] = field(default_factory=dict)

    def ip(self, protocol: str) -> str:
        """Return the address of the workload whose Envoy speaks ``protocol``, or of the gateway."""
        return f"{self.network}.{_PLACES.get(protocol, _GATEWAY_PLACE)}"

    def save(self, *documents: Mapping[str, object], name: str = "plugins") -> None:
        """Let ``documents`` be all there is in the file ``name``."""
        draft = self.folder / "manifests" / f"{name}.yaml~"
        draft.write_text(yaml.safe_dump_all(documents))
        draft.rename(self.folder / "manifests" / f"{name}.yaml")

    async def ask(self, protocol: str, path: str = "/", *, port: int = HTTP) -> httpx.Response:
        """Return the answer to a request to the workload."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return await client.get(f"http://{self.ip(protocol)}:{port}{path}")

    async def until_asked(
        self, wanted: object, path: str = "/", *, port: int = HTTP, header: str = "x-plugin", at: Sequence[str] = tuple(_PLACES)
    ) -> None:
        """Wait until each of those ``at``, all workloads, answers with the status, and the value of ``header``, that are ``wanted``."""
        for protocol in at:
            found: list[object] = []

            async def as_wanted(protocol: str = protocol, found: list[object] = found) -> bool:
                try:
                    answer = await self.ask(protocol, path, port=port)
                except httpx.TransportError as error:  # it does not listen yet
                    found[:] = [str(error)]
                    return False
                found[:] = [(answer.status_code, answer.headers.get(header))]
                return found == [wanted]

            try:
                await until(as_wanted, f"{protocol} answers {wanted}", deadline_s=60, watched=self.envoys[protocol])
            except TimeoutError as error:
                problems = [f"{each['field']}: {each['message']}" for each in await self.plane.get("/v1/problems")]
                said = self.envoys[protocol].last_words()
                raise AssertionError(f"{error}; found {found}; {problems}; {said}") from error

    async def talk(self, protocol: str, data: bytes) -> bytes:
        """Return what comes back for ``data`` by the workload's TCP port, nothing where the connection is closed instead."""
        found, writer = b"", None
        with contextlib.suppress(OSError):
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_connection(self.ip(protocol), TCP)
                writer.write(data)
                found = await reader.read(len(data))
        if writer is not None:
            writer.close()
        return found

    async def counter(self, protocol: str, name: str) -> int:
        """Return the value of the statistic ``name`` of the workload's Envoy, the sum of all where it ends in a star."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            query = {"filter": f"^{name.removesuffix('*')}" if name.endswith("*") else f"^{name}$"}
            lines = (await client.get(f"http://{self.ip(protocol)}:{ADMIN_PORT}/stats", params=query)).text.splitlines()
        return sum(int(line.rpartition(":")[2]) for line in lines if line.rpartition(":")[2].strip().isdecimal())

    async def problems(self, code: str) -> list[str]:
        """Return the messages of the Problems with ``code``."""
        return [str(each["message"]) for each in await self.plane.get("/v1/problems") if each["code"] == code]

    async def until_problem(self, code: str, text: str) -> None:
        """Wait until there is a Problem with ``code`` and ``text`` in its message."""

        async def told() -> bool:
            return any(text in message for message in await self.problems(code))

        await until(told, f"a Problem {code} with {text!r}")

    async def restart(self) -> None:
        """End the control plane, and start another one."""
        if self.plane.process is not None:
            await self.plane.process.stop()
        await self.start_plane()

    async def start_plane(self) -> None:
        """Start the control plane."""
        options = ("--files", str(self.folder / "manifests"), "--wasm-allow", "http://127.0.0.0/8")
        self.plane.process = await start_replica(self.plane.replica, options, self.folder)
        await until(self.plane.ready, "the control plane is ready", watched=self.plane.process)

    async def start_envoy(self, protocol: str) -> None:
        """Start the Envoy of a workload: the newest, or for the older protocol the oldest."""
        binary = envoy_of(VERSIONS[0]) if protocol == SOTW else ""
        spec = EnvoySpec(
            name=protocol, ip=self.ip(protocol), labels={"app": protocol}, namespace="shop", delta=protocol == DELTA, binary=binary
        )
        self.envoys[protocol] = await start_envoy(spec, self.folder, self.plane.replica.xds)

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """Have a gateway that answers everything itself, in an Envoy of its own, until the block ends."""
        self.save(*yaml.safe_load_all(_FRONT.format(ip=self.ip(GATEWAY))), name="front")
        spec = EnvoySpec(name=GATEWAY, ip=self.ip(GATEWAY), labels={"app": "front"}, namespace="shop", kind=ProxyType.ROUTER)
        self.envoys[GATEWAY] = await start_envoy(spec, self.folder, self.plane.replica.xds)
        try:
            yield
        finally:
            await self.envoys.pop(GATEWAY).stop()
            self.save(name="front")


@contextlib.asynccontextmanager
async def extension_world(folder: Path) -> AsyncIterator[ExtensionWorld]:
    """Yield the workloads; end everything with the block."""
    network = free_network((HTTP, OTHER_HTTP, TCP, PROXY, ADMIN_PORT, 8000, 8001))
    (folder / "manifests").mkdir()
    replica = Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(2)))
    world = ExtensionWorld(folder, network, RunningReplica(replica))
    async with contextlib.AsyncExitStack() as stack:
        for registry in (world.registry, world.private):
            await stack.enter_async_context(registry.published())
        text = "".join(_SERVICE.format(name=protocol, ip=world.ip(protocol)) for protocol in _PLACES)
        (folder / "manifests" / "mesh.yaml").write_text(text)
        for protocol in _PLACES:
            await stack.enter_async_context(_application(world.ip(protocol)))
            await stack.enter_async_context(await asyncio.start_server(echo, world.ip(protocol), 8001))
        stack.push_async_callback(_end, world)
        await world.start_plane()
        for protocol in _PLACES:
            await world.start_envoy(protocol)
        await world.until_asked((200, None))
        yield world


async def _end(world: ExtensionWorld) -> None:
    await asyncio.gather(*(each.stop() for each in world.envoys.values()))
    await world.plane.stop()


@contextlib.asynccontextmanager
async def _application(ip: str) -> AsyncIterator[None]:
    application = HttpServer(HeaderApplication(), f"{ip}:8000")
    application.open()
    task = asyncio.create_task(application.run())
    try:
        yield
    finally:
        application.stop()
        await task
        application.close()


def plugin(url: str, *, name: str = "header", namespace: str = "shop", **spec: object) -> dict[str, object]:
    """Return a WasmPlugin for what comes to the workloads, with the module at ``url``; ``spec`` has more of it."""
    whole = {"url": url, "match": [{"mode": "SERVER"}], **spec}
    return _document("WasmPlugin", name, namespace, whole)


def extension(*, name: str = "header", namespace: str = "shop", **spec: object) -> dict[str, object]:
    """Return a TrafficExtension for what comes to the workloads."""
    return _document("TrafficExtension", name, namespace, {"match": [{"mode": "SERVER"}], **spec})


def pull_secret(config: str, *, name: str = "registry", namespace: str = "shop") -> dict[str, object]:
    """Return a Secret with the passwords of registries in ``config``, in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": config},
    }


def _document(kind: str, name: str, namespace: str, spec: Mapping[str, object]) -> dict[str, object]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "extensions.istio.io/v1alpha1", "kind": kind, "metadata": meta, "spec": dict(spec)}
