"""A cluster with two replicas of the control plane, a workload behind a real Envoy in each of some namespaces, and who asks them.

Each namespace has the workload ``web``, which takes HTTP, and bytes, in any way; one more workload asks through its own Envoy.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx

from controlplane.ca.rotation import AuthorityState, load_state
from controlplane.ca.tokens import AUDIENCE
from controlplane.untyped import Json, items, section, text
from tests.support.cluster import Cluster
from tests.support.envoys import CredentialFiles, RunningReplica
from tests.support.fakes.issuer import Issuer
from tests.support.jwt_requests import ISSUER, bearer
from tests.support.kube_control_plane import HOME, SECRET
from tests.support.loopback import echo, is_open
from tests.support.mesh_clients import HTTP, TCP, MeshClients
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import DEADLINE_S, until
from tests.support.with_cluster import knowing_our_kinds

ALLOWED, CLOSED = 200, 0
_PROXY = 15002
_CALLER = 12
_FIRST = 51  # of the workloads' addresses
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_WORKLOAD = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: web, namespace: {namespace}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 9080}}, {{name: tcp, port: 9090}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web, namespace: {namespace}}}
spec: {{address: {ip}, labels: {{app: web, security.istio.io/tlsMode: istio}}, serviceAccount: web}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: {namespace}}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {ip}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {ip}, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
"""
_CALLING = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: caller, namespace: elsewhere}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: caller, namespace: elsewhere}}
spec:
  workloadSelector: {{labels: {{app: caller}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: http-proxy}}, bind: {ip}, captureMode: NONE, hosts: ["*/*"]}}
"""


class Verdicts(NamedTuple):
    """What comes of each request: a status, ``CLOSED`` for a connection that was closed instead, ``ALLOWED`` for bytes that came back."""

    friend: int = ALLOWED
    plaintext: int = ALLOWED
    vault: int = ALLOWED
    token: int = ALLOWED
    bad_token: int = ALLOWED
    bytes: int = ALLOWED
    routed: int = ALLOWED

    def more_open_than(self, others: Verdicts) -> list[str]:
        """Return the requests that are let in here, and are not by ``others``."""
        return [name for name, now, before in zip(self._fields, self, others, strict=True) if now == ALLOWED != before]


class Condition(NamedTuple):
    """A condition of an object's status, and whether it is of the object as it is now."""

    status: str
    reason: str
    current: bool


class VerdictCluster(MeshClients):
    """The API server, what runs on it, and what comes of requests."""

    def __init__(self, folder: Path, cluster: Cluster, namespaces: Sequence[str], hold_unknown_s: int) -> None:
        """Prepare a workload in each of ``namespaces``."""
        super().__init__(folder, free_network((HTTP, TCP, _PROXY, ADMIN_PORT, 8000, 8001)))
        self.cluster = cluster
        self.targets = {namespace: _FIRST + number for number, namespace in enumerate(namespaces)}
        addresses = {name: [f"127.0.0.1:{free_port()}" for _ in range(3)] for name in ("navarch", "navarch-2")}
        self.planes = {name: RunningReplica(Replica(name, *addresses[name])) for name in addresses}
        self.envoys: dict[str, Process] = {}
        self._options = ("--kubernetes", "--replica", "--kubeconfig", str(cluster.kubeconfig()), "--hold-unknown", str(hold_unknown_s))
        self._authority: AuthorityState | None = None

    @property
    def authority(self) -> AuthorityState:
        """Return the authority, which is in a Secret."""
        if self._authority is None:
            stored = text(section(self.cluster.call("GET", SECRET), "data"), "authority.json")
            self._authority = load_state(base64.b64decode(stored))
        return self._authority

    async def apply(self, *manifests: str) -> None:
        """Apply ``manifests``, all at once."""
        await asyncio.to_thread(self.cluster.kubectl, "apply", "-f", "-", stdin="".join(f"---\n{each}\n" for each in manifests))

    async def start_planes(self) -> None:
        """Start the replicas that do not run, and wait until they are ready."""
        await asyncio.gather(*(self._start_plane(plane) for plane in self.planes.values() if not plane.alive))

    async def stop_planes(self) -> None:
        """End the replicas."""
        await asyncio.gather(*(plane.process.stop() for plane in self.planes.values() if plane.process is not None))

    async def start_envoys(self) -> None:
        """Start an Envoy, which knows nothing before, for each workload, and wait until they listen."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        who = {("caller", "elsewhere"): _CALLER, **{("web", namespace): target for namespace, target in self.targets.items()}}
        await asyncio.gather(*(self._start_envoy(name, namespace, target) for (name, namespace), target in who.items()))

    async def all_connected(self) -> None:
        """Wait until every Envoy is connected to a replica that runs, and has nothing to wait for."""

        async def connected() -> bool:
            rows = [row for plane in self.planes.values() if plane.alive for row in await plane.get("/v1/proxies")]
            return len(rows) == len(self.envoys) and all(row["synced"] for row in rows)

        await until(connected, "every Envoy is connected")

    async def leader(self) -> str:
        """Return the replica that holds the Lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/navarch-leader"
        return text(section(await asyncio.to_thread(self.cluster.call, "GET", path), "spec"), "holderIdentity").partition("_")[0]

    async def verdicts(self, namespace: str) -> Verdicts:
        """Return what comes of requests to the workload in ``namespace``."""
        at = self.at(self.targets[namespace])
        friend, plaintext, vault, token, bad_token = await asyncio.gather(
            at.ask(),
            at.ask(who=None),
            at.ask("/vault"),
            at.ask(headers=bearer(ISSUER.token())),
            at.ask(headers=bearer(Issuer(ISSUER.name).token())),
        )
        sent_back = await at.talk(b"hello") == b"hello"
        return Verdicts(
            friend=friend.status,
            plaintext=plaintext.status,
            vault=vault.status,
            token=token.status,
            bad_token=bad_token.status,
            bytes=ALLOWED if sent_back else CLOSED,
            routed=await self._routed(namespace),
        )

    async def conditions(self, resource: str, namespace: str, name: str) -> Mapping[str, Condition]:
        """Return the conditions of an object by type; ``resource`` is like ``authorizationpolicies.security.istio.io``."""
        plural, _, group = resource.partition(".")
        path = f"/apis/{group}/v1/namespaces/{namespace}/{plural}/{name}"
        found: Json = await asyncio.to_thread(self.cluster.call, "GET", path)
        generation = section(found, "metadata")["generation"]
        return {
            text(each, "type"): Condition(text(each, "status"), text(each, "reason"), each.get("observedGeneration") == generation)
            for each in items(section(found, "status"), "conditions")
        }

    async def forget_conditions(self, resource: str, namespace: str, name: str) -> None:
        """Take the status of an object away, so that whoever leads has to tell it anew."""
        patch = json.dumps({"status": {"conditions": [], "observedGeneration": 0}})
        arguments = ("-n", namespace, "patch", resource, name, "--subresource=status", "--type=merge", "-p", patch)
        await asyncio.to_thread(self.cluster.kubectl, *arguments)

    async def stop(self) -> None:
        """End what was started."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        await asyncio.gather(*(plane.stop() for plane in self.planes.values()))

    async def prepare(self) -> None:
        """Make the workloads and their namespaces."""
        for namespace in (HOME, "elsewhere", *self.targets):
            await asyncio.to_thread(self.cluster.namespace, namespace)
        workloads = (_WORKLOAD.format(namespace=namespace, ip=self.ip(namespace)) for namespace in self.targets)
        await self.apply(*workloads, _CALLING.format(ip=f"{self.network}.{_CALLER}"))

    def ip(self, namespace: str) -> str:
        """Return the address of the workload in ``namespace``."""
        return f"{self.network}.{self.targets[namespace]}"

    async def _routed(self, namespace: str) -> int:
        """Return the status of a request through the Envoy of who asks."""
        async with httpx.AsyncClient(proxy=f"http://{self.network}.{_CALLER}:{_PROXY}", timeout=DEADLINE_S) as client:
            try:
                return (await client.get(f"http://web.{namespace}:{HTTP}/")).status_code
            except httpx.TransportError:
                return CLOSED

    async def _start_plane(self, plane: RunningReplica) -> None:
        plane.process = await start_replica(plane.replica, self._options, self.folder, home=HOME)
        await until(plane.ready, f"{plane.replica.name} is ready", watched=plane.process)

    async def _start_envoy(self, name: str, namespace: str, target: int) -> None:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token = text(section(await asyncio.to_thread(self.cluster.call, "POST", path, body), "status"), "token")
        held = CredentialFiles(self.folder / f"{namespace}-credentials")
        held.write(token=token, roots=self.authority.bundle.decode())
        ip = f"{self.network}.{target}"
        known = EnvoySpec(name=f"{name}-{namespace}", ip=ip, labels={"app": name}, namespace=namespace, account=name, credentials=held)
        envoy = await start_envoy(known, self.folder, *(plane.replica.xds_tls for plane in self.planes.values()))
        self.envoys[namespace] = envoy
        for port in (_PROXY,) if name == "caller" else (HTTP, TCP):
            await until(partial(is_open, ip, port), f"{namespace} listens on {port}", watched=envoy)


@contextlib.asynccontextmanager
async def verdict_cluster(folder: Path, namespaces: Sequence[str], hold_unknown_s: int) -> AsyncIterator[VerdictCluster]:
    """Yield a cluster with a workload in each of ``namespaces``; end everything with the block."""
    cluster = await asyncio.to_thread(knowing_our_kinds, folder / "cluster")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(cluster.stop)
        world = VerdictCluster(folder, cluster, namespaces, hold_unknown_s)
        stack.push_async_callback(world.stop)
        ips = [world.ip(namespace) for namespace in namespaces]
        for port, serve in ((8000, _answer), (8001, echo)):
            await stack.enter_async_context(await asyncio.start_server(serve, ips, port))
        await world.prepare()
        await world.start_planes()
        await world.start_envoys()
        await world.all_connected()
        yield world


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
    writer.close()
