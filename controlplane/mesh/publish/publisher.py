"""From live queries to tables: which parts a table is made of, and which tables hold a changed part.

An index leads from a part up to the tables that hold it, so that a change costs what it touches. Nothing is evaluated here: parts are
watched, the database brings them up to date, and what it reports as changed is taken in by ``take`` and put on the tables by ``flush``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.incremental.database import Database, Failed, QueryCall
from controlplane.mesh.publish.parts import Made, Members, OpenGroup, PartGroup, PatchedResource, ResourcePart, Stopgap
from controlplane.mesh.publish.published_table import PublishedTable
from controlplane.mesh.publish.reduced_parts import whole
from controlplane.model.deferrals import Deferral
from controlplane.translate.patches.patch import PatchRef
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.view import Table, TableChange

Changes: TypeAlias = tuple[tuple[Table, TableChange], ...]


@dataclass(slots=True, eq=False)
class _PartState:
    """A part or group in use: the groups that hold it, its members, and its last resource."""

    node: ResourcePart | PartGroup
    parents: set[_PartState] = field(default_factory=set)
    members: dict[ResourcePart | PartGroup, _PartState] = field(default_factory=dict)
    resource: Resource | None = None
    published_table: PublishedTable | None = None  # of a root
    uses: int = 0  # of a root: how many have it open


class Publisher:
    """Keeps one table for each root in use, and a live query for each part that a table is made of."""

    def __init__(self, db: Database, hold_s: float = 0.0) -> None:
        """Publish from ``db``; rules that lead nowhere are held back for ``hold_s`` seconds at most."""
        self._db = db
        self._hold_s = hold_s
        self._holding: set[PublishedTable] = set()  # tables that hold something back
        self._states: dict[tuple[object, tuple[object, ...]], _PartState] = {}  # by node: nodes equal their plain pairs, as in a report
        self._touched: dict[PublishedTable, dict[Reference, Resource | None]] = defaultdict(dict)
        self.patched: dict[
            tuple[object, tuple[object, ...]], PatchedResource
        ] = {}  # by node: what patches have met, as far as tables have it
        self.patch_changes = 0  # how often that has changed
        self.patch_uses: Counter[PatchRef] = Counter()  # for how many of these each patch was
        self._wrapping: dict[ResourcePart, set[ResourcePart | PartGroup]] = defaultdict(set)  # by a part: those made of it by patches
        self._renewed: dict[ResourcePart, None] = {}  # published ahead of the rest since the last ``flush``
        self._parts: tuple[Table, Mapping[Reference, _PartState]] | None = None  # of the table that was asked for last, as it is now

    def open(self, root: PartGroup) -> Table:
        """Return the table of ``root``: the same one for every caller until as many have closed it; a new one is filled by ``flush``."""
        self._parts = None
        state = self._hold(root, None)
        state.uses += 1
        if state.published_table is None:
            state.published_table = PublishedTable(root, self._hold_s, closed=not isinstance(whole(root), OpenGroup))
            for part_state in self._part_states(state):
                self._mark_changed([state.published_table], None, part_state.resource)
        return state.published_table.table

    def uses(self, root: PartGroup) -> int:
        """Return how many have the table of ``root`` open."""
        return self._states[root].uses

    def close(self, root: PartGroup) -> None:
        """Give up one use of the table of ``root``; the last one forgets it."""
        self._parts = None
        state = self._states[root]
        state.uses -= 1
        if not state.uses and state.published_table is not None:
            self._touched.pop(state.published_table, None)
            self._holding.discard(state.published_table)
            state.published_table = None
            self._release(state, None)

    def take(self, call: QueryCall) -> None:
        """Note that the value of ``call`` has changed; where it failed, the previous one stays."""
        state = self._states.get(call)
        if state is None:
            return
        self._parts = None
        if isinstance(state.node, ResourcePart):
            made = self._db.peek(state.node.query, *state.node.args)
            self._note_patches(state.node, made)
            if not isinstance(made, Failed | Stopgap) or (isinstance(made, Stopgap) and state.resource is None):
                before, state.resource = state.resource, made.resource if isinstance(made, Stopgap | PatchedResource) else made
                self._mark_changed(self._published_tables(state), before, state.resource)
            return
        members = self._db.peek(state.node.query, *state.node.args)
        if not isinstance(members, Failed):
            self._regroup(state, members)

    def renew(self, part: ResourcePart, users: Iterable[ResourcePart]) -> Changes:
        """Publish what ``part`` and its ``users`` give now in the place of what they gave, ahead of the rest; return what changed.

        All of them or none: none where one gives nothing now, or one of ``users`` does not use ``part`` any more.
        """
        if not self._gives_something(part):
            return ()
        made: dict[ResourcePart, Resource] = {}
        for node in (part, *(each for user in users for each in self._published_as(user))):
            value = self._db.attempt(node.query, *node.args)
            resource = value.resource if isinstance(value, PatchedResource) else value
            if not isinstance(resource, Resource):
                return ()
            made[node] = resource
        used = made[part].type_url, made[part].name
        if any(used not in resource.uses for node, resource in made.items() if node is not part):
            return ()
        self._parts = None
        by_table: dict[PublishedTable, list[Resource]] = defaultdict(list)
        for node, resource in made.items():
            state = self._states[node]
            state.resource = resource
            for published_table in self._published_tables(state):
                by_table[published_table].append(resource)
        self._renewed.update(dict.fromkeys(made))
        changes = ((published_table.table, published_table.renew(resources)) for published_table, resources in by_table.items())
        return tuple((table, change) for table, change in changes if change)

    def flush(self, now: float) -> Changes:
        """Apply all that ``take`` noted, and what is held back no longer at ``now``, to the tables, and return those that changed."""
        renewed, self._renewed = self._renewed, {}
        for part in renewed:  # since then it may have become again what it was before, which is no change to tell of
            self.take(QueryCall(part.query, part.args))
        touched, self._touched = self._touched, defaultdict(dict)
        for published_table in self._holding:
            if published_table.holds.ended(now):
                touched.setdefault(published_table, {})
        changes = []
        for published_table, desired in touched.items():
            if change := published_table.put(desired, now):
                changes.append((published_table.table, change))
        self._holding = {published_table for published_table in self._holding | touched.keys() if published_table.holds}
        return tuple(changes)

    @property
    def due(self) -> float | None:
        """Return when ``flush`` has to be called next though nothing has changed, or ``None``."""
        return min((due for published_table in self._holding if (due := published_table.holds.due) is not None), default=None)

    def deferrals(self) -> Mapping[Table, tuple[Deferral, ...]]:
        """Return what is held back, by table."""
        return {published_table.table: tuple(published_table.holds) for published_table in self._holding}

    def published(self, call: QueryCall) -> Iterator[tuple[Table, Resource]]:
        """Yield the resource that the part ``call`` has published, with each table that holds it; nothing where no table uses it."""
        state = self._states.get(call)
        if state is not None and state.resource is not None:
            resource = state.resource
            for published_table in self._published_tables(state):
                if current := published_table.table.of_type(resource.type_url).get(resource.name):
                    yield published_table.table, current

    def tables_with(self, calls: Iterable[QueryCall]) -> Mapping[Table, list[ResourcePart | PartGroup]]:
        """Return which of ``calls`` are parts or groups of which tables."""
        found: dict[Table, list[ResourcePart | PartGroup]] = defaultdict(list)
        for state in filter(None, map(self._states.get, calls)):
            for published_table in self._published_tables(state):
                found[published_table.table].append(state.node)
        return found

    def made_by(self, table: Table, reference: Reference) -> tuple[QueryCall, ...]:
        """Return what has made what ``table`` is to have as ``reference``: the part, then the groups that hold it."""
        part_state = self._parts_of(table).get(reference)
        nodes = (part_state.node, *(parent.node for parent in part_state.parents)) if part_state else ()
        return tuple(QueryCall(node.query, node.args) for node in nodes)

    def _parts_of(self, table: Table) -> Mapping[Reference, _PartState]:
        """Return which part has made each resource that ``table`` is to have."""
        if self._parts is None or self._parts[0] is not table:
            state = next((each for each in self._states.values() if each.published_table and each.published_table.table is table), None)
            parts: dict[Reference, _PartState] = {}
            for part_state in self._part_states(state) if state else ():
                if (resource := part_state.resource) is not None:
                    parts.setdefault((resource.type_url, resource.name), part_state)
            self._parts = table, parts
        return self._parts[1]

    def _note_patches(self, part: ResourcePart, made: Made | Failed) -> None:
        before = self.patched.pop(part, None)
        if isinstance(made, PatchedResource):
            self.patched[part] = made
            self.patch_uses.update(made.met)
        for ref in before.met if before is not None else ():
            self.patch_uses[ref] -= 1
            if not self.patch_uses[ref]:
                del self.patch_uses[ref]
        self.patch_changes += before is not None or part in self.patched

    def _published_as(self, part: ResourcePart) -> Iterator[ResourcePart]:
        """Yield ``part`` and what patches have made of it, as far as tables have it."""
        for node in (part, *self._wrapping.get(part, ())):
            if isinstance(node, ResourcePart) and self._gives_something(node):
                yield node

    def _gives_something(self, part: ResourcePart) -> bool:
        state = self._states.get(part)
        return state is not None and state.resource is not None

    def _regroup(self, state: _PartState, members: Members) -> None:
        published_tables = self._published_tables(state)
        added = [self._hold(member, state) for member in members - state.members.keys()]  # first: what they share with the others stays
        for member in state.members.keys() - members:
            gone = state.members.pop(member)
            part_states = self._part_states(gone)
            self._release(gone, state)
            for part_state in part_states:
                elsewhere = self._published_tables(part_state) if self._states.get(part_state.node) is part_state else set()
                self._mark_changed(published_tables - elsewhere, part_state.resource, None)
        for member_state in added:
            for part_state in self._part_states(member_state):
                self._mark_changed(published_tables, None, part_state.resource)

    def _mark_changed(self, published_tables: Iterable[PublishedTable], before: Resource | None, after: Resource | None) -> None:
        for published_table in published_tables:
            desired = self._touched[published_table]
            if before is not None and (after is None or after.name != before.name):
                desired[before.type_url, before.name] = None
            if after is not None:
                desired[after.type_url, after.name] = after

    def _published_tables(self, state: _PartState) -> set[PublishedTable]:
        tables: set[PublishedTable] = set()
        pending = [state]
        while pending:
            current = pending.pop()
            if current.published_table is not None:
                tables.add(current.published_table)
            pending.extend(current.parents)
        return tables

    def _part_states(self, state: _PartState) -> list[_PartState]:
        """Return the parts that ``state`` is made of."""
        found, pending = [], [state]
        while pending:
            current = pending.pop()
            if isinstance(current.node, ResourcePart):
                found.append(current)
            pending.extend(current.members.values())
        return found

    def _hold(self, node: ResourcePart | PartGroup, parent: _PartState | None) -> _PartState:
        state = self._states.get(node)
        if state is None:
            state = self._states[node] = _PartState(node)
            if wrapped := _part_in(node):
                self._wrapping[wrapped].add(node)
            self._db.watch(node.query, *node.args)
        if parent is not None:
            state.parents.add(parent)
            parent.members[node] = state
        return state

    def _release(self, state: _PartState, parent: _PartState | None) -> None:
        if parent is not None:
            state.parents.discard(parent)
        if state.parents or state.published_table is not None:
            return
        del self._states[state.node]
        if isinstance(state.node, ResourcePart):
            self._note_patches(state.node, None)
        if wrapped := _part_in(state.node):
            self._wrapping[wrapped].discard(state.node)
        self._db.unwatch(state.node.query, *state.node.args)
        for member in state.members.values():
            self._release(member, state)


def _part_in(node: ResourcePart | PartGroup) -> ResourcePart | None:
    """Return the part that ``node`` is made of by patches, if it is."""
    first = node.args[0] if node.args else None
    return first if isinstance(node, ResourcePart) and isinstance(first, ResourcePart) else None
