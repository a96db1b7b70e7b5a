"""Runs: a size, what is measured of it, and the figures that came of it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tests.bench import measure, recompute
from tests.bench.measure import Figures
from tests.bench.real_envoys import envoys
from tests.bench.served import Served, bare, served
from tests.bench.stores import Files, Kubernetes, WorkloadStore, kubernetes
from tests.bench.workload import Size
from tests.support import go_programs, kube_binaries
from tests.support.processes import NotReady

Step: TypeAlias = Callable[[Served], Awaitable[Figures]]

BASIC = ("connect", "endpoint", "route")
ALSO = ("services", "reconnect", "envoys", "slow", "churn-200", "churn-1000", "rollout", "left")  # in this order, where several are chosen
STEPS: dict[str, Step] = {
    "connect": measure.connect,
    "endpoint": measure.endpoint,
    "route": measure.route,
    "services": measure.services,
    "churn-200": partial(measure.churn, a_second=200),
    "churn-1000": partial(measure.churn, a_second=1000),
    "reconnect": measure.reconnect,
    "slow": measure.slow_readers,
    "rollout": measure.rollout,
    "left": measure.left,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run: ``also`` names steps beside the basic ones; ``bare``: the bare server too; ``database``: what changes cost it alone.

    ``group`` is the table of the page that its figures are in, ``also_of`` others that they belong to as well.
    """

    group: str
    size: Size
    also_of: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    bare: bool = False
    database: bool = False
    on_kubernetes: bool = False
    replicas: int = 1

    def __str__(self) -> str:
        size = self.size
        words = [f"{size.services} services", f"{size.proxies} proxies", f"{size.namespaces} namespaces"]
        words += ["Sidecar scoping"] if size.scoped else []
        words += ["metrics and access logs"] if size.observed else []
        words += [f"{self.replicas} replica{'s' * (self.replicas > 1)}"] if self.on_kubernetes else []
        return ", ".join((*words, *self.also))


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a plan; ``failed`` says why there is not more."""

    plan: Plan
    language: str = ""  # of the swarm
    figures: Figures = field(default_factory=dict)
    failed: str = ""

    def json(self) -> dict[str, object]:
        """Return it as JSON."""
        return asdict(self)


@dataclass
class _Progress:
    """How far a run has come."""

    step: str = "start"
    language: str = ""
    figures: Figures = field(default_factory=dict)


async def run(plan: Plan, repetitions: int = measure.REPETITIONS, *, go: bool | None = None) -> Run:
    """Run ``plan``; what fails ends it, and is part of the result."""
    progress = _Progress()
    with tempfile.TemporaryDirectory(prefix="navarch-bench-") as name:
        try:
            await _measure(plan, Path(name), progress, repetitions, go=go)
        except Exception as error:  # noqa: BLE001 - the boundary of a run: the others go on, and the page says what is wrong with this one
            return Run(plan, progress.language, progress.figures, f"{progress.step}: {type(error).__name__}: {error}")
    return Run(plan, progress.language, progress.figures)


async def _measure(plan: Plan, folder: Path, progress: _Progress, repetitions: int, *, go: bool | None) -> None:
    steps: dict[str, Step] = {
        **STEPS,
        "endpoint": partial(measure.endpoint, repetitions=repetitions),
        "route": partial(measure.route, repetitions=repetitions),
        "envoys": partial(envoys, folder=folder),
    }
    figures = progress.figures
    async with _store(plan, folder) as store:
        async with served(folder, plan.size, store, replicas=plan.replicas, pinned=plan.on_kubernetes, go=go) as own:
            progress.language = own.swarm.language
            for step in (*BASIC, *(each for each in ALSO if each in plan.also)):
                progress.step = step
                figures.update(await steps[step](own))
                if step == BASIC[-1] and plan.bare:
                    await own.swarm.save(folder)
        if isinstance(store, Kubernetes):
            figures["api_server_ms"] = statistics.median(store.request_ms)
    if plan.bare:
        progress.step = "bare server"
        async with bare(folder, plan.size, go=go) as other:
            figures.update(await measure.of_bare(other, repetitions))
    if plan.database:
        progress.step = "database"
        figures.update(await asyncio.to_thread(recompute.measure, plan.size))


@contextlib.asynccontextmanager
async def _store(plan: Plan, folder: Path) -> AsyncIterator[WorkloadStore]:
    if not plan.on_kubernetes:
        yield Files(folder / "manifests", plan.size)
        return
    if not go_programs.go_is_there() and not all(map(kube_binaries.found, ("etcd", "kube-apiserver"))):
        raise NotReady(f"there is no API server; {kube_binaries.HOW}")
    async with kubernetes(folder / "cluster") as cluster:
        await cluster.fill(plan.size)
        yield cluster
