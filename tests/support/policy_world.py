"""A workload behind a real Envoy, policies that tests give it one after another, and clients of any identity and address.

One control plane and two Envoys serve all cases. Clients are connections by TLS with certificates of the mesh's own authority, so that a
test can be anybody; one more workload asks through its own Envoy.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.bootstrap.statistics import Statistics
from controlplane.ca.file_store import FileStore as Stored
from controlplane.ca.rotation import AuthorityState, load_state, read_key
from controlplane.ca.tokens import AUDIENCE, sign_token
from tests.support.envoys import CredentialFiles, RunningReplica
from tests.support.header_application import HeaderApplication
from tests.support.loopback import echo, ended, is_open
from tests.support.mesh_clients import HTTP, TCP, MeshClients
from tests.support.policy_manifests import MARKER, MESH
from tests.support.processes import ADMIN_PORT, EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.waiting import DEADLINE_S, until

OTHER_HTTP = 9081
PROXY = 15002
SPACE = "shop"
_HOUR = dt.timedelta(hours=1)
_PATIENCE_S = 20.0
_STATISTICS = Statistics(suffixes=(".remaining_rq", ".remaining_cx"))  # how much of a limit is left


class PolicyWorld(MeshClients):
    """The workload ``web`` in the namespace ``shop``, and what there is around it."""

    def __init__(self, folder: Path, network: str, plane: RunningReplica) -> None:
        super().__init__(folder, network)
        self.plane = plane
        self.options: tuple[str, ...] = ()  # of its command
        self.envoys: dict[str, Process] = {}
        self.application = HeaderApplication()
        self._numbers = itertools.count()
        self._admin = httpx.AsyncClient(base_url=f"http://{network}.11:{ADMIN_PORT}", timeout=DEADLINE_S)

    @property
    def authority(self) -> AuthorityState:
        """Return the authority, which is in a folder."""
        stored = Stored(self.folder / "state").read_now()
        assert stored
        return load_state(stored)

    async def mesh(self, text: str) -> None:
        """Let ``text`` be what the mesh's settings and other objects around the workload say."""
        self._save("settings", text)

    def edit(self, old: str, new: str) -> None:
        """Let ``new`` stand in the place of ``old`` in what is written of the workload and its Sidecar."""
        text = (self.folder / "manifests" / "mesh.yaml").read_text()
        assert old in text
        self._save("mesh", text.replace(old, new, 1))

    async def apply(self, text: str = "") -> None:
        """Let ``text`` be all policies there are, and wait until the workload's Envoy lives by them."""
        name = f"marker-{next(self._numbers)}"
        self._save("policies", f"{text}\n---\n{MARKER.format(name=name)}" if text else MARKER.format(name=name))

        async def lives_by_it() -> bool:
            found = (await self._admin.get("/config_dump", params={"resource": "dynamic_listeners"})).json()
            active = [json.dumps(each.get("active_state", {})) for each in found.get("configs", ())]
            warming = any("warming_state" in each or "error_state" in each for each in found.get("configs", ()))
            return len(active) == 3 and not warming and all(f"[{name}]" in each for each in active)

        try:
            await until(lives_by_it, f"the Envoy lives by {name}", watched=self.envoys.get("web"))
        except Exception as error:
            found = (await self._admin.get("/config_dump", params={"resource": "dynamic_listeners"})).text
            errors = [line for line in found.splitlines() if "details" in line]
            raise AssertionError(f"{error}; {errors}; {await self.plane.get('/v1/problems')}") from error

    async def through_own_envoy(self, path: str = "/", **headers: str) -> int:
        """Return the status of a request by the workload ``caller`` of the namespace ``elsewhere``, through its own Envoy."""
        async with httpx.AsyncClient(proxy=f"http://{self.network}.12:{PROXY}", timeout=DEADLINE_S) as client:
            return (await client.get(f"http://web.shop:{HTTP}{path}", headers=headers)).status_code

    async def listens_by(self) -> str:
        """Return what the workload's Envoy has of listeners, as JSON."""
        return (await self._admin.get("/config_dump", params={"resource": "dynamic_listeners"})).text

    async def counted(self, name: str) -> int:
        """Return the sum of the workload's Envoy's counters with ``name`` in their names."""
        lines = (await self._admin.get("/stats", params={"filter": name})).text.splitlines()
        return sum(int(line.rpartition(":")[2]) for line in lines if line.rpartition(":")[2].strip().isdecimal())

    async def problems(self) -> list[tuple[str, str, str]]:
        """Return object, field and message of each Problem."""
        return [(str(each["object"]), str(each["field"]), str(each["message"])) for each in await self.plane.get("/v1/problems")]

    async def has_no_problem_of(self, kind: str) -> bool:
        """Return whether no object of ``kind`` has a Problem."""
        return not any(name.startswith(f"{kind}/") for name, _, _ in await self.problems())

    def token(self, namespace: str, account: str) -> str:
        """Return a token of the service account ``account`` of ``namespace``."""
        key = read_key(Stored(self.folder / "state", "tokens.pem").read_now() or b"")
        return sign_token(key, (namespace, account), AUDIENCE, dt.datetime.now(dt.UTC), _HOUR)

    async def sidecar(self, name: str, namespace: str, suffix: int) -> None:
        """Start the Envoy of a workload."""
        held = CredentialFiles(self.folder / f"{name}-credentials")
        held.write(token=self.token(namespace, name), roots=self.authority.bundle.decode())
        known = EnvoySpec(
            name=name,
            ip=f"{self.network}.{suffix}",
            labels={"app": name},
            namespace=namespace,
            account=name,
            credentials=held,
            statistics=_STATISTICS,
        )
        self.envoys[name] = await start_envoy(known, self.folder, self.plane.replica.xds_tls)

    async def begin(self) -> None:
        """Start the control plane, and an Envoy of ``web`` that knows nothing before."""
        self.plane.process = await start_replica(self.plane.replica, self.options, self.folder)
        await until(self.plane.ready, "the control plane is ready", watched=self.plane.process)
        await self.sidecar("web", SPACE, 11)
        for port in (HTTP, OTHER_HTTP, TCP):
            await until(partial(is_open, f"{self.network}.11", port), f"port {port} is open", watched=self.envoys["web"])

    async def begin_anew(self) -> None:
        """End the control plane and the Envoy of ``web``, and start others on the same files."""
        await self.envoys["web"].stop()
        if self.plane.process is not None:
            await self.plane.process.stop()
        await self.begin()

    async def stop(self) -> None:
        """End what was started."""
        await asyncio.gather(*(each.stop() for each in self.envoys.values()))
        await self.plane.stop()
        await self._admin.aclose()

    def _save(self, name: str, text: str) -> None:
        draft = self.folder / "manifests" / f"{name}.yaml~"
        draft.write_text(text)
        draft.rename(self.folder / "manifests" / f"{name}.yaml")


@contextlib.asynccontextmanager
async def policy_world(folder: Path, *options: str) -> AsyncIterator[PolicyWorld]:
    """Yield the workload, with its control plane started with ``options``; end everything with the block."""
    network = free_network((HTTP, OTHER_HTTP, TCP, PROXY, ADMIN_PORT, 8000, 8001))
    (folder / "manifests").mkdir()
    replica = Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(3)))
    world = PolicyWorld(folder, network, RunningReplica(replica))
    application = HttpServer(world.application, f"{network}.11:8000")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(world.stop)
        world._save("mesh", MESH.format(network=network))
        application.open()
        task = asyncio.create_task(application.run())
        stack.push_async_callback(ended, application, task)
        await stack.enter_async_context(await asyncio.start_server(echo, f"{network}.11", 8001))
        given = ("--files", str(folder / "manifests"), "--state", str(folder / "state"))
        allowed = ("--jwks-allow", f"http://{network}.0/24", "--jwks-refresh", "1")
        world.options = (*given, *allowed, *options)
        await world.begin()
        await world.sidecar("caller", "elsewhere", 12)
        await until(partial(is_open, f"{network}.12", PROXY), f"port {PROXY} is open", watched=world.envoys["caller"])
        yield world
