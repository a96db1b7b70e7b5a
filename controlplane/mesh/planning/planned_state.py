"""What would be published if some objects were others: worked out in a branch of the database, so that nothing is, and nothing changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.incremental.branches import Branch
from controlplane.incremental.database import Database, Failed, QueryCall
from controlplane.mesh import inputs
from controlplane.mesh.facts import Fact
from controlplane.mesh.problems.objects import internal_problem, problems_of
from controlplane.mesh.publish.parts import OpenGroup, PartGroup, PatchedResource, ResourcePart, Stopgap
from controlplane.mesh.publish.published_table import PublishedTable
from controlplane.mesh.publish.reduced_parts import whole
from controlplane.mesh.roots import seen_by, table_roots, virtual_hosts_by
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.view import Table, View

_LOOK_EVERY = 100  # resources: others may be waiting
# A piece of work may end when what this returns says so.
Stop = Callable[[], Callable[[], bool]]
TablesWith = Callable[[Iterable[QueryCall]], Mapping[Table, Sequence[ResourcePart | PartGroup]]]
Differences = Mapping[Reference, tuple[Resource | None, Resource | None]]


@dataclass(frozen=True, slots=True)
class PlannedView:
    """What the proxy of ``session`` would see: ``view``, and of which resources that ``differs``, each as it was and as it would be."""

    session: Session
    view: View
    differs: Differences


@dataclass(frozen=True, slots=True)
class PlannedState:
    """All that would be different: what proxies see, those alone for whom something differs, and the Problems of objects."""

    changed: frozenset[Key]
    views: tuple[PlannedView, ...] = ()
    new_problems: tuple[Problem, ...] = ()
    gone_problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _BranchPlanner:
    """Works out one plan; what it has found is in its fields once its ``work`` is done."""

    before: Branch
    branch: Branch
    tables_with: TablesWith
    sessions: Sequence[Session]
    keys: Sequence[Key]
    touched: Mapping[Table, Sequence[ResourcePart | PartGroup]] = field(default_factory=dict)  # tables that may differ, by what of them
    tables: dict[PartGroup, tuple[Table, Differences]] = field(default_factory=dict)
    views: list[PlannedView] = field(default_factory=list)
    new_problems: list[Problem] = field(default_factory=list)
    gone_problems: list[Problem] = field(default_factory=list)

    def work(self) -> None:
        """Do all of it."""
        self.touched = self.tables_with(self.branch.differing())
        for session in self.sessions:
            if (view := self._view(session)) is not None:
                self.views.append(view)
        for key in self.keys:
            self.branch.give_way()
            before, after = (_problems(db, key) for db in (self.before, self.branch))
            self.new_problems += [problem for problem in after if problem not in before]
            self.gone_problems += [problem for problem in before if problem not in after]

    def _view(self, session: Session) -> PlannedView | None:
        seen = self.branch.attempt(seen_by, session.proxy)
        if isinstance(seen, Failed):
            return None
        roots = table_roots(seen, virtual_hosts_by(session.proxy, session.variant), session.proxy.lacking)
        now = dict(zip(session.roots, session.view.tables, strict=True))
        found = [self._table(root, now.get(root)) for root in roots]
        view = View(*(table for table, _ in found))
        if roots == session.roots:
            differs = {reference: pair for _, of_table in found for reference, pair in of_table.items()}
        else:
            differs = dict(differences(resources_in(session.view), resources_in(view)))
        return PlannedView(session, view, differs) if differs else None

    def _table(self, root: PartGroup, now: Table | None) -> tuple[Table, Differences]:
        """Return the table of ``root`` as it would be, and how it would differ from ``now``, the one that is published, if there is one."""
        known = self.tables.get(root)
        if known is None and now is not None and (renewed := self._renewed(now)) is not None:
            known = self.tables[root] = renewed
        if known is None:
            before = {} if now is None else _of_table(now)
            desired = self._desired(root, before)
            changes = {reference: resource for reference, resource in desired.items() if before.get(reference) != resource}
            gone = {reference: None for reference in before if reference not in desired}
            if now is not None and not changes and not gone:
                known = now, {}
            else:
                published = PublishedTable(root, closed=not isinstance(whole(root), OpenGroup))
                published.put(before)
                published.put({**changes, **gone})
                after = _of_table(published.table)
                known = published.table, differences(before, after)
            self.tables[root] = known
        return known

    def _renewed(self, now: Table) -> tuple[Table, Differences] | None:
        """Return ``now`` as it would be where resources of it are others in their own places, and ``None`` where there is more to it."""
        differs: dict[Reference, tuple[Resource | None, Resource | None]] = {}
        for node in self.touched.get(now, ()):
            self.branch.give_way()
            if isinstance(node, PartGroup):
                if self.branch.attempt(node.query, *node.args) != self.before.attempt(node.query, *node.args):
                    return None
                continue
            resource = self._resource(node)
            was = None if resource is None else now.of_type(resource.type_url).get(resource.name)
            if resource is None or was is None or was.uses != resource.uses or self._last(node) != was:
                return None
            if was != resource:
                differs[was.type_url, was.name] = was, resource
        if not differs:
            return now, {}
        table = now.copy()
        updated: dict[str, dict[str, Resource]] = defaultdict(dict)
        for (type_url, name), (_, resource) in differs.items():
            if resource is not None:
                updated[type_url][name] = resource
        table.apply(updated, {})
        return table, differs

    def _desired(self, root: PartGroup, before: Mapping[Reference, Resource]) -> dict[Reference, Resource]:
        """Return what the parts of ``root`` would give; of those that fail what they gave ``before`` stays."""
        found: dict[Reference, Resource] = {}
        pending: list[ResourcePart | PartGroup] = [root]
        seen: set[tuple[object, tuple[Hashable, ...]]] = {(root.query, root.args)}
        while pending:
            if len(found) % _LOOK_EVERY == 0:
                self.branch.give_way()
            node = pending.pop()
            if isinstance(node, ResourcePart):
                resource = self._resource(node)
                if resource is not None:
                    reference = resource.type_url, resource.name
                    found[reference] = before[reference] if before.get(reference) == resource else resource
                continue
            members = self.branch.attempt(node.query, *node.args)
            new = [] if isinstance(members, Failed) else [each for each in members if (each.query, each.args) not in seen]
            seen.update((each.query, each.args) for each in new)
            pending += new
        return found

    def _resource(self, part: ResourcePart) -> Resource | None:
        made = self.branch.attempt(part.query, *part.args)
        match made:
            case Resource():
                return made
            case PatchedResource(resource):
                return resource
            case Stopgap(resource):
                return self._last(part) or resource
            case Failed():
                return self._last(part)
            case _:
                return None

    def _last(self, part: ResourcePart) -> Resource | None:
        """Return what ``part`` gives as things are."""
        value = self.before.attempt(part.query, *part.args)
        return value if isinstance(value, Resource) else value.resource if isinstance(value, PatchedResource | Stopgap) else None


def planned(
    base: Database,
    tables_with: TablesWith,
    sessions: Sequence[Session],
    keys: Iterable[Key],
    facts: Iterable[Fact],
    stop: Stop,
) -> Generator[None, None, PlannedState]:
    """Return what would differ for ``sessions``, and of the Problems of ``keys``, if ``facts`` were applied to ``base``.

    ``tables_with`` says in which tables something is that was made by some queries. Raises Outdated where ``base`` changes meanwhile.
    """
    before = Branch(base)
    branch = Branch(base, before)
    applied = inputs.apply(branch, facts)
    planner = _BranchPlanner(before, branch, tables_with, sessions, sorted({*keys, *applied.keys}))
    yield from branch.in_pieces(planner.work, stop)
    return PlannedState(applied.keys, tuple(planner.views), tuple(planner.new_problems), tuple(planner.gone_problems))


def _problems(db: Database, key: Key) -> tuple[Problem, ...]:
    problems = db.attempt(problems_of, key)
    return (internal_problem(key, problems),) if isinstance(problems, Failed) else problems


def _of_table(table: Table) -> dict[Reference, Resource]:
    return {(type_url, name): resource for type_url in table.types for name, resource in table.of_type(type_url).items()}


def resources_in(view: View) -> dict[Reference, Resource]:
    """Return what ``view`` shows."""
    return {reference: resource for table in reversed(view.tables) for reference, resource in _of_table(table).items()}


def differences(before: Mapping[Reference, Resource], after: Mapping[Reference, Resource]) -> Differences:
    """Return what of ``before`` and ``after`` differs, each as it is on both sides."""
    pairs = ((reference, (before.get(reference), after.get(reference))) for reference in dict.fromkeys((*before, *after)))
    return {reference: pair for reference, pair in pairs if pair[0] != pair[1]}
