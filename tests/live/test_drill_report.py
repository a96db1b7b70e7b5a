"""The report of a drill against what its client has seen of every request, on real Envoys."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from controlplane.demo.load import REVIEWS, client_through_sidecar
from controlplane.demo.mesh import HOSTS, DemoMesh, RunningReplica
from controlplane.demo.processes import ADMIN_PORT
from controlplane.demo.stores import FolderManifests
from controlplane.drill_runs.client import DrillClient, NotAnswered, drill_client
from controlplane.drills.judging.report import EdgeReport, Report, Verdict
from controlplane.untyped import Json, section, text
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRODUCTPAGE = {"selector": {"matchLabels": {"app": "productpage"}}}
STEADY = {"service": "reviews", "successRate": 99.0, "caller": PRODUCTPAGE}
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
        return [at for status, at in self.answers if status >= 500]


@dataclass
class Drilled:
    world: DemoMesh
    client: DrillClient

    async def run(self, drill: Json, record: Record) -> Report:
        """Run ``drill`` with requests from its first look at the proxies until it is steady again; what became of them is in ``record``."""
        load: asyncio.Task[None] | None = None
        stop = asyncio.Event()
        async with client_through_sidecar(self.world.instances["productpage-v1"].ip) as caller:
            async for line in self.client.lines("/v1/runs", {"document": drill}):
                if found := section(line, "report"):
                    return Report.model_validate(found)
                if section(line, "progress") and load is None:
                    load = asyncio.create_task(_steadily(caller, record, stop))
                if text(section(line, "progress"), "phase") == "after" and load is not None:
                    stop.set()
                    await load
        raise AssertionError("there was no report")

    async def ejections(self) -> int:
        """Return how often the caller's Envoy has ejected an instance of reviews, by its own word."""
        async with httpx.AsyncClient() as client:
            url = f"http://{self.world.instances['productpage-v1'].ip}:{ADMIN_PORT}/stats"
            answer = await client.get(url, params={"filter": "reviews.*ejections_enforced_total$"})
        return sum(int(line.rpartition(": ")[2]) for line in answer.text.splitlines())


async def _steadily(caller: httpx.AsyncClient, record: Record, stop: asyncio.Event) -> None:
    async def one() -> None:
        answer = await caller.get(REVIEWS)
        record.answers.append((answer.status_code, time.time()))

    async with asyncio.TaskGroup() as tasks:
        while not stop.is_set():
            tasks.create_task(one())
            await asyncio.sleep(1 / 50)


def drill(name: str, fault: Json, **spec: object) -> Json:
    whole = {
        "steadyState": [STEADY],
        "inject": [{"service": "reviews", **fault}],
        "before": "2s",
        "after": "2s",
        "interval": "250ms",
        **spec,
    }
    return {"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": {"name": name, "namespace": "default"}, "spec": whole}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drilled() -> AsyncIterator[Drilled]:
    folder = Path(tempfile.mkdtemp(prefix="navarch-drill-"))  # the path of a socket has to be short
    world = DemoMesh(folder, FolderManifests(folder / "manifests"))
    socket = str(folder / "drills.sock")
    world.planes["navarch"] = RunningReplica(replace(world.planes["navarch"].replica, drills=socket))
    try:
        await world.store.save("policy", POLICY)
        await world.start()
        await world.accepted(world.route("reviews", [{"route": [{"destination": {"host": "reviews"}}], "retries": {"attempts": 0}}]), HOSTS)
        async with drill_client(socket) as client:
            yield Drilled(world, client)
    finally:
        await world.stop()
        shutil.rmtree(folder, ignore_errors=True)


def edge(report: Report) -> EdgeReport:
    [found] = report.edges
    return found


async def test_the_report_has_each_request_as_its_client_saw_it(drilled: Drilled) -> None:
    record = Record()
    before = await drilled.ejections()

    report = await drilled.run(drill("all-fail", {"abort": {"httpStatus": 503}, "duration": "2s"}), record)

    failures = record.failures
    whole = edge(report).whole
    assert report.verdict is Verdict.DEVIATED
    assert failures
    assert (whole.requests, whole.failures) == (len(record.answers), len(failures))
    assert whole.ejections == await drilled.ejections() - before > 0
    [fault] = report.faults
    assert fault.gone_at is not None
    assert report.recovered_after is not None
    recovered_after = max(0.0, max(failures) - report.started_at - fault.gone_at)
    assert abs(report.recovered_after - recovered_after) <= report.recovery_precision
    assert any("ejections by outlier detection" in words for words in report.conclusions)


async def test_a_guard_ends_a_drill_within_two_seconds(drilled: Drilled) -> None:
    record = Record()
    guard = {**STEADY, "successRate": 90.0, "window": "1s"}

    report = await drilled.run(drill("guarded", {"abort": {"httpStatus": 503}, "duration": "60s"}, abortIf=[guard]), record)

    [fault] = report.faults
    assert report.verdict is Verdict.ABORTED
    assert "guard" in report.reason
    assert fault.in_force_at is not None
    assert fault.gone_at is not None
    assert fault.gone_at - fault.in_force_at <= 2.0
    assert max(record.failures) - report.started_at - fault.gone_at <= 3.0


async def test_what_reaches_too_far_is_not_run(drilled: Drilled) -> None:
    too_far = drill("too-far", {"abort": {"httpStatus": 503}, "duration": "2s"}, blastRadius={"pods": 1})

    with pytest.raises(NotAnswered, match="blast radius") as refused:
        await drilled.run(too_far, Record())

    assert refused.value.refused


async def test_a_fault_goes_with_who_has_started_the_drill(drilled: Drilled) -> None:
    long = drill("left-alone", {"abort": {"httpStatus": 503}, "duration": "60s"}, before="250ms")
    async with client_through_sidecar(drilled.world.instances["productpage-v1"].ip) as caller:
        await caller.get(REVIEWS)
        load = asyncio.create_task(_steadily(caller, Record(), stop := asyncio.Event()))
        lines = drilled.client.lines("/v1/runs", {"document": long})
        async for line in lines:
            if "in force" in section(section(line, "progress"), "faults").values():
                break
        await lines.aclose()  # type: ignore[attr-defined]
        stop.set()
        await load

        async def answers_again() -> bool:
            return (await caller.get(REVIEWS)).status_code == 200

        await until(answers_again, "the fault is gone")
        answers = [(await caller.get(REVIEWS)).status_code for _ in range(20)]

    assert answers == [200] * 20
