"""What is published: tables kept up to date from the database, and the memory of what was good last.

A resource leaves only if it can be used: one that failed, or that uses what does not exist, stays at its published version, and what
a published resource uses stays as long as it does. This memory is the process's own; nothing in the database depends on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from controlplane.incremental.database import Database, Failed, Refresh
from controlplane.mesh.nodes import Group, Leaf
from controlplane.mesh.shelf import Shelf
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.view import Table, TableChange

Node = Leaf | Group
_Touched = dict[Shelf, dict[Reference, Resource | None]]


@dataclass(slots=True)
class _Held:
    """A node in use: who holds it, what it holds, and what it last gave."""

    node: Node
    parents: set[Group] = field(default_factory=set)
    members: frozenset[Node] = frozenset()
    resource: Resource | None = None
    shelf: Shelf | None = None  # of a root


class Publisher:
    """Keeps one table for each root in use, and a live query for each node that a table is made of."""

    def __init__(self, db: Database) -> None:
        """Publish from ``db``."""
        self._db = db
        self._held: dict[tuple[object, tuple[Hashable, ...]], _Held] = {}  # by node: a node is equal to its plain pair
        self._uses: dict[Group, int] = defaultdict(int)

    def open(self, root: Group) -> Table:
        """Return the table of ``root``, filled; the same table for every caller until as many have closed it."""
        self._uses[root] += 1
        held = self._held.get(root)
        if held is None or held.shelf is None:
            held = self._hold(root, None)
            held.shelf = Shelf(root)
            self._fill(root, held.shelf)
        return held.shelf.table

    def close(self, root: Group) -> None:
        """Give up one use of the table of ``root``; the last one forgets it."""
        self._uses[root] -= 1
        if not self._uses[root]:
            del self._uses[root]
            self._held[root].shelf = None
            self._release(root, None)

    def publish(self, report: Refresh) -> tuple[tuple[Table, TableChange], ...]:
        """Put what ``report`` says has changed into the tables; return the tables that changed."""
        touched: _Touched = defaultdict(dict)
        for asked in report.changed:
            held = self._held.get(asked)
            if held is not None:
                self._take(held, touched)
        return tuple((shelf.table, change) for shelf, desired in touched.items() if (change := shelf.put(desired)))

    def _take(self, held: _Held, touched: _Touched) -> None:
        node = held.node
        if isinstance(node, Leaf):
            before, held.resource = held.resource, self._resource(node, held.resource)
            if before != held.resource:
                self._note(node, before, held.resource, touched)
            return
        members = self._members(node, held.members)
        before_members, held.members = held.members, members
        for member in members - before_members:
            self._hold(member, node)
            for leaf in self._leaves(member):
                self._note_in(self._shelves([node]), None, self._held[leaf].resource, touched)
        for member in before_members - members:
            for leaf in self._leaves(member):
                self._note_in(self._shelves([node]), self._held[leaf].resource, None, touched)
            self._release(member, node)

    def _note(
        self,
        leaf: Leaf,
        before: Resource | None,
        after: Resource | None,
        touched: _Touched,
    ) -> None:
        self._note_in(self._shelves(self._held[leaf].parents), before, after, touched)

    @staticmethod
    def _note_in(
        shelves: Iterable[Shelf],
        before: Resource | None,
        after: Resource | None,
        touched: _Touched,
    ) -> None:
        for shelf in shelves:
            desired = touched[shelf]
            if before is not None and (after is None or after.name != before.name):
                desired.setdefault((before.type_url, before.name), None)  # unless another node already gives that name
            if after is not None:
                desired[after.type_url, after.name] = after

    def _shelves(self, groups: Iterable[Group]) -> set[Shelf]:
        found: set[Shelf] = set()
        climb = list(groups)
        while climb:
            held = self._held[climb.pop()]
            if held.shelf is not None:
                found.add(held.shelf)
            climb.extend(held.parents)
        return found

    def _leaves(self, node: Node) -> Iterable[Leaf]:
        if isinstance(node, Leaf):
            yield node
            return
        for member in self._held[node].members:
            yield from self._leaves(member)

    def _fill(self, root: Group, shelf: Shelf) -> None:
        found = (self._held[leaf].resource for leaf in self._leaves(root))
        shelf.put({(each.type_url, each.name): each for each in found if each is not None})

    def _hold(self, node: Node, parent: Group | None) -> _Held:
        held = self._held.get(node)
        if held is None:
            held = self._held[node] = _Held(node)
            self._db.watch(node.query, *node.args)
            if isinstance(node, Leaf):
                held.resource = self._resource(node, None)
            else:
                held.members = self._members(node, frozenset())
                for member in held.members:
                    self._hold(member, node)
        if parent is not None:
            held.parents.add(parent)
        return held

    def _release(self, node: Node, parent: Group | None) -> None:
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

    def _resource(self, leaf: Leaf, before: Resource | None) -> Resource | None:
        value = self._db.attempt(leaf.query, *leaf.args)
        return before if isinstance(value, Failed) else value

    def _members(self, group: Group, before: frozenset[Node]) -> frozenset[Node]:
        value = self._db.attempt(group.query, *group.args)
        return before if isinstance(value, Failed) else value
