"""What the small API server keeps: objects by collection, and the history that watches resume."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Json = dict[str, object]
DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_BUILT_IN = {"", "discovery.k8s.io", "coordination.k8s.io", "events.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io"}


class Answer(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    @property
    def status(self) -> Json:
        """Return it as a Status."""
        return {"kind": "Status", "apiVersion": "v1", "code": self.code, "reason": self.reason, "message": self.reason}


@dataclass(frozen=True)
class Event:
    """Something that happened to an object of a collection."""

    revision: int
    collection: tuple[str, str]
    kind: str
    value: Json


@dataclass(frozen=True)
class Target:
    """What a path names."""

    collection: tuple[str, str]  # group and plural
    version: str
    namespace: str | None
    name: str | None

    def holds(self, value: Json, query: Mapping[str, str]) -> bool:
        """Return whether ``value`` is in it, by its namespace and the selectors of ``query``."""
        found = metadata_of(value)
        wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
        name, _, label = query.get("labelSelector", "").partition("=")
        labels = found.get("labels")
        return (
            self.namespace in (None, found.get("namespace"))
            and wanted in ("", found["name"])
            and (not name or (isinstance(labels, dict) and labels.get(name) == label))
        )


@dataclass
class Store:
    """The objects, and what happened to them."""

    revision: int = 100
    floor: int = 0  # from before it nothing can be resumed
    objects: dict[tuple[str, str], dict[tuple[str, str], Json]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def put(self, collection: tuple[str, str], value: Json, kind: str) -> Json:
        """Keep ``value``, and note that ``kind`` happened to it."""
        self.revision += 1
        metadata = metadata_of(value)
        metadata["resourceVersion"] = str(self.revision)
        name = (str(metadata.get("namespace", "")), str(metadata["name"]))
        there = self.objects.setdefault(collection, {})
        if kind == "DELETED":
            there.pop(name, None)
        else:
            there[name] = value
        self.events.append(Event(self.revision, collection, kind, copy.deepcopy(value)))
        return value

    def serves(self, target: Target) -> bool:
        """Return whether the collection is there in that version."""
        if target.collection[0] in _BUILT_IN:
            return True
        crd = self.objects.get(DEFINITIONS, {}).get(("", f"{target.collection[1]}.{target.collection[0]}"), {})
        spec = crd.get("spec")
        versions = spec.get("versions", []) if isinstance(spec, dict) else []
        return any(each["name"] == target.version and each["served"] for each in versions)


def metadata_of(value: Json) -> Json:
    """Return the metadata of ``value``: the very object."""
    found = value["metadata"]
    assert isinstance(found, dict)
    return found


def merged(old: Json, patch: Json) -> Json:
    """Return ``old`` with ``patch``, as RFC 7386 has it."""
    found = copy.deepcopy(old)
    for name, value in patch.items():
        before = found.get(name)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            found[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            found[name] = value
    return found
