"""A mesh that is changed all the time: a real API server, a control plane that is a process, and sidecars that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import Client, connect
from controlplane.kube.resources import ApiResource
from controlplane.untyped import Json, items, section, text
from controlplane.untyped import number as number_in
from tests.support.cluster import Cluster
from tests.support.processes import Process, Replica, free_port, start_replica
from tests.support.waiting import DEADLINE_S, until
from tests.support.with_cluster import knowing_our_kinds

NAMESPACE, HOME = "shop", "navarch-system"
SERVICES = ApiResource("", "v1", "services", "Service")
SLICES = ApiResource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
ROUTES = ApiResource("networking.istio.io", "v1", "virtualservices", "VirtualService")
RULES = ApiResource("networking.istio.io", "v1", "destinationrules", "DestinationRule")
POLICIES = ApiResource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy")
_WITH_STATUS = (ROUTES, RULES)
_AT_ONCE = 16


def of(resource: ApiResource, number: int, change: int = 0) -> Json:
    """Return the object ``number`` of ``resource``, as it is after so many changes."""
    name = f"s{number}"
    head: Json = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name, "namespace": NAMESPACE}}
    if resource == SERVICES:
        ports = [{"name": "http", "port": 80}, *([{"name": "more", "port": 8000 + change % 2}] if change else [])]
        return {**head, "spec": {"clusterIP": f"10.96.{100 + number // 250}.{number % 250 + 1}", "ports": ports}}
    if resource == SLICES:
        labels = {"kubernetes.io/service-name": name}
        ready = [{"addresses": [f"10.1.{number % 250}.{change % 250 + 1}"], "conditions": {"ready": True}}]
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        return {**head, "metadata": metadata, "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": ready}
    if resource == ROUTES:
        rule = {"timeout": f"{change + 1}s", "route": [{"destination": {"host": name}}]}
        return {**head, "spec": {"hosts": [name], "http": [rule]}}
    if resource == RULES:
        return {**head, "spec": {"host": name, "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": change + 1}}}}}
    paths = [{"to": [{"operation": {"paths": [f"/{change}"]}}]}]
    return {**head, "spec": {"selector": {"matchLabels": {"app": name}}, "action": "DENY", "rules": paths}}


@dataclass(frozen=True, slots=True)
class Told:
    """What the status of one object says, and which generation the object has."""

    generation: int
    observed: int
    programmed: bool

    def is_right(self, generation: int) -> bool:
        """Return whether it says that ``generation`` is with all proxies."""
        return self.programmed and self.observed >= generation


@dataclass
class BusyMesh:
    """What runs, and how it is asked."""

    cluster: Cluster
    client: Client
    plane: Process
    replica: Replica
    clients: asyncio.subprocess.Process
    services: int
    changes: int = 0
    replaced: int = 0
    counts: dict[tuple[str, int], int] = field(default_factory=dict)

    async def create(self) -> None:
        """Create everything."""
        wanted = itertools.product((SERVICES, SLICES, *_WITH_STATUS), range(self.services))

        async def work() -> None:
            for resource, number in wanted:
                await self.client.create(resource.path(NAMESPACE), of(resource, number))

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def change(self, resource: ApiResource, number: int) -> int:
        """Change the object ``number`` of ``resource``; return its generation."""
        change = self.counts[resource.kind, number] = self.counts.get((resource.kind, number), 0) + 1
        self.changes += 1
        changed = await self.client.patch(resource.path(NAMESPACE, f"s{number}"), of(resource, number, change))
        return generation_of(changed)

    async def keep_changing(self, per_s: float, resources: Sequence[ApiResource]) -> None:
        """Change one object after the other, of each of ``resources`` in turn, until cancelled."""
        begun, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        for count, resource in enumerate(itertools.cycle(resources)):
            await asyncio.sleep(max(0.0, begun + count / per_s - loop.time()))
            await self.change(resource, random.randrange(self.services))

    async def keep_replacing(self, per_s: float, resource: ApiResource) -> None:
        """Create an object of ``resource`` and delete it, again and again, until cancelled; each of both is a change."""
        while True:
            self.replaced += 1
            created = of(resource, self.replaced, self.replaced)
            await self.client.create(resource.path(NAMESPACE), created)
            await asyncio.sleep(1 / per_s)
            await self.client.delete(resource.path(NAMESPACE, f"s{self.replaced}"))
            await asyncio.sleep(1 / per_s)
            self.changes += 2

    async def told(self) -> dict[tuple[str, str], Told]:
        """Return what the status of each object says."""
        found: dict[tuple[str, str], Told] = {}
        for resource in _WITH_STATUS:
            for each in items(await self.client.get(resource.path(NAMESPACE))):
                status = section(each, "status")
                conditions = {text(condition, "type"): text(condition, "status") for condition in items(status, "conditions")}
                name = text(section(each, "metadata"), "name")
                observed = int(str(status.get("observedGeneration") or 0))
                found[resource.kind, name] = Told(generation_of(each), observed, conditions.get("Programmed") == "True")
        return found

    async def right(self, generations: Mapping[tuple[str, str], int] | None = None, *, at_s: float = DEADLINE_S) -> tuple[int, float]:
        """Wait until every status has been right, for ``generations`` or for what is there now.

        Return how many were not by ``at_s`` from now, and when all were.
        """
        begun = time.monotonic()
        left = dict(generations or {key: each.generation for key, each in (await self.told()).items()})
        late = 0
        while left:
            told = await self.told()
            left = {key: generation for key, generation in left.items() if not told[key].is_right(generation)}
            if time.monotonic() - begun <= at_s or not late:
                late = len(left) if time.monotonic() - begun > at_s else 0
            if time.monotonic() - begun > 4 * DEADLINE_S:
                raise TimeoutError(f"{len(left)} statuses are not right, {sorted(left)[:3]}")
            await asyncio.sleep(0.5)
        return late, time.monotonic() - begun

    async def say(self, line: str) -> int:
        """Tell the sidecars ``line``, wait until it is so, and return how many have come so far."""
        assert self.clients.stdin is not None
        assert self.clients.stdout is not None
        self.clients.stdin.write(f"{line}\n".encode())
        answer = (await self.clients.stdout.readline()).split()
        return int(answer[1])

    def patches(self) -> int:
        """Return how many statuses were patched, as the API server's audit log has it."""
        return len(_STATUS_PATCH.findall(self.cluster.audit.read_text()))

    async def metric(self, name: str) -> float:
        """Return one of the control plane's metrics."""
        page = await asyncio.to_thread(_page, f"http://{self.replica.admin}/metrics")
        found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
        assert found is not None, name
        return float(found[1])


_STATUS_PATCH = re.compile(r'"verb":"patch"[^\n]*?"subresource":"status"')


def generation_of(value: Json) -> int:
    """Return the generation of an object."""
    return number_in(section(value, "metadata"), "generation")


@contextlib.asynccontextmanager
async def busy_mesh(
    folder: Path, services: int, sidecars: int, times: tuple[float, float], options: Sequence[str] = ("--replica",)
) -> AsyncIterator[BusyMesh]:
    """Give a mesh of ``services``, each with a route and a rule, whose ``sidecars`` stay and are away for ``times``, once told to."""
    cluster = await asyncio.to_thread(knowing_our_kinds, folder / "cluster")
    try:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(KubernetesAccess(str(cluster.kubeconfig()))))
            for name in (NAMESPACE, HOME):
                cluster.namespace(name)
            replica = Replica("navarch", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
            read = ("--kubernetes", "--kubeconfig", str(cluster.kubeconfig()), *options)
            plane = await start_replica(replica, read, folder, home=HOME)
            stack.push_async_callback(plane.stop)
            await until(lambda: asyncio.to_thread(_is_ready, replica.admin), "the control plane is ready", watched=plane)
            clients = await _sidecars(stack, replica.xds, sidecars, times)
            mesh = BusyMesh(cluster, client, plane, replica, clients, services)
            await mesh.create()
            yield mesh
    finally:
        cluster.stop()


async def _sidecars(stack: contextlib.AsyncExitStack, xds: str, count: int, times: tuple[float, float]) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.support.churning_clients", xds, str(count), *map(str, times))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process


def _is_ready(admin: str) -> bool:
    try:
        return bool(_page(f"http://{admin}/readyz") is not None)
    except OSError:
        return False


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())
