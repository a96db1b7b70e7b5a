"""What the API server has said of each object, as a fold: the last good object counts, what is wrong with the newest is kept beside it.

Of an object of security that cannot be used its closed form counts, and not what was good before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controlplane.kube.resources import ApiResource
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.objects.networking.service_entry import WorkloadEntry
from controlplane.objects.parse import Object, parse
from controlplane.sources.kubernetes.watched import Collection
from controlplane.untyped import Json, items, number, section, text

_STATUS_GROUPS = (".istio.io", "navarch.dev")  # Istio's, and our own


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """What is known of an object of the API server beside its content: where it is, in which version, and what its status says."""

    key: Key
    resource: ApiResource
    uid: str
    generation: int
    version: str  # the resourceVersion
    conditions: tuple[Mapping[str, object], ...]
    problems: tuple[Problem, ...]
    observed_generation: int = 0  # that its status is about; 0: it does not say

    @property
    def accepted(self) -> bool:
        """Return whether the object is used as it is."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)


class ObjectStore:
    """The records of all objects, and which of them are in use."""

    def __init__(self) -> None:
        """Begin without objects."""
        self._records: dict[Key, ObjectRecord] = {}
        self._in_use: dict[Key, Object] = {}
        self._copy: ObjectStore | None = None

    def copy(self) -> ObjectStore:
        """Return the store as it is now, to be asked elsewhere: one and the same until something is taken in."""
        if self._copy is None:
            self._copy = copied = ObjectStore()
            copied._records = dict(self._records)
            copied._in_use = dict(self._in_use)
        return self._copy

    def records_with_status(self) -> Mapping[Key, ObjectRecord]:
        """Return the records of the objects whose status is written: those of Istio's kinds, and of our own."""
        return {key: record for key, record in self._records.items() if record.resource.group.endswith(_STATUS_GROUPS)}

    def entries(self) -> tuple[WorkloadEntry, ...]:
        """Return the WorkloadEntries that are in use."""
        return tuple(entry for entry in self._in_use.values() if isinstance(entry, WorkloadEntry))

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield what is wrong with each object by itself."""
        for record in self._records.values():
            yield tuple(LocatedProblem(problem) for problem in record.problems)

    def location(self, _key: Key, _path: str) -> Location | None:
        """Return ``None``: the object is in no file."""
        return None

    def update(self, resource: ApiResource, document: Json) -> Iterator[Change]:
        """Take in the object ``document`` of ``resource``, and yield what changes by it: nothing if what we read is the same."""
        parsed = parse(document)
        key = parsed.key
        if key is None:
            return
        self._copy = None
        metadata, before = section(document, "metadata"), self._in_use.get(key)
        fate = parsed.fate(before)
        if parsed.problems or resource.group.endswith(_STATUS_GROUPS):
            self._records[key] = ObjectRecord(
                key,
                resource,
                text(metadata, "uid"),
                number(metadata, "generation"),
                text(metadata, "resourceVersion"),
                items(section(document, "status"), "conditions"),
                (*parsed.with_consequence, fate) if fate else parsed.with_consequence,
                _observed_generation(section(document, "status")),
            )
        else:
            self._records.pop(key, None)
        usable = parsed.usable(before)
        if usable == before:
            return
        if usable is None:
            del self._in_use[key]
        else:
            self._in_use[key] = usable
        yield Change(key, usable)

    def remove(self, key: Key) -> Iterator[Change]:
        """Take in that the object ``key`` is gone, and yield what changes by it."""
        self._copy = None
        self._records.pop(key, None)
        if self._in_use.pop(key, None) is not None:
            yield Change(key, None)

    def missing_from(self, collection: Collection, present: Iterable[Key]) -> tuple[Key, ...]:
        """Return the objects of ``collection`` that are known and not among those ``present``."""
        resource, known = collection.resource, self._in_use.keys() | self._records.keys()
        absent = {
            key for key in known if (key.group, key.kind) == (resource.group, resource.kind) and collection.holds(key.namespace, key.name)
        }
        return tuple(sorted(absent.difference(present)))


def _observed_generation(status: Json) -> int:
    """Return the ``observedGeneration`` of ``status``, which Istio's schema lets be a string."""
    found = status.get("observedGeneration")
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    return found if isinstance(found, int) else 0
