"""Puts faults into the mesh and takes them out again, and says when that has come to be so in every proxy.

Two leases end a fault that nobody ends. One is the proxies': what ECDS says of a fault in force has a TTL, which is renewed here several
times within it; a proxy that hears nothing more, because every control plane is gone, is without the fault when it has passed. The other is
the runner's: a fault that is not renewed by who has begun it is taken out of the mesh, here, so that a drill whose runner is gone ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from controlplane.fleet.fault_progress import FaultProgress, progress_of_fault
from controlplane.mesh.facts import Fact, FaultChange
from controlplane.mesh.mesh import Published
from controlplane.model.faults.faults import DrillFault, FaultId, FaultStage, StagedFault
from controlplane.serve.xds.subscribers import Footprint, Subscribers

log = logging.getLogger(__name__)

LEASE_MS = 10_000
RENEWALS = 4  # within a lease: a proxy that is slow to read for most of it still has the fault
MOST_FAULTS = 64


class Reached(NamedTuple):
    """That a stage was reached everywhere: when, by the monotonic clock, and what proxies had to do with it."""

    at: float
    progress: FaultProgress


@dataclass(slots=True)
class _Injected:
    staged: StagedFault
    until: float  # by the clock: not renewed, it is taken out then
    hold_s: float
    published: StagedFault | None = None  # as the proxies are told of it
    footprint: Footprint = frozenset()  # of the stage before this one


class FaultInjector:
    """The faults that are in the mesh by way of this control plane."""

    def __init__(
        self,
        submit: Callable[[str, Iterable[Fact]], None],
        subscribers: Subscribers,
        refreshes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with none; facts are handed to ``submit``, and reach ``subscribers`` with one of the next ``refreshes``."""
        self._submit = submit
        self._subscribers = subscribers
        self._refreshes = refreshes
        self._clock = clock
        self._injected: dict[FaultId, _Injected] = {}
        self._leaving: set[FaultId] = set()  # taken out, and proxies have not been told
        self._left: dict[FaultId, Footprint] = {}  # of those that were taken out, the latest last
        self._refreshes_seen = 0
        self._stirred = asyncio.Event()
        self._waiters: set[asyncio.Event] = set()

    @property
    def staged(self) -> tuple[StagedFault, ...]:
        """Return the faults that are in the mesh, sorted."""
        return tuple(self._injected[fault_id].staged for fault_id in sorted(self._injected))

    def prepare(self, faults: Iterable[DrillFault], *, hold_s: float, lease_ms: int = LEASE_MS) -> None:
        """Put ``faults`` into the mesh, where they do nothing yet; each is taken out that is not renewed for ``hold_s`` seconds.

        Raises ValueError where there would be more than can be, or one that cannot be done.
        """
        faults = list(faults)
        if mistakes := [f"{fault.id}: {fault.mistake}" for fault in faults if fault.mistake]:
            raise ValueError("; ".join(mistakes))
        new = {fault.id: StagedFault(fault, FaultStage.PREPARED, lease_ms) for fault in faults}
        if len(new.keys() | self._injected.keys()) > MOST_FAULTS:
            raise ValueError(f"expected at most {MOST_FAULTS} faults at a time")
        for fault_id, staged in new.items():
            self._leaving.discard(fault_id)
            self._left.pop(fault_id, None)
            self._put(fault_id, staged, hold_s)

    def begin(self, *ids: FaultId) -> None:
        """Have the faults ``ids`` in force from when proxies hear of it."""
        for fault_id in ids:
            self._move(fault_id, FaultStage.IN_FORCE)

    def end(self, *ids: FaultId) -> None:
        """Have the faults ``ids`` do nothing from when proxies hear of it; their places stay."""
        for fault_id in ids:
            self._move(fault_id, FaultStage.PREPARED)

    def remove(self, *ids: FaultId) -> None:
        """Take the faults ``ids`` out of the mesh, with their places. Those in force should ``end`` before, as that is heard sooner."""
        for fault_id in ids:
            if self._injected.pop(fault_id, None) is not None:
                self._leaving.add(fault_id)
                self._left[fault_id] = self._subscribers.footprint(fault_id)
                if len(self._left) > MOST_FAULTS:
                    del self._left[next(iter(self._left))]
                self._submit("faults", [FaultChange(fault_id, None)])
        self._stirred.set()

    def renew(self, *ids: FaultId) -> None:
        """Keep the faults ``ids`` for as long again as they were put in for."""
        for fault_id in ids:
            if injected := self._injected.get(fault_id):
                injected.until = self._clock() + injected.hold_s

    def progress(self, fault_id: FaultId) -> FaultProgress:
        """Return how far proxies have come with the fault ``fault_id`` as it is now, or with its removal."""
        injected = self._injected.get(fault_id)
        if injected is None:
            footprint, published = self._left.get(fault_id, frozenset()), fault_id not in self._leaving
        else:
            footprint = injected.footprint | self._subscribers.footprint(fault_id)
            published = injected.published == injected.staged
        return progress_of_fault(self._subscribers.progress_by_proxy(footprint), published=published)

    async def reached(self, *ids: FaultId) -> Reached:
        """Wait until every connected proxy that has to do with ``ids`` has accepted what was asked for last; return when that was."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while True:
                changed.clear()
                found = [self.progress(fault_id) for fault_id in ids]
                if all(progress.is_reached for progress in found):
                    return Reached(self._clock(), FaultProgress.of_all(found))
                await changed.wait()
        finally:
            self._waiters.discard(changed)

    def changed(self) -> None:
        """Take note that a proxy has said something, or has left."""
        for waiter in self._waiters:
            waiter.set()

    def published(self, publish: Callable[[Published], None]) -> Callable[[Published], None]:
        """Return what hands on to ``publish``, and takes note of what of the faults is published with it."""

        def noting(published: Published) -> None:
            publish(published)
            if self._refreshes() != self._refreshes_seen:  # not only endpoints, ahead of the rest
                self._refreshes_seen = self._refreshes()
                self._note_published()

        return noting

    async def run(self) -> None:
        """Renew what proxies hold of faults in force, and take out what nobody renews, until cancelled."""
        while True:
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._stirred.wait()
            now = self._clock()
            for fault_id in [each for each, injected in self._injected.items() if injected.until <= now]:
                log.warning("fault taken out", extra={"fault": str(fault_id), "reason": "nobody has renewed it"})
                self.end(fault_id)
                self.remove(fault_id)
            for fault_id, injected in self._injected.items():
                if injected.staged.stage is FaultStage.IN_FORCE:
                    self._subscribers.renew(fault_id)

    def _pause(self) -> float | None:
        """Return after how many seconds there is something to do, ``None``: when something is stirred."""
        leases = [each.staged.lease_ms / 1000 / RENEWALS for each in self._injected.values() if each.staged.stage is FaultStage.IN_FORCE]
        ends = [each.until - self._clock() for each in self._injected.values()]
        return max(0.0, min(leases + ends)) if ends else None

    def _move(self, fault_id: FaultId, stage: FaultStage) -> None:
        if (injected := self._injected.get(fault_id)) and injected.staged.stage is not stage:
            self._put(fault_id, replace(injected.staged, stage=stage), injected.hold_s)

    def _put(self, fault_id: FaultId, staged: StagedFault, hold_s: float) -> None:
        before = self._injected.get(fault_id)
        footprint = self._subscribers.footprint(fault_id)
        self._injected[fault_id] = _Injected(staged, self._clock() + hold_s, hold_s, before.published if before else None, footprint)
        self._submit("faults", [FaultChange(fault_id, staged)])
        self._stirred.set()

    def _note_published(self) -> None:
        for fault_id, injected in self._injected.items():
            injected.published = self._subscribers.staged_fault(fault_id)
        self._leaving = {fault_id for fault_id in self._leaving if self._subscribers.staged_fault(fault_id) is not None}
        self.changed()
