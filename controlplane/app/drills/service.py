"""Drills as a part of a control plane that serves: runs, and the socket at which they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import aiohttp
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from controlplane.admin.http_server import HttpServer
from controlplane.app.drills.mesh_view import MeshView
from controlplane.app.faults.injector import FaultInjector
from controlplane.drill_runs.api import drill_app
from controlplane.drill_runs.runs import DrillRuns, RunClocks
from controlplane.drill_runs.scraper import StatsScraper
from controlplane.fleet.load import LocalityLoad
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.keys import DRILL, Key
from controlplane.model.problems import Problem
from controlplane.writeback.status import StatusInputs

_TAKEN_BACK_S = 2.0  # for proxies to accept that faults end, when the control plane stops


class Drills:
    """The drills of a control plane."""

    def __init__(
        self, mesh: Mesh, sessions: Callable[[], Sequence[Session]], injector: FaultInjector, load: Callable[[], Iterable[LocalityLoad]]
    ) -> None:
        """Run drills in ``mesh``, whose proxies are those of ``sessions`` and report their ``load``, by ``injector``."""
        self._scraper = StatsScraper()
        self.runs = DrillRuns(MeshView(mesh, sessions, load), injector, self._scraper, RunClocks(time.time, time.monotonic))
        self._mesh = mesh
        self._injector = injector

    def server(self, socket: str) -> HttpServer:
        """Return what answers `navarch drill` at the Unix ``socket``."""
        return HttpServer(drill_app(self.runs, self._mesh.object), f"unix:{socket}", option="--drills")

    async def run(self) -> None:
        """Run what is started, until cancelled."""
        async with aiohttp.ClientSession() as session:
            self._scraper.open(session)
            await self.runs.run()

    async def stop(self) -> None:
        """Have all faults end, and wait a moment until proxies know: the streams by which they hear of it are to end next."""
        ids = self.runs.stop()
        if ids:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TAKEN_BACK_S):
                    await self._injector.reached(*ids)

    def problems(self) -> tuple[Problem, ...]:
        """Return what there is to say of the drills that are among the objects."""
        return tuple(problem for problem in self.runs.problems() if problem.object and self._mesh.object(problem.object))

    def status(self, inputs: StatusInputs) -> StatusInputs:
        """Return ``inputs`` with what there is to say of drills."""

        def problems_about(key: Key) -> tuple[Problem, ...]:
            own = tuple(problem for problem in self.problems() if problem.object == key) if key.group_kind == DRILL else ()
            return (*inputs.cross_object_problems(key), *own)

        return replace(
            inputs,
            cross_object_problems=problems_about,
            change_counters=lambda: (inputs.change_counters(), len(self.runs.running()), sum(self.runs.finished.values())),
        )

    def with_metrics(self, others: Callable[[], Iterator[Metric | None]]) -> Callable[[], Iterator[Metric | None]]:
        """Return what yields the metrics of ``others``, and those of drills."""

        def metrics() -> Iterator[Metric | None]:
            yield from others()
            yield GaugeMetricFamily("navarch_drills_running", "Drills that run.", value=len(self.runs.running()))
            over = CounterMetricFamily("navarch_drills", "Drills that were run, by verdict.", labels=["verdict"])
            for verdict, count in sorted(self.runs.finished.items()):
                over.add_metric([verdict], count)
            yield over

        return metrics
