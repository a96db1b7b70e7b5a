"""The mesh of the demo while it runs: a folder of manifests, a control plane, workloads, and an Envoy before each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

import httpx

from controlplane.demo.apps import PROXY_PORT, SERVICE_PORT, Instance, Running, bookinfo
from controlplane.demo.bootstrap import ADMIN_PORT
from controlplane.demo.load import Caller
from controlplane.demo.ports import free_network, free_port, owners
from controlplane.demo.processes import NotReady, Process, Sidecar, control_plane, envoy, until

HOSTS = "VirtualHost"
ENDPOINTS = "ClusterLoadAssignment"
_READY_S = 20.0
_SETTLED_S = 5.0


class World:
    """Everything that runs."""

    def __init__(self, folder: Path) -> None:
        """Prepare a mesh whose manifests and logs are in ``folder``."""
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.network = free_network((SERVICE_PORT, PROXY_PORT, ADMIN_PORT))
        self.instances = {each.name: each for each in bookinfo(self.network)}
        self.running = {name: Running(each) for name, each in self.instances.items()}
        self.envoys: dict[str, Process] = {}
        self.xds, self.admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.caller = Caller(self.instances["productpage-v1"].ip)
        self._plane: Process | None = None
        self._client = httpx.AsyncClient(base_url=f"http://{self.admin}", timeout=5.0)

    async def start(self) -> None:
        """Start everything, and wait until every Envoy listens and has accepted what it was sent. Raises NotReady."""
        self.save("services", _template("services"))
        for instance in self.instances.values():
            self.save(instance.name, _template("workload", name=instance.name, app=instance.app, version=instance.version, ip=instance.ip))
        for app in sorted({each.app for each in self.instances.values()}):
            self.place(app, (each for each in self.instances.values() if each.app == app))
        for running in self.running.values():
            running.start()
        await self.start_plane()
        for instance in self.instances.values():
            self.envoys[instance.name] = await envoy(_sidecar(instance), self.folder, xds=self.xds)
        for instance in self.instances.values():
            await until(f"{instance.name}'s Envoy listens", _Listens(instance.ip), seconds=_READY_S, watched=self.envoys[instance.name])
        self._check_owners()

    async def start_plane(self) -> None:
        """Start the control plane and wait until it is ready."""
        self._plane = await control_plane(self.manifests, self.folder, xds=self.xds, admin=self.admin)
        await until("the control plane is ready", self._ready, seconds=_READY_S, watched=self._plane)

    async def kill_plane(self) -> None:
        """Kill the control plane, as a machine that dies does."""
        if self._plane is not None:
            await self._plane.stop(kill=True)

    async def stop(self) -> None:
        """End every process."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        if self._plane is not None:
            await self._plane.stop()
        await self.caller.close()
        await self._client.aclose()
        await asyncio.gather(*(each.stop() for each in self.running.values()))

    async def remove(self, name: str) -> None:
        """Shut the instance ``name`` and its Envoy down."""
        await self.envoys.pop(name).stop()
        await self.running.pop(name).stop()

    def save(self, name: str, text: str) -> float:
        """Save a manifest, as an editor does: whole, by renaming; return when (seconds since the epoch)."""
        target = self.manifests / f"{name}.yaml"
        draft = target.with_suffix(".yaml~")
        draft.write_text(text)
        saved = time.time()
        draft.rename(target)
        return saved

    def route(self, host: str, http: list[Mapping[str, object]]) -> float:
        """Save the VirtualService of ``host`` with the rules ``http``."""
        return self.save(f"route-{host}", _template("route", host=host, http=json.dumps(http)))

    def place(self, app: str, instances: Iterable[Instance]) -> float:
        """Save which ``instances`` the Service ``app`` has."""
        listed = ", ".join(f"{{addresses: [{each.ip}], targetRef: {{kind: Pod, name: {each.name}}}}}" for each in instances)
        return self.save(f"endpoints-{app}", _template("endpoints", app=app, endpoints=listed))

    async def accepted(self, saved: float, kind: str) -> float:
        """Wait until every Envoy has accepted a resource of ``kind`` sent after ``saved``; return the milliseconds to the last."""
        last = 0.0

        async def all_of_them() -> bool:
            nonlocal last
            times = [time for row in await self.proxies() for time in _accepted(row, kind)]
            last = max(times, default=0.0)
            return len(times) == len(self.envoys) and min(times) >= saved

        await until(f"every Envoy has accepted the change of {kind}", all_of_them, seconds=_SETTLED_S, watched=self._plane)
        return (last - saved) * 1000

    async def proxies(self) -> list[dict[str, object]]:
        """Return what the control plane says of its proxies."""
        return await self._get("/v1/proxies")

    async def problems(self) -> list[dict[str, object]]:
        """Return what the control plane finds wrong with the manifests."""
        return await self._get("/v1/problems")

    async def _get(self, path: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = (await self._client.get(path)).json()
        return found

    async def _ready(self) -> bool:
        try:
            return (await self._client.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    def _check_owners(self) -> None:
        """Raise NotReady where a port of a workload is not its own Envoy's alone."""
        for name, process in self.envoys.items():
            for port in (SERVICE_PORT, PROXY_PORT, ADMIN_PORT):
                found = owners(self.instances[name].ip, port)
                if not found or not all(_is_or_descends(each, process.pid) for each in found) or len(found) > 1:
                    raise NotReady(f"port {port} of {name} belongs to processes {sorted(found)}, not to its Envoy {process.pid} alone")


def _sidecar(instance: Instance) -> Sidecar:
    return Sidecar(name=instance.name, ip=instance.ip, labels=instance.labels)


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


def _accepted(row: dict[str, object], kind: str) -> list[float]:
    connections = row["connections"]
    assert isinstance(connections, list)  # noqa: S101 - the admin API says so
    return [
        float(each["ackedAt"] or 0.0)
        for connection in connections
        for each in connection["types"]
        if str(each["typeUrl"]).endswith(f".{kind}")
    ]


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


def _template(template: str, /, **values: str) -> str:
    return Template((files("controlplane.demo") / "manifests" / f"{template}.yaml").read_text()).substitute(values)


def reviews(world: World) -> Iterable[Instance]:
    """Return the instances of reviews that still run."""
    return [world.instances[name] for name in world.running if name.startswith("reviews")]


def broken_manifest() -> str:
    """Return a manifest that is refused."""
    return _template("broken")
