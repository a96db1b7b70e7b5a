"""One real Envoy by its bootstrap, the way to its control plane that can be spoiled, and the files that a kubelet keeps for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.overload_manager import OverloadLimits
from controlplane.bootstrap.statistics import Statistics
from controlplane.bootstrap.status_listeners import ApplicationProbe, StatusPorts
from controlplane.bootstrap.xds_cluster import XdsCredentials, XdsServer, secret_files
from controlplane.model.proxies import Interception
from tests.support.processes import Process, envoy_binary, free_network, start
from tests.support.secure_control_plane import Secure, secure
from tests.support.waiting import DEADLINE_S, until

PORTS = (8000, 9080, 15000, 15021, 15090)
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 9080}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web-1}}
spec: {{address: {ip}, labels: {{app: web}}, serviceAccount: web}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {ip}, captureMode: NONE, defaultEndpoint: "0.0.0.0:8000"}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {ip}, captureMode: NONE, hosts: ["*/*"]}}
"""


class TcpRelay:
    """A TCP relay: what it does to connections is in its fields, which may change at any time."""

    def __init__(self, *ports: int) -> None:
        """Lead to ``ports`` of this machine, one connection after the other in turn."""
        self.ports = ports
        self._writers: set[asyncio.StreamWriter] = set()
        self._askers: set[asyncio.StreamWriter] = set()
        self._ended: set[asyncio.StreamWriter] = set()
        self.silent = False  # nothing gets through, and nobody is told
        self.down = False  # connections are cut as soon as they are there
        self.taken = 0  # connections

    @contextlib.asynccontextmanager
    async def open(self, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Yield the address of the relay, which is at ``host``, until the block ends."""
        server = await asyncio.start_server(self._relay, host, 0)
        try:
            yield f"{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        for each in tuple(self._writers):
            each.transport.abort()

    def end_answers(self) -> None:
        """Close all connections halfway: nothing comes back by them any more, and who asks may go on."""
        for each in self._askers - self._ended:
            self._ended.add(each)
            each.write_eof()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self._writers.add(writer)
        self._askers.add(writer)
        try:
            if self.down:
                return
            beyond, onwards = await asyncio.open_connection("127.0.0.1", self.ports[self.taken % len(self.ports)])
            self._writers.add(onwards)
            with contextlib.suppress(OSError):
                await asyncio.gather(self._copy(reader, onwards), self._copy(beyond, writer))
            self._writers.discard(onwards)
            onwards.transport.abort()
        finally:
            for known in (self._writers, self._askers, self._ended):
                known.discard(writer)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.silent and writer not in self._ended:
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Projected:
    """A volume as a kubelet writes it: files that are links through ``..data``, which is another folder after each change.

    https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go
    """

    def __init__(self, folder: Path) -> None:
        """Keep the files in ``folder``."""
        self.folder = folder
        self._numbers = itertools.count(1)

    def write(self, files: Mapping[str, str]) -> None:
        """Let ``files`` be all that there is, at once."""
        own = self.folder / f"..{next(self._numbers)}"
        own.mkdir(parents=True)
        for name, content in files.items():
            (own / name).write_text(content)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        draft = self.folder / "..data_tmp"
        draft.symlink_to(own.name)
        draft.rename(self.folder / "..data")


@dataclass
class SingleEnvoy:
    """An Envoy of the workload ``web`` at ``ip``, and everything that it needs."""

    ip: str
    folder: Path
    plane: Secure
    way: TcpRelay
    settings: BootstrapSettings
    volume: Projected
    files: dict[str, str] = field(default_factory=dict)
    process: Process | None = None
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=DEADLINE_S))

    def write(self, **files: str) -> None:
        """Replace ``files`` of its volume, ``token`` or ``roots``."""
        self.files |= {{"roots": "root-cert.pem"}.get(name, name): content for name, content in files.items()}
        self.volume.write(self.files)

    async def start(self) -> Process:
        """Start it, by its bootstrap alone."""
        options = [
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--drain-time-s",
            "5",
            "--drain-strategy",
            "immediate",
        ]
        told = json.dumps(bootstrap(self.settings))
        self.process = await start("web-1", [envoy_binary(), "--config-yaml", told, *options], self.folder)
        return self.process

    async def status(self, port: int, path: str, *, source: str = "", timeout_s: float = DEADLINE_S) -> int:
        """Return with which status it answers at ``port``, 0 where it does not; asked from the address ``source``."""
        transport = httpx.AsyncHTTPTransport(local_address=source or None)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=timeout_s) as client:
                return (await client.get(f"http://{self.ip}:{port}{path}")).status_code
        except httpx.HTTPError:
            return 0

    async def stat(self, name: str) -> int:
        """Return the value of the statistic ``name``."""
        text = (await self.client.get(f"http://{self.ip}:15000/stats", params={"filter": f"^{name}$"})).text
        return int(text.rpartition(":")[2] or 0)

    async def connected(self) -> bool:
        """Return whether it takes itself for connected."""
        return await self.stat("control_plane.connected_state") == 1

    async def ready(self) -> bool:
        """Return whether it says that it is ready."""
        return await self.status(15021, "/healthz/ready") == 200

    async def until_ready(self) -> None:
        """Wait until it is."""
        await until(self.ready, "the Envoy is ready", watched=self.process)


def _node(ip: str) -> BootstrapNode:
    return BootstrapNode(
        name="web-1",
        namespace="default",
        ip=ip,
        service_account="web",
        labels=(("app", "web"),),
        interception=Interception.NONE,
    )


def _credentials(folder: str) -> XdsCredentials:
    return XdsCredentials(token=f"{folder}/token", roots=f"{folder}/root-cert.pem", secrets=folder, server_name="localhost")


@contextlib.asynccontextmanager
async def single_envoy(
    folder: Path,
    *,
    limits: OverloadLimits | None = None,
    probes: tuple[ApplicationProbe, ...] = (),
    nodes: tuple[str, ...] = (),
    age_s: float = 1800.0,
    statistics: Statistics | None = None,
) -> AsyncIterator[SingleEnvoy]:
    """Yield an Envoy that is not started yet, and its control plane, which runs; ``node_addresses`` are who may probe."""
    ip = f"{free_network(PORTS)}.11"
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "web.yaml").write_text(MANIFESTS.format(ip=ip))
    async with secure(manifests, age_s=age_s) as plane:
        addresses = plane.running.at
        assert addresses.xds_tls
        way = TcpRelay(int(addresses.xds_tls.rpartition(":")[2]))
        async with way.open() as where:
            volume = Projected(folder / "volume")
            credentials = _credentials(str(volume.folder))
            settings = BootstrapSettings(
                node=_node(ip),
                control_plane=XdsServer(addresses=(where,), credentials=credentials),
                admin=f"{ip}:15000",
                status=StatusPorts(host=ip, application_host=ip, node_addresses=nodes),
                probes=probes,
                limits=limits or OverloadLimits(),
                statistics=statistics or Statistics(),
            )
            one = SingleEnvoy(ip, folder, plane, way, settings, volume, dict(secret_files(credentials)))
            one.write(token=plane.token(account="web"), roots=plane.roots.decode())
            try:
                yield one
            finally:
                await one.client.aclose()
                if one.process:
                    await one.process.stop(kill=True)
