"""One run of a drill, from its first look at the proxies to its report.

Whatever ends it (its plan, a guard, somebody, an error, the end of the control plane), its faults are taken out of the mesh. Should not
even that be possible any more, proxies drop them by themselves once nobody renews their lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from controlplane.drill_runs.scraper import Counters
from controlplane.drills.judging.assess import RunFacts, assess
from controlplane.drills.judging.objectives import shortfalls_at
from controlplane.drills.judging.report import Report
from controlplane.drills.measuring.series import Sample, Series
from controlplane.drills.planning.plan import PlannedRun
from controlplane.drills.planning.run import RunPhase, RunSeen, RunState, begin, step
from controlplane.fleet.fault_progress import FaultProgress
from controlplane.model.faults.faults import DrillFault, FaultId

_HOLD_S = 5.0  # without a look at the proxies, after which the mesh takes the faults out by itself
_DRAIN_S = 1.0  # for what is under way at the end to be answered: under load something always is
log = logging.getLogger(__name__)


class ReachedMoment(Protocol):
    """That a fault is at every proxy as it was asked for."""

    @property
    def at(self) -> float:
        """Return since when, by the clock."""

    @property
    def progress(self) -> FaultProgress:
        """Return which proxies have it, and which cannot."""


class FaultSwitch(Protocol):
    """What brings faults into the mesh, by their ids, and knows which proxies have them."""

    def prepare(self, faults: Iterable[DrillFault], *, hold_s: float) -> None:
        """Put ``faults`` into the mesh, where they do nothing yet; each is taken out that is not renewed for ``hold_s`` seconds."""

    def begin(self, *ids: FaultId) -> None:
        """Have the faults ``ids`` in force from when proxies hear of it."""

    def end(self, *ids: FaultId) -> None:
        """Have the faults ``ids`` do nothing from when proxies hear of it."""

    def remove(self, *ids: FaultId) -> None:
        """Take the faults ``ids`` out of the mesh."""

    def renew(self, *ids: FaultId) -> None:
        """Keep the faults ``ids``."""

    async def reached(self, *ids: FaultId) -> ReachedMoment:
        """Wait until every proxy that has to do with ``ids`` has accepted what was asked for last; return since when."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How a run goes on, after one look at the proxies."""

    state: RunState
    sample: Sample
    now: float  # seconds since it began


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """What a run is called, when it began (seconds since the epoch), and by which seed it chooses."""

    id: str
    started_at: float
    seed: int


class DrillRun:
    """One run."""

    def __init__(self, name: RunName, planned: PlannedRun, switch: FaultSwitch, counters: Counters, clock: Callable[[], float]) -> None:
        """Do what is ``planned`` by ``switch``, and measure it by ``counters``; ``clock`` is that of ``switch``, in seconds."""
        self.name = name
        self.planned = planned
        self._ids = tuple(fault.id for fault in planned.faults)
        self._switch = switch
        self._counters = counters
        self._clock = clock
        self._began = clock()
        self._abort = ""
        self._wake = asyncio.Event()
        self.state = begin(planned.timing)
        self._series = Series(planned.edges)
        self._warnings: dict[str, None] = dict.fromkeys(planned.warnings)  # each once, in order
        self._reached: dict[int, float] = {}  # by position: since when a fault is at every proxy as it was asked for last

    @property
    def now(self) -> float:
        """Return the seconds since it began."""
        return self._clock() - self._began

    def abort(self, reason: str) -> None:
        """Have it end, for ``reason``."""
        self._abort = self._abort or reason
        self._wake.set()

    async def run(self, progress: Callable[[RunProgress], None], before: Report | None = None) -> Report:
        """Run it, tell ``progress`` after each look, and return its report, which is compared with the one ``before``."""
        try:
            self._switch.prepare(self.planned.faults, hold_s=max(_HOLD_S, 4 * self.planned.interval_s))
            async with asyncio.TaskGroup() as tasks:
                await self._until_ended(progress, tasks)
        finally:
            self._switch.end(*self._ids)
            self._switch.remove(*self._ids)
            log.info("drill ended", extra={"drill": self.planned.drill, "run": self.name.id, "phase": self.state.phase.value})
        return assess(self._facts(), self.state, self._series, before)

    async def _until_ended(self, progress: Callable[[RunProgress], None], tasks: asyncio.TaskGroup) -> None:
        watches: dict[int, asyncio.Task[None]] = {}
        asked = [False] * len(self._ids)
        while self.state.phase is not RunPhase.ENDED:
            begun = self.now
            sample = await self._look()
            self.state = step(self.planned.timing, self.state, self._seen(sample.at))
            for position, wanted in enumerate(self.state.wanted):
                if wanted is not asked[position]:
                    asked[position] = wanted
                    self._ask(position, wanted=wanted)
                    if (watch := watches.pop(position, None)) is not None:
                        watch.cancel()
                    watches[position] = tasks.create_task(self._watch(position))
            progress(RunProgress(self.state, sample, sample.at))
            await self._wait(begun + self.planned.interval_s - self.now)
        for watch in watches.values():
            watch.cancel()
        await self._drained()

    def _ask(self, position: int, *, wanted: bool) -> None:
        self._reached.pop(position, None)
        (self._switch.begin if wanted else self._switch.end)(self._ids[position])

    async def _watch(self, position: int) -> None:
        reached = await self._switch.reached(self._ids[position])
        self._reached[position] = reached.at - self._began
        unable, name = reached.progress.unable, self.planned.abouts[position].name or self.planned.abouts[position].sort
        if unable:
            self._warnings[f"{name}: {len(unable)} proxies refuse it or cannot have it, {unable[0]} for one"] = None
        if self.state.wanted[position] and not reached.progress.accepted:
            self.abort(f"{name}: no proxy that is connected can make this fault")
        self._wake.set()

    async def _look(self) -> Sample:
        self._switch.renew(*self._ids)
        readings = await self._counters.read(self.planned.proxies, {edge.host for edge in self.planned.edges})
        return self._series.add(self.now, readings)

    def _seen(self, now: float) -> RunSeen:
        reached = dict(self._reached)
        since = max([self.state.gone_at or 0.0, *(fault.in_force_at or 0.0 for fault in self.state.faults)])
        unsteady = shortfalls_at(self.planned.targets, self._series, now, since=since)
        guard = shortfalls_at(self.planned.guards, self._series, now, since=since)
        last = self._series.samples[-1]
        return RunSeen(
            now=now,
            in_force=reached,
            gone=reached,
            unsteady=str(unsteady[0]) if unsteady else "",
            guard=str(guard[0]) if guard else "",
            abort=self._abort,
            unread="" if last.read else "no proxy shows its counters (port 15090 of its address)",
        )

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until there is something to look at at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        self._wake.clear()

    async def _drained(self) -> None:
        """Look until nothing is under way, or for a moment: only what has ended is counted."""
        ends = self.now + (_DRAIN_S if self.state.spans else 0.0)
        while self.now < ends:
            sample = await self._look()
            if not any(counts.values.get("active", 0) for counts in sample.counts):
                return
            await asyncio.sleep(self.planned.interval_s)

    def _facts(self) -> RunFacts:
        return RunFacts(
            id=self.name.id,
            drill=self.planned.drill,
            started_at=self.name.started_at,
            seconds=self._series.samples[-1].at if self._series.samples else self.now,
            interval_s=self.planned.interval_s,
            seed=self.name.seed,
            faults=self.planned.abouts,
            targets=self.planned.targets,
            has_outlier_detection=self.planned.has_outlier_detection,
            warnings=(*self._warnings, *_silent(self._series.samples)),
        )


def _silent(samples: Iterable[Sample]) -> tuple[str, ...]:
    most = max((sample.silent for sample in samples), default=0)
    return (f"up to {most} proxies did not show their counters at a time: what they counted meanwhile is told later",) if most else ()
