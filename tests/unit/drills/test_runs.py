"""Runs with proxies and faults that are not real: what they ask for, report, and take back."""

# ruff: noqa: ARG002 - a fake answers the same, whatever is asked
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from controlplane.drill_runs.runner import RunProgress
from controlplane.drill_runs.runs import DrillRefused, DrillRuns, RunClocks
from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.drills.measuring.exposition import Counts, Reading
from controlplane.drills.planning.plan import DrilledInstance, DrilledProxy
from controlplane.fleet.fault_progress import FaultProgress
from controlplane.model.cluster_names import ClusterName
from controlplane.model.faults.faults import DrillFault, FaultId
from controlplane.objects.drills.drill import Drill
from controlplane.objects.parse import parse

HOST = "reviews.shop.svc.cluster.local"
PROXY = DrilledProxy("web", "10.0.0.1", "shop")


@dataclass(frozen=True)
class Reached:
    at: float
    progress: FaultProgress = field(default_factory=lambda: FaultProgress(published=True, accepted=("web",)))


@dataclass
class FakeProxies:
    """A mesh, a switch and counters in one; time goes on by half a second with each look at the proxies."""

    now: float = 1000.0
    staged: dict[FaultId, str] = field(default_factory=dict)
    past: list[str] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    breaks: bool = False  # the next look raises
    works: bool = True  # faults make requests fail

    def host(self, service: str, namespace: str) -> str | None:
        return HOST

    def namespace(self, host: str, client_namespace: str) -> str:
        return "shop"

    def proxies(self, namespace: str, labels: Sequence[tuple[str, str]]) -> Sequence[DrilledProxy]:
        return (PROXY,)

    def instances(self, host: str, client_namespace: str) -> Sequence[DrilledInstance]:
        return (DrilledInstance("10.0.0.1", "shop"),)

    def is_excluded(self, namespace: str) -> bool:
        return False

    def has_outlier_detection(self, host: str, client_namespace: str) -> bool:
        return False

    def virtual_services(self, host: str) -> Sequence[str]:
        return ()

    def requests_per_s(self) -> Mapping[str, float]:
        return {}

    def prepare(self, faults: Iterable[DrillFault], *, hold_s: float) -> None:
        self.staged.update({fault.id: "prepared" for fault in faults})

    def begin(self, *ids: FaultId) -> None:
        self.staged.update(dict.fromkeys(ids, "in force"))
        self.past.append("begun")

    def end(self, *ids: FaultId) -> None:
        self.staged.update(dict.fromkeys(ids, "prepared"))

    def remove(self, *ids: FaultId) -> None:
        for fault_id in ids:
            self.staged.pop(fault_id, None)
        self.past.append("removed")

    def renew(self, *ids: FaultId) -> None:
        pass

    async def reached(self, *ids: FaultId) -> Reached:
        return Reached(self.now)

    async def read(self, proxies: Sequence[DrilledProxy], hosts: Iterable[str]) -> Mapping[str, Reading | None]:
        if self.breaks:
            raise RuntimeError("a mistake of ours")
        await asyncio.sleep(0)
        self.now += 0.5
        self.completed += 50
        self.failed += 25 if self.works and "in force" in self.staged.values() else 0
        counts = Counts({"completed": self.completed, "5xx": self.failed, "attempts": self.completed})
        return {"web": Reading({ClusterName("outbound", 80, "", HOST): counts}, {})}

    def runs(self) -> DrillRuns:
        return DrillRuns(self, self, self, RunClocks(lambda: self.now, lambda: self.now))


def drill(**spec: object) -> Drill:
    inject = [{"service": "reviews", "duration": "3s", "abort": {"httpStatus": 503}}]
    steady = [{"service": "reviews", "successRate": 99.0}]
    whole = {"steadyState": steady, "inject": inject, "before": "2s", "after": "1s", "interval": "200ms", **spec}
    metadata = {"name": "one", "namespace": "shop"}
    found = parse({"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": metadata, "spec": whole}).object
    assert isinstance(found, Drill)
    return found


async def run(proxies: FakeProxies, runs: DrillRuns, wanted: Drill) -> tuple[list[RunProgress], Report | None]:
    serving = asyncio.create_task(runs.run())
    await asyncio.sleep(0)
    progress: list[RunProgress] = []
    report = None
    try:
        async for news in runs.start(wanted).steps():
            if isinstance(news, Report):
                report = news
            else:
                progress.append(news)
    finally:
        serving.cancel()
    return progress, report


async def test_a_run_breaks_measures_and_puts_back() -> None:
    proxies = FakeProxies()
    runs = proxies.runs()

    _, report = await run(proxies, runs, drill())

    assert report is not None
    assert report.verdict is DrillVerdict.DEVIATED
    [edge] = report.edges
    assert (edge.whole.requests, edge.whole.failures) == (proxies.completed - 50, proxies.failed)
    assert edge.during.success == pytest.approx(50, abs=5)
    assert report.detected_after is not None
    assert report.recovered_after is not None
    assert proxies.staged == {}
    assert proxies.past == ["begun", "removed"]
    assert runs.finished == {"DEVIATED": 1}
    assert [problem.code for problem in runs.problems()] == ["DrillDeviated"]


async def test_a_second_run_is_compared_with_the_first() -> None:
    proxies = FakeProxies()
    runs = proxies.runs()
    await run(proxies, runs, drill())
    proxies.works = False

    _, report = await run(proxies, runs, drill())

    assert report is not None
    assert report.verdict is DrillVerdict.HELD
    assert report.changes[0] == "the verdict was DEVIATED, and is HELD"


async def test_a_guard_ends_a_run() -> None:
    guard = [{"service": "reviews", "successRate": 80.0, "window": "1s"}]
    inject = [{"service": "reviews", "duration": "600s", "abort": {"httpStatus": 503}}]
    proxies = FakeProxies()

    _, report = await run(proxies, proxies.runs(), drill(abortIf=guard, inject=inject))

    assert report is not None
    assert report.verdict is DrillVerdict.ABORTED
    [fault] = report.faults
    assert fault.gone_at is not None
    assert fault.in_force_at is not None
    assert fault.gone_at - fault.in_force_at <= 2.0
    assert proxies.staged == {}


async def test_a_mistake_of_ours_leaves_nothing_behind() -> None:
    proxies = FakeProxies()
    proxies.breaks = True

    _, report = await run(proxies, proxies.runs(), drill())

    assert report is None
    assert proxies.staged == {}


async def test_a_service_is_drilled_by_one_at_a_time() -> None:
    proxies = FakeProxies()
    runs = proxies.runs()
    serving = asyncio.create_task(runs.run())
    await asyncio.sleep(0)
    first = runs.start(drill())

    with pytest.raises(DrillRefused, match="drilled by shop/one already"):
        runs.start(drill())

    assert runs.abort(first.run.name.id, "enough")
    serving.cancel()
    await asyncio.wait((serving,))
    assert proxies.staged == {}


async def test_nothing_is_started_once_the_control_plane_stops() -> None:
    runs = FakeProxies().runs()
    runs.stop()

    with pytest.raises(DrillRefused, match="stopping"):
        runs.start(drill())
