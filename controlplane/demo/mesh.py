"""The mesh of the demo while it runs: its manifests, control planes, workloads, and an Envoy before each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import httpx

from controlplane.demo.apps import PROXY_PORT, SERVICE_PORT, AppInstance, RunningApp, bookinfo, client_apps
from controlplane.demo.credentials import CredentialFiles
from controlplane.demo.gateway import DemoGateway
from controlplane.demo.load import LoadGenerator, client_through_sidecar
from controlplane.demo.observability.spans import PORT as SPANS_PORT
from controlplane.demo.observability.spans import SpanCollector
from controlplane.demo.ports import free_network, free_port, port_owners
from controlplane.demo.processes import (
    ADMIN_PORT,
    PATIENCE_S,
    READY_PORT,
    STATS_PORT,
    EnvoySpec,
    NotReady,
    Process,
    Replica,
    start_envoy,
    start_replica,
    until,
)
from controlplane.demo.stores import ManifestStore, Saved
from controlplane.demo.templates import template
from controlplane.model.proxies import ProxyType
from controlplane.untyped import instant

# Which types of resources tell that a change has arrived: the first of them that a stream asks for.
HOSTS = ("VirtualHost", "RouteConfiguration")
ENDPOINTS = ("ClusterLoadAssignment",)
LISTENERS = ("Listener",)


class DemoMesh:
    """The running mesh."""

    def __init__(
        self,
        folder: Path,
        store: ManifestStore,
        *,
        replicas: int = 1,
        shared: bool = False,
        clients: int = 0,
        secure: bool = False,
        edge: bool = False,
    ) -> None:
        """Prepare a mesh whose logs are in ``folder``, by the manifests in ``store``; ``secure``: every workload has an identity.

        ``edge``: there is a gateway in front.

        The Envoys are spread over ``replicas`` of the control plane, and may move between them where these are ``shared``; ``clients`` is
        how many workloads there are beside bookinfo's that only ask.
        """
        self._shared = shared
        self._secure = secure
        self.folder = folder
        self.store = store
        self.network = free_network((SERVICE_PORT, PROXY_PORT, ADMIN_PORT, READY_PORT, STATS_PORT, SPANS_PORT))
        self.instances = {instance.name: instance for instance in (*bookinfo(self.network), *client_apps(self.network, clients))}
        self.running = {name: RunningApp(instance) for name, instance in self.instances.items()}
        self.envoys: dict[str, Process] = {}
        names = ["navarch", *(f"navarch-{number}" for number in range(2, replicas + 1))]
        self.planes = {
            name: RunningReplica(Replica(name, _free_address(), _free_address(), _free_address() if secure else "")) for name in names
        }
        self.caller = LoadGenerator(client_through_sidecar(self.instances["productpage-v1"].ip))
        self.gateway = DemoGateway(f"{self.network}.31") if edge else None
        self.spans = SpanCollector(f"{self.network}.41")

    async def start(self, envoy: str = "") -> None:
        """Start everything, and wait until every Envoy listens and has accepted what it was sent. Raises NotReady.

        ``envoy`` is the binary of the Envoys; empty: the one that is installed.
        """
        await self.store.open()
        await self.store.save("services", template("services"))
        sidecars = (
            template("workload", name=instance.name, app=instance.app, version=instance.version, ip=instance.ip)
            for instance in self.instances.values()
        )
        await self.store.save("workloads", "---\n".join(sidecars))
        for app in sorted({instance.app for instance in self.instances.values()}):
            await self.place(app, (instance for instance in self.instances.values() if instance.app == app))
        self.spans.start()
        for running in self.running.values():
            running.start()
        await asyncio.gather(*(self.start_plane(name) for name in self.planes))
        for instance, plane in zip(self.instances.values(), cycle(self.planes.values())):
            reachable = [every.replica for every in self.planes.values()] if self._shared else [plane.replica]
            addresses = [replica.xds_tls or replica.xds for replica in reachable]
            sidecar = replace(await self._sidecar(instance), binary=envoy)
            self.envoys[instance.name] = await start_envoy(sidecar, self.folder, *addresses)
        if self.gateway:
            replica = self.planes["navarch"].replica
            proxy = await self._with_credentials(self.gateway.proxy(self.store.namespace))
            self.gateway.process = await start_envoy(replace(proxy, binary=envoy), self.folder, replica.xds_tls or replica.xds)
        for instance in self.instances.values():
            await until(f"{instance.name}'s Envoy listens", _Listens(instance.ip), seconds=PATIENCE_S, watched=self.envoys[instance.name])
        self._check_owners()

    async def start_plane(self, name: str = "navarch") -> None:
        """Start the control plane ``name`` and wait until it is ready."""
        plane = self.planes[name]
        plane.process = await start_replica(plane.replica, self.store.serve(name), self.folder, home=self.store.namespace)
        await until(f"the control plane {name} is ready", plane.ready, seconds=PATIENCE_S, watched=plane.process)

    async def kill_plane(self, name: str = "navarch") -> None:
        """Kill the control plane ``name``, as a machine that dies does."""
        if (process := self.planes[name].process) is not None:
            await process.stop(kill=True)

    async def stop(self) -> None:
        """End every process."""
        front = [self.gateway.process] if self.gateway and self.gateway.process else []
        await asyncio.gather(*(process.stop() for process in (*self.envoys.values(), *front)))
        await asyncio.gather(*(plane.stop() for plane in self.planes.values()))
        await self.caller.close()
        await asyncio.gather(*(app.stop() for app in self.running.values()), self.spans.stop())
        await self.store.close()

    async def remove(self, name: str) -> None:
        """Shut the instance ``name`` and its Envoy down."""
        await self.envoys.pop(name).stop()
        await self.running.pop(name).stop()

    async def route(self, host: str, http: list[Mapping[str, object]]) -> Saved:
        """Save the VirtualService of ``host`` with the rules ``http``."""
        return await self.store.save(f"route-{host}", template("route", host=host, http=json.dumps(http)))

    async def place(self, app: str, instances: Iterable[AppInstance]) -> Saved:
        """Save which ``instances`` the Service ``app`` has."""
        mode = "istio" if self._secure else "disabled"
        listed = (
            template("instance", name=instance.name, app=app, version=instance.version, ip=instance.ip, mode=mode) for instance in instances
        )
        return await self.store.save(f"instances-{app}", "---\n".join(listed))

    async def accepted(
        self, saving: Awaitable[Saved], kinds: tuple[str, ...], *, within_s: float = PATIENCE_S, by: str = "sidecar"
    ) -> float:
        """Wait until every Envoy has accepted a resource of ``kinds`` sent after ``saving``; return the milliseconds to the last.

        ``by`` is the type of proxies that see the change.
        """
        return await self._accepted(await saving, kinds, within_s=within_s, by=by)

    async def accepted_by_all(self, saving: Awaitable[Saved], kinds: tuple[str, ...]) -> None:
        """Wait until every sidecar and the gateway have accepted a resource of ``kinds`` sent after ``saving``."""
        saved = await saving
        for proxies in ("sidecar", "router"):
            await self._accepted(saved, kinds, within_s=PATIENCE_S, by=proxies)

    async def _accepted(self, saved: Saved, kinds: tuple[str, ...], *, within_s: float, by: str) -> float:
        last = 0.0
        wanted = len(self.envoys) if by == ProxyType.SIDECAR else 1

        async def all_of_them() -> bool:
            nonlocal last
            rows = [row for row in await self.proxies() if str(row["id"]).startswith(f"{by}~")]
            times = [time for row in rows for time in _accepted_at(row, kinds)]
            last = max(times, default=0.0)
            return len(times) == wanted and min(times) >= saved.begun

        await until(f"every Envoy has accepted the change of {kinds[0]}", all_of_them, seconds=within_s, watched=self._running_process())
        return max(0.0, last - saved.done) * 1000

    async def proxies(self) -> list[dict[str, object]]:
        """Return what the control planes say of their proxies."""
        return [row for plane in self.planes.values() if plane.alive for row in await plane.get("/v1/proxies")]

    async def problems(self) -> list[dict[str, object]]:
        """Return what the control plane finds wrong with the manifests."""
        return await self.planes["navarch"].get("/v1/problems")

    def _running_process(self) -> Process | None:
        return next((plane.process for plane in self.planes.values() if plane.alive), None)

    async def _sidecar(self, instance: AppInstance) -> EnvoySpec:
        return await self._with_credentials(
            EnvoySpec(name=instance.name, ip=instance.ip, labels=instance.labels, namespace=self.store.namespace, account=instance.app)
        )

    async def _with_credentials(self, proxy: EnvoySpec) -> EnvoySpec:
        if not self._secure:
            return proxy
        credentials = CredentialFiles(self.folder / f"{proxy.name}-credentials")
        credentials.write(token=await self.store.token(proxy.account), roots=await self.store.roots())
        return replace(proxy, credentials=credentials)

    def _check_owners(self) -> None:
        """Raise NotReady where a port of a workload is not its own Envoy's alone."""
        for name, process in self.envoys.items():
            for port in (SERVICE_PORT, PROXY_PORT, ADMIN_PORT):
                pids = port_owners(self.instances[name].ip, port)
                if not pids or not all(_is_or_descends(pid, process.pid) for pid in pids) or len(pids) > 1:
                    raise NotReady(f"port {port} of {name} belongs to processes {sorted(pids)}, not to its Envoy {process.pid} alone")


class RunningReplica:
    """One replica of the control plane."""

    def __init__(self, replica: Replica) -> None:
        """Ask ``replica``, once its ``process`` runs."""
        self.replica = replica
        self.process: Process | None = None
        self._client = httpx.AsyncClient(base_url=f"http://{replica.admin}", timeout=PATIENCE_S)

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self.process is not None and self.process.alive

    async def get(self, path: str) -> list[dict[str, object]]:
        """Return the rows at ``path`` of its admin API."""
        rows: list[dict[str, object]] = (await self._client.get(path)).json()
        return rows

    async def one(self, path: str) -> dict[str, object]:
        """Return the value at ``path`` of its admin API."""
        row: dict[str, object] = (await self._client.get(path)).json()
        return row

    async def ready(self) -> bool:
        """Return whether it says that it is ready."""
        try:
            return (await self._client.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def stop(self) -> None:
        """End it."""
        if self.process is not None:
            await self.process.stop()
        await self._client.aclose()


class _Listens:
    """Whether both listeners of a workload's Envoy accept connections."""

    def __init__(self, ip: str) -> None:
        self._ip = ip

    async def __call__(self) -> bool:
        for port in (SERVICE_PORT, PROXY_PORT):
            try:
                _, writer = await asyncio.open_connection(self._ip, port)
            except OSError:
                return False
            writer.close()
        return True


def _accepted_at(row: dict[str, object], kinds: Sequence[str]) -> list[float]:
    connections, found = row["connections"], list[float]()
    assert isinstance(connections, list)  # noqa: S101 - the admin API says so
    for connection in connections:
        times = {status["type"]: instant(status, "ackedAt") for status in connection["types"]}
        found += [times[kind] for kind in kinds if kind in times][:1]
    return found


def _is_or_descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        pid = int(status.split("PPid:")[1].split()[0])
    return False


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def running_reviews(world: DemoMesh) -> Iterable[AppInstance]:
    """Return the instances of reviews that still run."""
    return [world.instances[name] for name in world.running if name.startswith("reviews")]
