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
from controlplane.kube.json import Json, items, section, text
from controlplane.kube.resources import WORKLOAD_ENTRIES
from controlplane.model.keys import Key
from controlplane.objects.networking.service_entry import HEALTHY, WorkloadEntry
from controlplane.writeback.replicas import replica_identities
from controlplane.writeback.status import Held

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


class WantedEntries(Protocol):
    """Knows which entries there have to be."""

    changed: asyncio.Event  # that they may be others than before

    def entries(self) -> Mapping[Key, RegisteredEntry]:
        """Return them."""


class WorkloadEntryWriter:
    """The entries of one replica."""

    def __init__(
        self,
        client: Client,
        place: EntryOwner,
        leader: Held,
        registrar: WantedEntries,
        there: Callable[[], Iterable[WorkloadEntry]],
    ) -> None:
        """Write what ``registrar`` wants where it is not ``there`` as it should be; what others have left, while ``leader`` is held."""
        self._client = client
        self._place = place
        self._leader = leader
        self._registrar = registrar
        self._there = there
        self._may_delete_at = time.monotonic() + place.grace_s

    async def run(self) -> None:
        """Work whenever there is news, and once a second, until cancelled."""
        while True:
            self._registrar.changed.clear()
            try:
                await self._round()
            except KubernetesError as error:
                log.info("entries not written", extra={"reason": str(error)})
            except Exception:  # ours; the next round begins anew
                log.exception("entries failed")
            try:
                async with asyncio.timeout(_ROUND_S):
                    await self._registrar.changed.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        wanted, there = self._registrar.entries(), {each.key: each for each in self._there()}
        for key, entry in wanted.items():
            await self._settle(entry, there.get(key))
        if time.monotonic() < self._may_delete_at:
            return
        left = [each for key, each in there.items() if key not in wanted and GROUP_ANNOTATION in each.meta.annotations]
        own = [each for each in left if each.meta.annotations.get(CONTROLLER_ANNOTATION) == self._place.pod]
        for each in own:
            await self._delete(each, self._place.pod)
        if len(own) < len(left) and self._leader.held:
            alive = await replica_identities(self._client, self._place.home)
            for each in left:
                keeper = each.meta.annotations.get(CONTROLLER_ANNOTATION, "")
                if keeper != self._place.pod and keeper not in alive:
                    await self._delete(each, keeper)

    async def _settle(self, entry: RegisteredEntry, there: WorkloadEntry | None) -> None:
        if there is None:
            await self._create(entry)
            return
        said = there.meta.annotations
        if GROUP_ANNOTATION not in said:
            log.warning("workload not registered", extra={"entry": str(entry.key), "reason": "somebody wrote an entry of this name"})
            return
        keeper = said.get(CONTROLLER_ANNOTATION)
        if keeper != self._place.pod and said.get(CONNECTED_AT_ANNOTATION, "") >= _time(entry.since):
            return  # its proxy has moved on to another replica
        if keeper != self._place.pod or not _says(there, entry):
            await self._update(entry)
        if entry.healthy is not None and _health(there) != entry.healthy:
            await self._tell(entry)

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
        wanted = self._document(entry)
        try:
            current = await self._client.get(path)
            metadata = section(current, "metadata")
            merged = {part: {**section(metadata, part), **section(section(wanted, "metadata"), part)} for part in ("labels", "annotations")}
            await self._client.replace(path, {**current, "metadata": {**metadata, **merged}, "spec": wanted["spec"]})
        except StatusError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _tell(self, entry: RegisteredEntry) -> None:
        """Write into the status whether the workload is healthy; what else it says stays."""
        path = WORKLOAD_ENTRIES.path(entry.key.namespace, entry.key.name)
        current = await self._client.get(path)
        others = [each for each in items(section(current, "status"), "conditions") if text(each, "type") != HEALTHY]
        told = {
            "type": HEALTHY,
            "status": str(entry.healthy),
            "reason": "Checked",
            "message": "what the workload's own Envoy has found by the probe of its group",
            "lastTransitionTime": _time(time.time()),
        }
        body: Json = {
            "metadata": {"resourceVersion": text(section(current, "metadata"), "resourceVersion")},
            "status": {"conditions": [*others, told]},
        }
        try:
            await self._client.patch(f"{path}/status", body)
        except StatusError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _delete(self, there: WorkloadEntry, keeper: str) -> None:
        path = WORKLOAD_ENTRIES.path(there.key.namespace, there.key.name)
        try:
            current = await self._client.get(path)
            if text(section(section(current, "metadata"), "annotations"), CONTROLLER_ANNOTATION) != keeper:
                return  # somebody has taken it over
            await self._client.delete(path)
        except StatusError as error:
            if not error.not_found:
                raise
        log.info("workload is gone", extra={"entry": str(there.key)})

    def _document(self, entry: RegisteredEntry) -> Json:
        annotations = {**entry.annotations, CONTROLLER_ANNOTATION: self._place.pod, CONNECTED_AT_ANNOTATION: _time(entry.since)}
        metadata = {"name": entry.key.name, "namespace": entry.key.namespace, "labels": dict(entry.labels), "annotations": annotations}
        return {
            "apiVersion": WORKLOAD_ENTRIES.api_version,
            "kind": WORKLOAD_ENTRIES.kind,
            "metadata": metadata,
            "spec": dict(entry.spec),
        }


def _says(there: WorkloadEntry, entry: RegisteredEntry) -> bool:
    """Return whether the entry that is ``there`` says what it should."""
    found = there.spec.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    known = there.meta.annotations
    annotations = all(known.get(name) == value for name, value in entry.annotations.items() if name.partition("/")[0].endswith("istio.io"))
    return found == dict(entry.spec) and entry.labels.items() <= there.meta.labels.items() and annotations


def _health(there: WorkloadEntry) -> bool | None:
    return next((each.status == "True" for each in there.status.conditions), None)


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
