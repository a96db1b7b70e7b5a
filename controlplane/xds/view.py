"""What a stream may see: tables of published resources, shared by every stream that sees the same, and joined to a View."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.xds.resource import Resource

_NOTHING: Mapping[str, Resource] = {}


@dataclass(frozen=True, slots=True)
class TableChange:
    """What changed in one table: per type URL, the names that have a new resource and the names that are gone."""

    updated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Table:
    """The published resources of one interned part, by type and name.

    Whoever publishes keeps it closed: what a resource of the table ``uses`` stays in it as long as the user does.
    Many streams share one table; it changes in place, and each of its streams is told the TableChange.
    """

    __slots__ = ("_types", "key")

    def __init__(self, key: Hashable) -> None:
        """Begin an empty table for the part ``key``."""
        self.key = key
        self._types: dict[str, dict[str, Resource]] = {}

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of ``type_url`` by name: live, not to be kept over a change."""
        return self._types.get(type_url, _NOTHING)

    def apply(self, updated: Mapping[str, Mapping[str, Resource]], removed: Mapping[str, frozenset[str]]) -> TableChange:
        """Put ``updated`` in and take ``removed`` out, both by type URL; return what really changed."""
        changed: dict[str, frozenset[str]] = {}
        gone: dict[str, frozenset[str]] = {}
        for type_url, resources in updated.items():
            held = self._types.setdefault(type_url, {})
            names = frozenset(name for name, resource in resources.items() if held.get(name) != resource)
            held.update({name: resources[name] for name in names})
            if names:
                changed[type_url] = names
        for type_url, names in removed.items():
            held = self._types.get(type_url, {})
            if left := frozenset(name for name in names if held.pop(name, None) is not None):
                gone[type_url] = left
        return TableChange(changed, gone)


class View:
    """What one stream may see: the join of ``tables``, whose names do not overlap within a type."""

    __slots__ = ("tables",)

    def __init__(self, *tables: Table) -> None:
        """Join ``tables``; a name in two of them is taken from the first."""
        self.tables = tables

    def get(self, type_url: str, name: str) -> Resource | None:
        """Return the published resource ``name`` of ``type_url``."""
        for table in self.tables:
            if found := table.of_type(type_url).get(name):
                return found
        return None

    def resources(self, type_url: str) -> Iterator[Resource]:
        """Yield every published resource of ``type_url``, in no particular order."""
        for table in self.tables:
            yield from table.of_type(type_url).values()
