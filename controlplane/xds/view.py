"""What a stream may see: tables of published resources, shared by every stream that sees the same, and joined to a View."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain

from controlplane.xds.resource import Resource, digest

_FEW = 16  # resources, of which there may be the same in two tables
_generations = itertools.count()
_NOTHING: Mapping[str, Resource] = {}
_NO_INDEX: Mapping[str, Iterable[str]] = {}


@dataclass(frozen=True, slots=True)
class TableChange:
    """What changed in one table: per type URL, the names that have a new resource and the names that are gone."""

    updated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)


def merged(changes: Iterable[tuple[Table, TableChange]]) -> tuple[tuple[Table, TableChange], ...]:
    """Return ``changes``, which happened one after the other, as one of each table: every stream is to be woken once for all of them."""
    by_table: defaultdict[Table, list[TableChange]] = defaultdict(list)
    for table, change in changes:
        by_table[table].append(change)
    return tuple((table, changes[0] if len(changes) == 1 else _merged(changes)) for table, changes in by_table.items())


def _merged(changes: Iterable[TableChange]) -> TableChange:
    updated: defaultdict[str, set[str]] = defaultdict(set)
    removed: defaultdict[str, set[str]] = defaultdict(set)
    for change in changes:
        for type_url, names in change.updated.items():
            updated[type_url] |= names
            removed[type_url] -= names
        for type_url, names in change.removed.items():
            removed[type_url] |= names
            updated[type_url] -= names
    return TableChange(_frozen(updated), _frozen(removed))


def _frozen(names_by_type: Mapping[str, AbstractSet[str]]) -> Mapping[str, frozenset[str]]:
    return {type_url: frozenset(names) for type_url, names in names_by_type.items() if names}


class Table:
    """The published resources of one interned part, by type and name.

    Whoever publishes keeps it closed: what a resource of the table ``uses`` stays in it as long as the user does.
    Many streams share one table; it changes in place, and each of its streams is told the TableChange.
    """

    __slots__ = ("_digests", "_folders", "_names", "_types", "generation", "key")

    def __init__(self, key: Hashable) -> None:
        """Begin an empty table for the part ``key``."""
        self.key = key
        self.generation = next(_generations)  # of no other table, and another one after each change
        self._types: dict[str, dict[str, Resource]] = {}
        self._digests: dict[str, int] = {}  # of the types that someone asked the version of, since they last changed
        self._folders: dict[str, dict[str, list[str]]] = {}  # of the types whose names someone asked for by folder, likewise
        self._names: dict[str, frozenset[str]] = {}  # of the types whose names someone asked for, likewise

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of ``type_url`` by name: live, not to be kept over a change."""
        return self._types.get(type_url, _NOTHING)

    @property
    def types(self) -> tuple[str, ...]:
        """Return the type URLs of what is or was in it."""
        return tuple(self._types)

    def copy(self) -> Table:
        """Return another table with the same resources."""
        other = Table(self.key)
        other._types = {type_url: dict(resources) for type_url, resources in self._types.items()}
        return other

    def apply(self, updated: Mapping[str, Mapping[str, Resource]], removed: Mapping[str, frozenset[str]]) -> TableChange:
        """Put ``updated`` in and take ``removed`` out, both by type URL; return what really changed."""
        self.generation = next(_generations)
        changed: dict[str, frozenset[str]] = {}
        gone: dict[str, frozenset[str]] = {}
        for type_url, resources in updated.items():
            resources_of_type = self._types.setdefault(type_url, {})
            names = frozenset(name for name, resource in resources.items() if resources_of_type.get(name) != resource)
            if names:
                before = len(resources_of_type)
                resources_of_type.update({name: resources[name] for name in names})
                changed[type_url] = names
                self._forget(type_url, names_too=len(resources_of_type) != before)
        for type_url, names in removed.items():
            resources_of_type = self._types.get(type_url, {})
            if left := frozenset(name for name in names if resources_of_type.pop(name, None) is not None):
                gone[type_url] = left
                self._forget(type_url, names_too=True)
        return TableChange(changed, gone)

    def digest(self, type_url: str) -> int:
        """Return the digest of the resources of ``type_url``."""
        known = self._digests.get(type_url)
        if known is None:
            known = self._digests[type_url] = digest(self.of_type(type_url).values())
        return known

    def names(self, type_url: str) -> frozenset[str]:
        """Return the names of ``type_url``."""
        known = self._names.get(type_url)
        if known is None:
            known = self._names[type_url] = frozenset(self.of_type(type_url))
        return known

    def state(self, type_url: str) -> Hashable:
        """Return what stands for all that is published of ``type_url`` now: equal for two tables only where that is the same."""
        resources = self.of_type(type_url)
        return self.generation if len(resources) > _FEW else tuple(resources.values())

    def folders(self, type_url: str) -> Mapping[str, Iterable[str]]:
        """Return the names of ``type_url`` by what stands before their last slash."""
        resources = self._types.get(type_url)
        if not resources:
            return _NO_INDEX
        known = self._folders.get(type_url)
        if known is None:
            known = defaultdict(list)
            for name in resources:
                known[folder(name)].append(name)
            self._folders[type_url] = known = dict(known)
        return known

    def _forget(self, type_url: str, *, names_too: bool) -> None:
        self._digests.pop(type_url, None)
        if names_too:
            self._folders.pop(type_url, None)
            self._names.pop(type_url, None)


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

    def names(self, type_url: str) -> Iterator[frozenset[str]]:
        """Yield the names of ``type_url``, in no particular order: a set of each table."""
        for table in self.tables:
            yield table.names(type_url)

    def state(self, type_url: str) -> Hashable:
        """Return what stands for all that is published of ``type_url`` now: equal for two views only where that is the same."""
        return tuple(table.state(type_url) for table in self.tables)

    def lookup(self, type_url: str) -> Callable[[str], Resource | None]:
        """Return what finds a resource of ``type_url`` by its name, for many names at once: not to be kept over a change."""
        filled = sorted((found for table in self.tables if (found := table.of_type(type_url))), key=len, reverse=True)
        if not filled:
            return _NOTHING.get
        most, *rest = (found.get for found in filled)

        def find(name: str) -> Resource | None:
            found = most(name)  # nearly all are here
            return found if found is not None or not rest else next((other for get in rest if (other := get(name))), None)

        return find if rest else most

    def version(self, type_url: str) -> str:
        """Return the version of everything of ``type_url`` together, a property of the content alone (XP-10)."""
        return version_of(sum(table.digest(type_url) for table in self.tables))

    def within(self, type_url: str, name: str) -> Iterable[str]:
        """Return the names of ``type_url`` that stand in the folder ``name``."""
        return chain.from_iterable(table.folders(type_url).get(name, ()) for table in self.tables)

    def folders(self, type_url: str) -> set[str]:
        """Return the folders that names of ``type_url`` stand in."""
        return {name for table in self.tables for name in table.folders(type_url)}


def version_of(total: int) -> str:
    """Return the version of a set of resources whose digest is ``total``."""
    return f"{total & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def folder(name: str) -> str:
    """Return what stands before the last slash of ``name``: the route configuration of a virtual host."""
    return name[: max(name.rfind("/"), 0)]
