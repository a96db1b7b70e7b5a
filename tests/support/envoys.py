"""Meshes of real Envoys for tests, and steady traffic through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from controlplane.demo.apps import APP_PORT, PROXY_PORT, SERVICE_PORT
from controlplane.demo.credentials import CredentialFiles
from controlplane.demo.gateway import DemoGateway
from controlplane.demo.load import PAGE, REVIEWS, LoadGenerator, Tally
from controlplane.demo.mesh import HOSTS, LISTENERS, DemoMesh, RunningReplica
from controlplane.demo.processes import ADMIN_PORT
from controlplane.demo.stores import ClusterManifests as ClusterStore
from controlplane.demo.stores import FolderManifests as FolderStore
from controlplane.demo.templates import peer_authentication_manifest

__all__ = [
    "ADMIN_PORT",
    "APP_PORT",
    "HOSTS",
    "LISTENERS",
    "PAGE",
    "PROXY_PORT",
    "REVIEWS",
    "SERVICE_PORT",
    "ClusterStore",
    "CredentialFiles",
    "DemoGateway",
    "DemoMesh",
    "FolderStore",
    "LoadGenerator",
    "RunningReplica",
    "Tally",
    "peer_authentication_manifest",
]


@asynccontextmanager
async def running(folder: Path, *, secure: bool = False, edge: bool = False) -> AsyncIterator[DemoMesh]:
    """Yield the demo's mesh, started below ``folder``, with a gateway in front where it has an ``edge``; end it with the block."""
    world = DemoMesh(folder, FolderStore(folder / "manifests"), secure=secure, edge=edge)
    try:
        await world.start()
        yield world
    finally:
        await world.stop()


@asynccontextmanager
async def traffic(world: DemoMesh, url: str, *, per_second: float, by: LoadGenerator | None = None) -> AsyncIterator[Tally]:
    """Yield the tally of steady requests to ``url``, from within the mesh or ``by`` another caller, which end with the block."""
    tally, stop = Tally(), asyncio.Event()
    caller = by or world.caller
    task = asyncio.create_task(caller.steadily(url, tally, per_second=per_second, stop=stop))
    try:
        await caller.one(url, tally)
        yield tally
    finally:
        stop.set()
        await task


def rule(*routes: Mapping[str, object], **more: object) -> Mapping[str, object]:
    """Return a rule of a VirtualService."""
    return {"route": list(routes), **more}


def to(host: str, subset: str = "", weight: int = 100) -> Mapping[str, object]:
    """Return a destination."""
    destination = {"host": host, **({"subset": subset} if subset else {})}
    return {"destination": destination, "weight": weight}
