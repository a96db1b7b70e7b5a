"""Keeps the WorkloadEntries of proxies that have registered themselves: written to the API server by the replica that has the stream.

An entry says which replica keeps it, and since when its proxy is connected there. A replica takes over an entry whose proxy has come to it
later; it deletes those that it keeps itself, and the leader those of replicas that are gone. Entries that people wrote are left alone.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.fleet.registrations import GROUP_ANNOTATION, RegisteredEntry
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.kube.resources import WORKLOAD_ENTRIES
from controlplane.model.keys import Key
from controlplane.objects.networking.service_entry import HEALTHY, WorkloadEntry
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, items, section, text
from controlplane.writeback.replicas import ObservedLeases, replica_identities

log = logging.getLogger(__name__)

CONTROLLER_ANNOTATION = "istio.io/workloadController"  # Istio's names of annotations
CONNECTED_AT_ANNOTATION = "istio.io/connectedAt"
_ROUND_S = 1.0


@dataclass(frozen=True, slots=True)
class EntryOwner:
    """Where entries are kept: by the replica ``pod``, whose namespace is ``home``."""

    pod: str
    home: str
    grace_s: float  # for which nothing is deleted after the start: who was connected before comes again
    replica: Leadership  # held while this process is the replica of that name


class WantedEntries(Protocol):
    """Knows which entries there have to be."""

    changed: asyncio.Event  # set when the entries may have changed

    def entries(self) -> Mapping[Key, RegisteredEntry]:
        """Return the entries there have to be, by key."""


class WorkloadEntryWriter:
    """The entries of one replica."""

    def __init__(
        self,
        client: Client,
        owner: EntryOwner,
        leader: Leadership,
        wanted: WantedEntries,
        existing: Callable[[], Iterable[WorkloadEntry]],
    ) -> None:
        """Write what is ``wanted`` where ``existing`` differs; while ``leader`` is held, delete what replicas have left that are gone."""
        self._client = client
        self._owner = owner
        self._leader = leader
        self._wanted = wanted
        self._existing = existing
        self._may_delete_at = time.monotonic() + owner.grace_s
        self._observed = ObservedLeases()

    async def run(self) -> None:
        """Work whenever there is news, and once a second, until cancelled."""
        failure = OngoingFailure(log, "entries not written", "entries written again")
        while True:
            self._wanted.changed.clear()
            try:
                await self._round()
                failure.worked()
            except KubernetesError as error:
                failure.failed(str(error), error.kind)
            except Exception:  # internal error; the next round begins anew
                log.exception("entries failed")
            try:
                async with asyncio.timeout(_ROUND_S):
                    await self._wanted.changed.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        if not self._owner.replica.is_leader:
            return
        wanted, existing = self._wanted.entries(), {entry.key: entry for entry in self._existing()}
        for key, registered in wanted.items():
            await self._write(registered, existing.get(key))
        if time.monotonic() < self._may_delete_at:
            return
        left = [entry for key, entry in existing.items() if key not in wanted and GROUP_ANNOTATION in entry.meta.annotations]
        own_entries = [entry for entry in left if entry.meta.annotations.get(CONTROLLER_ANNOTATION) == self._owner.pod]
        for entry in own_entries:
            await self._delete(entry, self._owner.pod)
        if len(own_entries) < len(left) and self._leader.is_leader:
            alive = await replica_identities(self._client, self._owner.home, self._observed)
            for entry in left:
                controller = entry.meta.annotations.get(CONTROLLER_ANNOTATION, "")
                if controller != self._owner.pod and controller not in alive:
                    await self._delete(entry, controller)

    async def _write(self, entry: RegisteredEntry, existing: WorkloadEntry | None) -> None:
        if existing is None:
            await self._create(entry)
            return
        annotations = existing.meta.annotations
        if GROUP_ANNOTATION not in annotations:
            log.warning("workload not registered", extra={"entry": str(entry.key), "reason": "somebody wrote an entry of this name"})
            return
        controller = annotations.get(CONTROLLER_ANNOTATION)
        if controller != self._owner.pod and annotations.get(CONNECTED_AT_ANNOTATION, "") >= _time(entry.since):
            return  # its proxy has moved on to another replica
        if controller != self._owner.pod or not _is_up_to_date(existing, entry):
            await self._update(entry)
        if entry.healthy is not None and _health(existing) != entry.healthy:
            await self._update_health(entry)

    async def _create(self, entry: RegisteredEntry) -> None:
        try:
            await self._client.create(WORKLOAD_ENTRIES.path(entry.key.namespace), self._document(entry))
        except StatusError as error:
            if not error.conflict:  # it is there, and the news of it on its way
                raise
        else:
            log.info("workload registered", extra={"entry": str(entry.key)})

    async def _update(self, entry: RegisteredEntry) -> None:
        path = WORKLOAD_ENTRIES.path(entry.key.namespace, entry.key.name)
        document = self._document(entry)
        try:
            current = await self._client.get(path)
            metadata = section(current, "metadata")
            merged = {
                part: {**section(metadata, part), **section(section(document, "metadata"), part)} for part in ("labels", "annotations")
            }
            await self._client.replace(path, {**current, "metadata": {**metadata, **merged}, "spec": document["spec"]})
        except StatusError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _update_health(self, entry: RegisteredEntry) -> None:
        """Write into the status whether the workload is healthy; what else it says stays."""
        path = WORKLOAD_ENTRIES.path(entry.key.namespace, entry.key.name)
        current = await self._client.get(path)
        other_conditions = [
            condition for condition in items(section(current, "status"), "conditions") if text(condition, "type") != HEALTHY
        ]
        health_condition = {
            "type": HEALTHY,
            "status": str(entry.healthy),
            "reason": "Checked",
            "message": "what the workload's own Envoy has found by the probe of its group",
            "lastTransitionTime": _time(time.time()),
        }
        body: Json = {
            "metadata": {"resourceVersion": text(section(current, "metadata"), "resourceVersion")},
            "status": {"conditions": [*other_conditions, health_condition]},
        }
        try:
            await self._client.patch(f"{path}/status", body)
        except StatusError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _delete(self, existing: WorkloadEntry, controller: str) -> None:
        path = WORKLOAD_ENTRIES.path(existing.key.namespace, existing.key.name)
        try:
            current = await self._client.get(path)
            if text(section(section(current, "metadata"), "annotations"), CONTROLLER_ANNOTATION) != controller:
                return  # somebody has taken it over
            await self._client.delete(path)
        except StatusError as error:
            if not error.not_found:
                raise
        log.info("workload is gone", extra={"entry": str(existing.key)})

    def _document(self, entry: RegisteredEntry) -> Json:
        annotations = {**entry.annotations, CONTROLLER_ANNOTATION: self._owner.pod, CONNECTED_AT_ANNOTATION: _time(entry.since)}
        metadata = {"name": entry.key.name, "namespace": entry.key.namespace, "labels": dict(entry.labels), "annotations": annotations}
        return {
            "apiVersion": WORKLOAD_ENTRIES.api_version,
            "kind": WORKLOAD_ENTRIES.kind,
            "metadata": metadata,
            "spec": dict(entry.spec),
        }


def _is_up_to_date(existing: WorkloadEntry, entry: RegisteredEntry) -> bool:
    """Return whether ``existing`` says what ``entry`` should."""
    existing_spec = existing.spec.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    existing_annotations = existing.meta.annotations
    annotations = all(
        existing_annotations.get(name) == value for name, value in entry.annotations.items() if name.partition("/")[0].endswith("istio.io")
    )
    return existing_spec == dict(entry.spec) and entry.labels.items() <= existing.meta.labels.items() and annotations


def _health(existing: WorkloadEntry) -> bool | None:
    return next((condition.status == "True" for condition in existing.status.conditions), None)


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
