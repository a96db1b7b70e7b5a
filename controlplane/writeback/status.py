"""Writes what became of each object: each replica what its own proxies have, and the leader the status of the objects.

Level-triggered: what is kept is which objects to look at again, and since when the status of each is wrong, never what to write. All are
looked at once a second; of what is found to be wrong the oldest is written first.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from controlplane.fleet.rollout import Rollout, total_rollout
from controlplane.fleet.streams import STARTING_S
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError
from controlplane.kube.lease import Leadership
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.telemetry import OngoingFailure
from controlplane.writeback.conditions import Condition, is_pending, mean_the_same, updated_conditions, was_programmed
from controlplane.writeback.debts import Debts, Recounts
from controlplane.writeback.events import EventWriter
from controlplane.writeback.replicas import Replicas
from controlplane.writeback.standings import Collection, GenerationsSeen, Standings, encode_standings
from controlplane.writeback.status_writes import StatusWrite, StatusWrites, Versioned

log = logging.getLogger(__name__)

NOT_WRITTEN = "StatusNotWritten"
_ROUND_S = 1.0
_WRITES = 100  # in a round: of those that were not refused before
_RETRIES = 10  # and of those that were
_YIELD_EVERY = 20  # objects looked at before other tasks get a turn
_SWEEP_S = 5.0  # between two looks at the proxies of all objects
_SWEEP_SHARE = 10.0  # and so many times as long as one takes
_AFTERMATH_S = STARTING_S + 2.0  # for which a change may show late: a proxy that has come and accepts nothing
_ON_ITS_WAY_S = 2.0  # that a new version may take to reach all proxies before it is told that some lack it
_LAPSE_S = 10.0  # for which a version that all had may be on its way again


class ObjectWithStatus(Versioned, Protocol):
    """What the API server says of an object beside its content."""

    @property
    def conditions(self) -> Sequence[Mapping[str, object]]:
        """Return the conditions it has."""

    @property
    def observed_generation(self) -> int:
        """Return which generation its status is about, 0 where it does not say."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Return what is wrong with it by itself."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What the writer asks the rest of the control plane."""

    synced: asyncio.Event  # set when everything has been read: before that, nothing can be said
    objects: Callable[[], Mapping[Key, ObjectWithStatus]]  # of the objects that have a status of ours
    collection: Collection  # of which watch an object is
    look: Callable[[], Awaitable[None]]  # to be awaited before ``rollout`` is asked of one object after the other
    cross_object_problems: Callable[[Key], Sequence[Problem]]  # what is wrong between an object and others
    rollout: Callable[[Key], Rollout]  # among our own proxies
    change_counters: Callable[[], object]  # another value whenever any rollout or problem may have changed
    identity: Callable[[], str]  # what other replicas and operators may know of the authority


class StatusWriter:
    """Writes for one replica."""

    def __init__(self, client: Client, inputs: StatusInputs, replica: Leadership, leader: Leadership, replicas: Replicas) -> None:
        """Write what ``inputs`` says: to other ``replicas`` while ``replica`` is held, the status of objects while ``leader`` is too."""
        self._client = client
        self._inputs = inputs
        self._replica = replica
        self._leader = leader
        self._replicas = replicas
        self._counters: object = None
        self._swept_at, self._sweep_until, self._sweep_s = -math.inf, 0.0, 0.0
        self._rollouts: dict[Key, Rollout] = {}
        self._totals: dict[Key, Rollout | None] = {}  # of all replicas
        self._generations = GenerationsSeen()
        self._looked_at: dict[Key, tuple[str, Rollout | None]] = {}  # in which version, with which sum nothing was found to be wrong
        self._debts, self._recounts = Debts(), Recounts()
        self._writes = StatusWrites(client, leader, self._debts, EventWriter(client, replicas.pod))
        self._telling = OngoingFailure(log, "other replicas not told", "other replicas are told again")
        self._failure = OngoingFailure(log, "other replicas not heard, and no status written", "other replicas are heard again")

    @property
    def writes(self) -> int:
        """Return how many statuses were written."""
        return self._writes.written

    @property
    def failures(self) -> int:
        """Return how often the API server did not take one."""
        return self._writes.failures

    async def run(self) -> None:
        """Work until cancelled."""
        await self._inputs.synced.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._writes.run())
            while True:
                began = time.monotonic()
                try:
                    await self._round()
                    self._failure.worked()
                except KubernetesError as error:
                    self._failure.failed(str(error), error.kind)
                except Exception:  # internal error; the next round begins anew
                    log.exception("status failed")
                await asyncio.sleep(max(_ROUND_S / 2, began + _ROUND_S - time.monotonic()))

    def problems(self) -> tuple[Problem, ...]:
        """Return a Problem for each object whose status the API server does not take."""
        return tuple(
            Problem(key, "status", Severity.WARNING, NOT_WRITTEN, f"what became of it cannot be written: {reason}")
            for key, reason in self._debts.refused().items()
        )

    async def _round(self) -> None:
        records = self._inputs.objects()
        await self._refresh(records)
        await self._publish(records)
        if not self._leader.is_leader:
            self._looked_at.clear()
            self._debts.clear()
            self._recounts.clear()
            await self._replicas.observe()
            return
        await self._look(records, await self._replicas.other_standings())
        now = time.monotonic()
        first = chain(islice(self._debts.due(now, refused=False), _WRITES), self._recounts.take(now))
        again = islice(self._debts.due(now, refused=True), _RETRIES)
        await self._writes.fill(self._to_write(first, records), self._to_write(again, records))

    async def _publish(self, records: Mapping[Key, ObjectWithStatus]) -> None:
        """Tell the other replicas; that it cannot be told keeps nothing from being written."""
        if not self._replica.is_leader:
            return
        try:
            await self._replicas.publish(encode_standings(records, self._rollouts, self._inputs.collection), self._inputs.identity())
        except KubernetesError as error:
            self._telling.failed(str(error), error.kind)
        else:
            self._telling.worked()

    async def _refresh(self, records: Mapping[Key, ObjectWithStatus]) -> None:
        """Look again at how far objects have come: those on their way, and all of them for a while after the counters have changed."""
        counters, now = self._inputs.change_counters(), time.monotonic()
        await self._inputs.look()
        if counters != self._counters:
            self._counters, self._sweep_until = counters, now + _AFTERMATH_S
        everything = self._swept_at < self._sweep_until and now - self._swept_at > max(_SWEEP_S, _SWEEP_SHARE * self._sweep_s)
        if everything:
            self._swept_at = now
            self._looked_at.clear()  # what is wrong with an object may have changed too
        self._rollouts = {key: rollout for key, rollout in self._rollouts.items() if key in records}
        for count, key in enumerate(sorted(records)):
            rollout = self._rollouts.get(key)
            if everything or rollout is None or not rollout.settled or rollout.generation != records[key].generation:
                self._rollouts[key] = self._inputs.rollout(key)
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if everything:
            self._sweep_s = time.monotonic() - now

    async def _look(self, records: Mapping[Key, ObjectWithStatus], others: Sequence[Standings]) -> None:
        """Note which objects have a status that is not as it should be."""
        seen, now = self._generations.look(records), time.monotonic()
        for keyed in (self._debts, self._recounts, self._writes):
            keyed.forget_others(records)
        self._looked_at = {key: state for key, state in self._looked_at.items() if key in records}
        self._totals = {}
        for count, (key, record) in enumerate(records.items()):
            collection = self._inputs.collection(key)
            rollouts = (self._rollouts.get(key), *(other.rollout(key, seen[key], collection) for other in others))
            total = self._totals[key] = total_rollout(rollouts, record.generation)
            if self._looked_at.get(key) != (record.version, total):
                try:
                    self._compare(record, total, now)
                except Exception:  # internal error of one object, which is not looked at again before it changes
                    log.exception("status failed", extra={"object": str(key)})
                    self._looked_at[key] = (record.version, total)
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _compare(self, record: ObjectWithStatus, total: Rollout | None, now: float) -> None:
        """Note whether the status of the object of ``record``, which has come as far as ``total`` says, is as it should be."""
        key = record.key
        updated = self._updated(record)
        of_this_generation = record.observed_generation in (0, record.generation)
        if of_this_generation and (updated is None or mean_the_same(updated, record.conditions)):
            self._debts.paid(key)
            self._looked_at[key] = (record.version, total)
            if updated is None:
                self._recounts.drop(key)
            else:
                self._recounts.want(key, total, now)
            return
        self._recounts.drop(key)
        lapse = of_this_generation and was_programmed(record.conditions)
        patience_s = 0.0 if updated is None or not is_pending(updated) else _LAPSE_S if lapse else _ON_ITS_WAY_S
        self._debts.owe(key, now, patience_s)
        self._looked_at.pop(key, None)

    def _to_write(self, keys: Iterable[Key], records: Mapping[Key, ObjectWithStatus]) -> Iterator[StatusWrite]:
        for key in keys:
            record = records[key]
            yield StatusWrite(record, self._updated(record) or record.conditions)

    def _updated(self, record: ObjectWithStatus) -> Sequence[Condition] | None:
        problems = (*record.problems, *self._inputs.cross_object_problems(record.key))
        return updated_conditions(record.conditions, record.generation, problems, self._totals.get(record.key), _time())


def _time() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
