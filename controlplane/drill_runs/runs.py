"""The runs of drills in this control plane: those that go on, one for a service, and the reports of those that are over."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import NamedTuple

from controlplane.drill_runs.runner import DrillRun, FaultSwitch, RunName, RunProgress
from controlplane.drill_runs.scraper import Counters
from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.drills.planning.plan import DrilledMesh, PlannedRun, plan
from controlplane.errors import UserError
from controlplane.model.faults.faults import FaultId
from controlplane.model.keys import DRILL, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.drills.drill import Drill

_CODES: Mapping[DrillVerdict, str] = {
    DrillVerdict.HELD: "DrillHeld",
    DrillVerdict.DEVIATED: "DrillDeviated",
    DrillVerdict.ABORTED: "DrillAborted",
    DrillVerdict.NOT_RUN: "DrillNotRun",
}
_KEPT_REPORTS = 50
_MOST_RUNS = 8
_UNTOLD = 10  # looks of a run whose listener is slow
_NOBODY = "whoever had started it does not listen any more"
_STOPPING = "the control plane is stopping"
log = logging.getLogger(__name__)


class DrillRefused(UserError):
    """A drill may not run; the text says why."""


class RunClocks(NamedTuple):
    """The time in seconds: since the epoch, and by a clock that nobody sets, which is that of the switch."""

    epoch: Callable[[], float]
    monotonic: Callable[[], float]


class DrillRuns:
    """What runs drills."""

    def __init__(self, mesh: DrilledMesh, switch: FaultSwitch, counters: Counters, clocks: RunClocks) -> None:
        """Run drills in ``mesh`` by ``switch``, measured by ``counters``, by ``clocks``."""
        self._mesh = mesh
        self._switch = switch
        self._counters = counters
        self._clocks = clocks
        self._running: dict[str, LiveRun] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = False
        self._reports: deque[Report] = deque(maxlen=_KEPT_REPORTS)
        self.finished: dict[str, int] = {}  # how many runs are over, by verdict

    def preview(self, drill: Drill, seed: int = 0) -> PlannedRun:
        """Return what a run of ``drill`` would do."""
        return plan(drill, self._mesh, seed)

    def running(self) -> tuple[DrillRun, ...]:
        """Return the runs that go on."""
        return tuple(live.run for live in self._running.values())

    def reports(self) -> tuple[Report, ...]:
        """Return the reports of runs that are over, the last first."""
        return tuple(reversed(self._reports))

    def report(self, run_id: str) -> Report | None:
        """Return the report of the run ``run_id``."""
        return next((report for report in self._reports if report.id == run_id), None)

    def problems(self) -> Iterator[Problem]:
        """Yield what there is to say of drills: that they run, and what their last runs have found."""
        said: set[str] = set()
        for run in self.running():
            said.add(run.planned.drill)
            yield Problem(_key(run.planned.drill), "", Severity.INFO, "DrillRuns", f"run {run.name.id}: {run.state.phase.value}")
        for report in self.reports():
            if report.drill not in said:
                said.add(report.drill)
                severity = Severity.INFO if report.verdict is DrillVerdict.HELD else Severity.WARNING
                message = f"run {report.id}: {report.verdict}: {report.reason}"
                yield Problem(_key(report.drill), "", severity, _CODES[report.verdict], message)

    @property
    def version(self) -> object:
        """Return what is the same as long as ``problems`` are."""
        return tuple((run.name.id, run.state.phase) for run in self.running()), sum(self.finished.values())

    def abort(self, run_id: str, reason: str) -> bool:
        """Have the run ``run_id`` end, for ``reason``; return whether there is one."""
        live = self._running.get(run_id)
        if live is not None:
            live.run.abort(reason)
        return live is not None

    def stop(self) -> tuple[FaultId, ...]:
        """Have all runs end, their faults at once, and start no others; return these faults."""
        self._stopping = True
        ids = tuple(fault.id for live in self._running.values() for fault in live.run.planned.faults)
        self._switch.end(*ids)
        for live in self._running.values():
            live.run.abort(_STOPPING)
        return ids

    async def run(self) -> None:
        """Run what is started, until this is cancelled: then all faults are taken out."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.Event().wait()

    def start(self, drill: Drill, seed: int | None = None) -> LiveRun:
        """Start a run of ``drill`` and return it; raises DrillRefused."""
        seed = secrets.randbelow(1 << 31) if seed is None else seed
        planned = self.preview(drill, seed)
        reasons = [*planned.refused, *self._in_the_way(planned)]
        if self._tasks is None or self._stopping:
            reasons.append(_STOPPING)
        if reasons or self._tasks is None:
            raise DrillRefused("; ".join(reasons))
        name = RunName(id=secrets.token_hex(4), started_at=self._clocks.epoch(), seed=seed)
        live = LiveRun(DrillRun(name, planned, self._switch, self._counters, self._clocks.monotonic))
        self._running[name.id] = live
        before = next((report for report in self.reports() if report.drill == planned.drill), None)
        self._tasks.create_task(self._run(live, before))
        log.info("drill started", extra={"drill": planned.drill, "run": name.id})
        return live

    async def _run(self, live: LiveRun, before: Report | None) -> None:
        try:
            report = await live.run.run(live.tell, before)
        except Exception:  # an internal error, of one run: its faults are out
            log.exception("drill failed", extra={"drill": live.run.planned.drill, "run": live.run.name.id})
        else:
            self._reports.append(report)
            self.finished[report.verdict] = self.finished.get(report.verdict, 0) + 1
            live.tell(report)
        finally:
            del self._running[live.run.name.id]
            live.tell(None)

    def _in_the_way(self, planned: PlannedRun) -> Iterator[str]:
        if len(self._running) >= _MOST_RUNS:
            yield f"{_MOST_RUNS} drills run already"
        for live in self._running.values():
            for host in sorted(planned.hosts & live.run.planned.hosts):
                yield f"{host} is drilled by {live.run.planned.drill} already, run {live.run.name.id}"


def _key(drill: str) -> Key:
    namespace, _, name = drill.partition("/")
    return DRILL.key(namespace, name)


class LiveRun:
    """A run that goes on, and what there is to tell of it."""

    def __init__(self, run: DrillRun) -> None:
        """Tell of ``run``."""
        self.run = run
        self._told: deque[RunProgress | Report] = deque(maxlen=_UNTOLD)
        self._over = False
        self._news = asyncio.Event()

    def tell(self, news: RunProgress | Report | None) -> None:
        """Take in how it goes on, at the end its report; ``None``: that was all."""
        if news is None:
            self._over = True
        else:
            self._told.append(news)
        self._news.set()

    async def steps(self) -> AsyncIterator[RunProgress | Report]:
        """Yield how it goes on, and at the end its report. It ends when its one listener does not listen any more."""
        try:
            while self._told or not self._over:
                if self._told:
                    yield self._told.popleft()
                else:
                    self._news.clear()
                    await self._news.wait()
        finally:
            self.run.abort(_NOBODY)
