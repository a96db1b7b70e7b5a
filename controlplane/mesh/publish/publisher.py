"""From live queries to tables: which nodes a table is made of, and which tables a changed node stands in.

An index leads from a node up to the tables that hold it, so that a change costs what it touches. Nothing is evaluated here: nodes are
watched, the database brings them up to date, and what it reports as changed is taken in by ``take`` and put on the tables by ``flush``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from controlplane.incremental.database import Call, Database, Failed
from controlplane.mesh.publish.parts import Group, Leaf, Members
from controlplane.mesh.publish.published_table import Shelf
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.view import Table, TableChange

_NONE: Members = frozenset()


@dataclass(slots=True)
class _Held:
    """A node in use: who holds it, what it holds, and what it last gave."""

    node: Leaf | Group
    parents: set[Group] = field(default_factory=set)
    members: Members = _NONE
    resource: Resource | None = None
    shelf: Shelf | None = None  # of a root
    uses: int = 0  # of a root: how many have it open


class Publisher:
    """Keeps one table for each root in use, and a live query for each node that a table is made of."""

    def __init__(self, db: Database) -> None:
        """Publish from ``db``."""
        self._db = db
        self._held: dict[tuple[object, tuple[object, ...]], _Held] = {}  # by node: nodes equal their plain pairs, as in a report
        self._touched: dict[Shelf, dict[Reference, Resource | None]] = defaultdict(dict)

    def open(self, root: Group) -> Table:
        """Return the table of ``root``: the same one for every caller until as many have closed it; a new one is filled by ``flush``."""
        held = self._hold(root, None)
        held.uses += 1
        if held.shelf is None:
            held.shelf = Shelf(root)
            for leaf in self._leaves(held):
                self._note([held.shelf], None, leaf.resource)
        return held.shelf.table

    def close(self, root: Group) -> None:
        """Give up one use of the table of ``root``; the last one forgets it."""
        held = self._held[root]
        held.uses -= 1
        if not held.uses and held.shelf is not None:
            self._touched.pop(held.shelf, None)
            held.shelf = None
            self._release(root, None)

    def take(self, call: Call) -> None:
        """Take in that the value of ``call`` has changed; a failed one leaves what there was."""
        held = self._held.get(call)
        if held is None:
            return
        if isinstance(held.node, Leaf):
            resource = self._db.peek(held.node.query, *held.node.args)
            if not isinstance(resource, Failed):
                before, held.resource = held.resource, resource
                self._note(self._shelves(held), before, resource)
            return
        members = self._db.peek(held.node.query, *held.node.args)
        if not isinstance(members, Failed):
            self._regroup(held, held.node, members)

    def flush(self) -> tuple[tuple[Table, TableChange], ...]:
        """Put all that was taken in on the tables, and return those that changed."""
        touched, self._touched = self._touched, defaultdict(dict)
        return tuple((shelf.table, change) for shelf, desired in touched.items() if (change := shelf.put(desired)))

    def published(self, call: Call) -> Iterator[tuple[Table, Resource]]:
        """Yield the resource that the leaf ``call`` has published, with each table it stands in; nothing where it is no leaf in use."""
        held = self._held.get(call)
        if held is not None and held.resource is not None:
            resource = held.resource
            for shelf in self._shelves(held):
                if found := shelf.table.of_type(resource.type_url).get(resource.name):
                    yield shelf.table, found

    def _regroup(self, held: _Held, group: Group, members: Members) -> None:
        shelves = self._shelves(held)
        before, held.members = held.members, members
        added = [self._hold(member, group) for member in members - before]  # first, so that what they share with the others stays
        for member in before - members:
            leaves = tuple(self._leaves(self._held[member]))
            self._release(member, group)
            for leaf in leaves:
                elsewhere = self._shelves(leaf) if self._held.get(leaf.node) is leaf else set()
                self._note(shelves - elsewhere, leaf.resource, None)
        for each in added:
            for leaf in self._leaves(each):
                self._note(shelves, None, leaf.resource)

    def _note(self, shelves: Iterable[Shelf], before: Resource | None, after: Resource | None) -> None:
        for shelf in shelves:
            desired = self._touched[shelf]
            if before is not None and (after is None or after.name != before.name):
                desired[before.type_url, before.name] = None
            if after is not None:
                desired[after.type_url, after.name] = after

    def _shelves(self, held: _Held) -> set[Shelf]:
        found: set[Shelf] = set()
        climb = [held]
        while climb:
            at = climb.pop()
            if at.shelf is not None:
                found.add(at.shelf)
            climb.extend(self._held[parent] for parent in at.parents)
        return found

    def _leaves(self, held: _Held) -> Iterator[_Held]:
        if isinstance(held.node, Leaf):
            yield held
        for member in held.members:
            yield from self._leaves(self._held[member])

    def _hold(self, node: Leaf | Group, parent: Group | None) -> _Held:
        held = self._held.get(node)
        if held is None:
            held = self._held[node] = _Held(node)
            self._db.watch(node.query, *node.args)
        if parent is not None:
            held.parents.add(parent)
        return held

    def _release(self, node: Leaf | Group, parent: Group | None) -> None:
        held = self._held[node]
        if parent is not None:
            held.parents.discard(parent)
        if held.parents or held.shelf is not None:
            return
        del self._held[node]
        self._db.unwatch(node.query, *node.args)
        if isinstance(node, Group):
            for member in held.members:
                self._release(member, node)
