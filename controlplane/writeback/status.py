"""Writes what became of each object: each replica what its own proxies have, and the leader the status of the objects.

Level-triggered: it keeps which objects to look at again, never what to write. A round a second; what does not fit into a round's budget of
writes is looked at in the next one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controlplane.fleet.rollout import Rollout, total_rollout
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.kube.resources import EVENTS, ApiResource
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.untyped import Json
from controlplane.writeback.conditions import updated_conditions
from controlplane.writeback.replicas import Replicas

log = logging.getLogger(__name__)

_ROUND_S = 1.0
_WRITES = 40  # in a round
_YIELD_EVERY = 20  # objects looked at before other tasks get a turn
_SWEEP_S = 5.0  # between two looks at all objects
_WITH_EVENTS = ("Accepted", "Programmed")  # conditions of which Events tell; those of others need not have a reason
# Reasons that are no news, or were told by another condition.
_WITHOUT_EVENTS = ("Pending", "NotTranslated", "NotAccepted", "LastGood", "NotInEffect")


class ObjectWithStatus(Protocol):
    """What the API server says of an object beside its content."""

    @property
    def key(self) -> Key:
        """Return its name."""

    @property
    def resource(self) -> ApiResource:
        """Return where it is."""

    @property
    def uid(self) -> str:
        """Return its identity."""

    @property
    def generation(self) -> int:
        """Return the number of its content."""

    @property
    def version(self) -> str:
        """Return its resourceVersion."""

    @property
    def conditions(self) -> Sequence[Mapping[str, object]]:
        """Return the conditions it has."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Return what is wrong with it by itself."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What the writer asks the rest of the control plane."""

    objects: Callable[[], Mapping[Key, ObjectWithStatus]]  # of the objects that have a status of ours
    cross_object_problems: Callable[[Key], Sequence[Problem]]  # what is wrong between an object and others
    rollout: Callable[[Key], Rollout]  # among our own proxies
    change_counters: Callable[[], object]  # another value whenever any rollout or problem may have changed
    identity: Callable[[], str]  # what other replicas and operators may know of the authority


@dataclass(slots=True)
class _Round:
    rollouts: dict[Key, Rollout] = field(default_factory=dict)
    others: tuple[Mapping[str, Rollout], ...] = ()
    left: int = _WRITES


class StatusWriter:
    """Writes for one replica, ``pod``, into the namespace ``home``."""

    def __init__(self, client: Client, inputs: StatusInputs, leader: Leadership, pod: str, home: str) -> None:
        """Write what ``inputs`` says, the status of objects only while ``leader`` is held."""
        self._client = client
        self._inputs = inputs
        self._leader = leader
        self._pod = pod
        self._replicas = Replicas(client, pod, home)
        self._counters: object = None
        self._swept_at = 0.0
        self._rollouts: dict[Key, Rollout] = {}
        self._up_to_date: dict[
            Key, tuple[str, Rollout | None]
        ] = {}  # by object: in which version, with which sum nothing was to be written
        self._events: set[tuple[str, int, str]] = set()
        self.writes = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._round()
            except KubernetesError as error:
                log.info("status not written", extra={"reason": str(error)})
            except Exception:  # internal error; the next round begins anew
                log.exception("status failed")
            await asyncio.sleep(_ROUND_S)

    async def _round(self) -> None:
        records = self._inputs.objects()
        this_round = _Round()
        await self._refresh(records)
        this_round.rollouts = self._rollouts
        await self._replicas.publish(this_round.rollouts, self._inputs.identity())
        if not self._leader.is_leader:
            self._up_to_date.clear()
            return
        this_round.others = await self._replicas.other_rollouts()
        newest = sorted(records.values(), key=lambda record: record.version.zfill(20), reverse=True)
        for index, record in enumerate(newest):
            if this_round.left and self._leader.is_leader:
                await self._update(record, this_round)
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        self._up_to_date = {key: state for key, state in self._up_to_date.items() if key in records}

    async def _refresh(self, records: Mapping[Key, ObjectWithStatus]) -> None:
        """Look again at how far objects have come: those on their way, and all of them after the counters have changed."""
        counters, now = self._inputs.change_counters(), time.monotonic()
        everything = counters != self._counters and now - self._swept_at > _SWEEP_S
        if everything:
            self._counters, self._swept_at = counters, now
            self._up_to_date.clear()  # what is wrong with an object may have changed too
        self._rollouts = {key: rollout for key, rollout in self._rollouts.items() if key in records}
        for count, key in enumerate(sorted(records)):
            rollout = self._rollouts.get(key)
            if everything or rollout is None or not rollout.settled or rollout.generation != records[key].generation:
                self._rollouts[key] = self._inputs.rollout(key)
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _update(self, record: ObjectWithStatus, this_round: _Round) -> None:
        """Write the status of the object of ``record`` where it is not as it should be."""
        rollout = this_round.rollouts.get(record.key)
        all_rollouts = (
            total_rollout((rollout, *(other.get(str(record.key)) for other in this_round.others)), record.generation) if rollout else None
        )
        if self._up_to_date.get(record.key) == (record.version, all_rollouts):
            return
        problems = (*record.problems, *self._inputs.cross_object_problems(record.key))
        updated = updated_conditions(record.conditions, record.generation, problems, all_rollouts, _time())
        if updated is not None:
            this_round.left -= 1
            await self._write(record, updated)
        self._up_to_date[record.key] = (record.version, all_rollouts)
        for condition in updated or ():
            if condition["type"] in _WITH_EVENTS and condition["status"] == "False" and condition["reason"] not in _WITHOUT_EVENTS:
                await self._event(record, str(condition["reason"]), str(condition["message"]))

    async def _write(self, record: ObjectWithStatus, updated: Iterable[Mapping[str, object]]) -> None:
        if not self._leader.is_leader:
            return
        status: Json = {"conditions": [dict(condition) for condition in updated], "observedGeneration": record.generation}
        body: Json = {"metadata": {"resourceVersion": record.version}, "status": status}
        try:
            await self._client.patch(record.resource.path(record.key.namespace, record.key.name, "status"), body)
            self.writes += 1
        except StatusError as error:
            if not (error.conflict or error.not_found):  # the news of it is on its way
                raise

    async def _event(self, record: ObjectWithStatus, reason: str, message: str) -> None:
        which = (record.uid, record.generation, reason)
        if which in self._events or not self._leader.is_leader:
            return
        if len(self._events) > 10_000:
            self._events.clear()
        self._events.add(which)
        key = record.key
        regarding = {
            "apiVersion": record.resource.api_version,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": record.uid,
        }
        body: Json = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{key.name[:200]}.{record.uid[:8]}.{record.generation}.{reason.lower()}", "namespace": key.namespace},
            "eventTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "navarch.io/navarch",
            "reportingInstance": self._pod[:128],
            "type": "Warning",
            "reason": reason,
            "action": "Accept" if reason != "Refused" else "Program",
            "note": message[:1000],
            "regarding": regarding,
        }
        try:
            await self._client.create(EVENTS.path(key.namespace), body)
        except StatusError as error:
            if not error.conflict:  # told before, by us or by a leader before us
                log.info("event not written", extra={"object": str(key), "reason": str(error)})


def _time() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
