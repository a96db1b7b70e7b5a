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
from controlplane.kube.json import Json
from controlplane.kube.resources import EVENTS, ApiResource
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.writeback.conditions import updated_conditions
from controlplane.writeback.replicas import Replicas

log = logging.getLogger(__name__)

_ROUND_S = 1.0
_WRITES = 40  # in a round
_BREATH = 20  # objects looked at without a breath
_SWEEP_S = 5.0  # between two looks at all objects
_TOLD = ("Accepted", "Programmed")  # conditions of which Events tell; those of others need not have a reason
_QUIET = ("Pending", "NotTranslated", "NotAccepted")  # reasons that are no news, or were told by another condition


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


class Held(Protocol):
    """A right that may be lost at any time."""

    @property
    def held(self) -> bool:
        """Return whether it is ours now."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What the writer asks the rest of the control plane."""

    objects: Callable[[], Mapping[Key, ObjectWithStatus]]  # of the objects that have a status of ours
    cross_object_problems: Callable[[Key], Sequence[Problem]]  # what is wrong between an object and others
    rollout: Callable[[Key], Rollout]  # among our own proxies
    change_counters: Callable[[], object]  # another value whenever any standing or problem may be another than before
    identity: Callable[[], str]  # what the other replicas, and operators, are told of the authority


@dataclass(slots=True)
class _Round:
    standings: dict[Key, Rollout] = field(default_factory=dict)
    others: tuple[Mapping[str, Rollout], ...] = ()
    left: int = _WRITES


class StatusWriter:
    """Writes for one replica, ``pod``, into the namespace ``home``."""

    def __init__(self, client: Client, world: StatusInputs, leader: Held, pod: str, home: str) -> None:
        """Write what ``world`` says, the status of objects only while ``leader`` is held."""
        self._client = client
        self._world = world
        self._leader = leader
        self._pod = pod
        self._replicas = Replicas(client, pod, home)
        self._marks: object = None
        self._swept_at = 0.0
        self._kept: dict[Key, Rollout] = {}
        self._done: dict[Key, tuple[str, Rollout | None]] = {}  # by object: in which version, with which sum nothing was to be written
        self._events: set[tuple[str, int, str]] = set()
        self.writes = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._round()
            except KubernetesError as error:
                log.info("status not written", extra={"reason": str(error)})
            except Exception:  # ours; the next round begins anew
                log.exception("status failed")
            await asyncio.sleep(_ROUND_S)

    async def _round(self) -> None:
        records = self._world.objects()
        now = _Round()
        await self._look(records)
        now.standings = self._kept
        await self._replicas.tell(now.standings, self._world.identity())
        if not self._leader.held:
            self._done.clear()
            return
        now.others = await self._replicas.others()
        newest = sorted(records.values(), key=lambda each: each.version.zfill(20), reverse=True)
        for at, record in enumerate(newest):
            if now.left and self._leader.held:
                await self._settle(record, now)
            if at % _BREATH == 0:
                await asyncio.sleep(0)
        self._done = {key: done for key, done in self._done.items() if key in records}

    async def _look(self, records: Mapping[Key, ObjectWithStatus]) -> None:
        """Look again at how far objects have come: those on their way, and all of them after the marks have changed."""
        marks, at = self._world.change_counters(), time.monotonic()
        everything = marks != self._marks and at - self._swept_at > _SWEEP_S
        if everything:
            self._marks, self._swept_at = marks, at
            self._done.clear()  # what is wrong with an object may be another thing too
        self._kept = {key: standing for key, standing in self._kept.items() if key in records}
        for count, key in enumerate(sorted(records)):
            before = self._kept.get(key)
            if everything or before is None or not before.settled or before.generation != records[key].generation:
                self._kept[key] = self._world.rollout(key)
            if count % _BREATH == 0:
                await asyncio.sleep(0)

    async def _settle(self, record: ObjectWithStatus, now: _Round) -> None:
        """Write the status of the object of ``record`` where it is not as it should be."""
        standing = now.standings.get(record.key)
        summed = total_rollout((standing, *(each.get(str(record.key)) for each in now.others)), record.generation) if standing else None
        if self._done.get(record.key) == (record.version, summed):
            return
        problems = (*record.problems, *self._world.cross_object_problems(record.key))
        wanted = updated_conditions(record.conditions, record.generation, problems, summed, _time())
        if wanted is not None:
            now.left -= 1
            await self._write(record, wanted)
        self._done[record.key] = (record.version, summed)
        for each in wanted or ():
            if each["type"] in _TOLD and each["status"] == "False" and each["reason"] not in _QUIET:
                await self._event(record, str(each["reason"]), str(each["message"]))

    async def _write(self, record: ObjectWithStatus, wanted: Iterable[Mapping[str, object]]) -> None:
        if not self._leader.held:
            return
        status: Json = {"conditions": [dict(each) for each in wanted], "observedGeneration": record.generation}
        body: Json = {"metadata": {"resourceVersion": record.version}, "status": status}
        try:
            await self._client.patch(record.resource.path(record.key.namespace, record.key.name, "status"), body)
            self.writes += 1
        except StatusError as error:
            if not (error.conflict or error.not_found):  # the news of it is on its way
                raise

    async def _event(self, record: ObjectWithStatus, reason: str, message: str) -> None:
        which = (record.uid, record.generation, reason)
        if which in self._events or not self._leader.held:
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
