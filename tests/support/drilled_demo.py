"""The demo's mesh with drills, and a client that keeps a record of each request while one runs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from controlplane.demo.load import REVIEWS, client_through_sidecar
from controlplane.demo.mesh import HOSTS, DemoMesh, RunningReplica
from controlplane.demo.processes import ADMIN_PORT
from controlplane.demo.stores import FolderManifests
from controlplane.drill_runs.client import DrillClient, drill_client
from controlplane.drills.judging.report import Report
from controlplane.untyped import Json, section, text

POLICY = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3, interval: 500ms, baseEjectionTime: 1s, maxEjectionPercent: 100}}
"""


@dataclass
class Record:
    """What a client has seen of each request: its status, and when it ended, in seconds since the epoch."""

    answers: list[tuple[int, float]] = field(default_factory=list)

    @property
    def failures(self) -> list[float]:
        """Return when those ended that failed."""
        return [at for status, at in self.answers if status >= 500]


@dataclass
class DrilledDemo:
    """The mesh, and what asks its control plane for drills."""

    world: DemoMesh
    client: DrillClient

    async def run(self, drill: Json, record: Record) -> Report:
        """Run ``drill`` with requests from its first look at the proxies until it is steady again; what became of them is in ``record``."""
        load: asyncio.Task[None] | None = None
        stop = asyncio.Event()
        async with self.caller() as caller:
            async for line in self.client.lines("/v1/runs", {"document": drill}):
                if found := section(line, "report"):
                    return Report.model_validate(found)
                if section(line, "progress") and load is None:
                    load = asyncio.create_task(steadily(caller, record, stop))
                if text(section(line, "progress"), "phase") == "after" and load is not None:
                    stop.set()
                    await load
        raise AssertionError("there was no report")

    def caller(self) -> httpx.AsyncClient:
        """Return a client that asks as productpage does."""
        return client_through_sidecar(self.world.instances["productpage-v1"].ip)

    async def ejections(self) -> int:
        """Return how often the caller's Envoy has ejected an instance of reviews, by its own word."""
        async with httpx.AsyncClient() as client:
            url = f"http://{self.world.instances['productpage-v1'].ip}:{ADMIN_PORT}/stats"
            answer = await client.get(url, params={"filter": "reviews.*ejections_enforced_total$"})
        return sum(int(line.rpartition(": ")[2]) for line in answer.text.splitlines())


async def steadily(caller: httpx.AsyncClient, record: Record, stop: asyncio.Event) -> None:
    """Ask for reviews 50 times a second until ``stop``."""

    async def one() -> None:
        answer = await caller.get(REVIEWS)
        record.answers.append((answer.status_code, time.time()))

    async with asyncio.TaskGroup() as tasks:
        while not stop.is_set():
            tasks.create_task(one())
            await asyncio.sleep(1 / 50)


@contextlib.asynccontextmanager
async def drilled_demo() -> AsyncIterator[DrilledDemo]:
    """Yield the running mesh; end everything with the block."""
    folder = Path(tempfile.mkdtemp(prefix="navarch-drill-"))  # the path of a socket has to be short
    world = DemoMesh(folder, FolderManifests(folder / "manifests"))
    socket = str(folder / "drills.sock")
    world.planes["navarch"] = RunningReplica(replace(world.planes["navarch"].replica, drills=socket))
    try:
        await world.store.save("policy", POLICY)
        await world.start()
        await world.accepted(world.route("reviews", [{"route": [{"destination": {"host": "reviews"}}], "retries": {"attempts": 0}}]), HOSTS)
        async with drill_client(socket) as client:
            yield DrilledDemo(world, client)
    finally:
        await world.stop()
        shutil.rmtree(folder, ignore_errors=True)
