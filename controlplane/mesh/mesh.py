"""The mesh: the database, what is published from it, and the proxies that see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controlplane.incremental.database import Database, Failed, never
from controlplane.mesh import inputs
from controlplane.mesh.nodes import Group, Wire
from controlplane.mesh.outbound import outbound
from controlplane.mesh.problems import failure, problems_of
from controlplane.mesh.publisher import Publisher
from controlplane.mesh.scopes import ProxyScope, proxy_scope
from controlplane.mesh.workloads import workload
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.model.proxies import Proxy
from controlplane.objects.changes import Change
from controlplane.objects.parse import Object
from controlplane.xds.view import Table, TableChange, View


class Session:
    """One stream's place in the mesh: who asks, in which protocol, and what it sees now."""

    __slots__ = ("proxy", "roots", "view", "wire")

    def __init__(self, proxy: Proxy, wire: Wire) -> None:
        """Begin a session of ``proxy`` that sees nothing yet."""
        self.proxy = proxy
        self.wire = wire
        self.roots: tuple[Group, ...] = ()
        self.view = View()


@dataclass(frozen=True, slots=True)
class Published:
    """What one refresh brought."""

    changes: tuple[tuple[Table, TableChange], ...] = ()
    moved: tuple[Session, ...] = ()  # sessions whose view is another one now
    failed: tuple[Failed, ...] = ()  # queries that raised: our bugs, each reported once
    done: bool = True  # False: `stop` said so; refresh again to go on, nothing is published yet


class Mesh:
    """What everybody asks; changes go in by ``apply``, and come out by ``refresh``."""

    def __init__(self) -> None:
        """Begin with no objects."""
        self._db = Database()
        self._publisher = Publisher(self._db)
        self._sessions: dict[Proxy, set[Session]] = defaultdict(set)
        self._keys: set[Key] = set()

    @property
    def database(self) -> Database:
        """Return the database, for those who count what it runs or ask what a value read."""
        return self._db

    def apply(self, changes: Iterable[Change]) -> frozenset[Key]:
        """Take ``changes`` in, as one; return the keys of the objects that really changed. Nothing is published before ``refresh``."""
        changes = tuple(changes)
        changed = inputs.apply(self._db, changes)
        for key in changed:
            if inputs.objects(self._db, key) is None:
                self._keys.discard(key)
            else:
                self._keys.add(key)
        return changed

    def connect(self, proxy: Proxy, wire: Wire) -> Session:
        """Return a session of ``proxy``; sessions that see the same share their tables."""
        session = Session(proxy, wire)
        peers = self._sessions[proxy]
        if not peers:
            self._db.watch(proxy_scope, proxy)
        peers.add(session)
        self._look(session)
        return session

    def disconnect(self, session: Session) -> None:
        """End ``session``; what nobody sees any more is forgotten."""
        for root in session.roots:
            self._publisher.close(root)
        peers = self._sessions[session.proxy]
        peers.discard(session)
        if not peers:
            del self._sessions[session.proxy]
            self._db.unwatch(proxy_scope, session.proxy)

    def refresh(self, stop: Callable[[], bool] = never) -> Published:
        """Bring every table up to date with what was applied, unless ``stop``, asked between two queries, says to go on another time."""
        report = self._db.refresh(stop)
        if not report.done:
            return Published(done=False)
        changes = self._publisher.publish(report)
        moved = [
            session
            for asked, args in report.changed
            if asked is proxy_scope
            for session in self._sessions.get(args[0], ())
            if self._look(session)
        ]
        return Published(changes, tuple(moved), tuple(report.failed))

    def objects(self) -> tuple[Object, ...]:
        """Return every object, sorted by key."""
        found = (inputs.objects(self._db, key) for key in sorted(self._keys))
        return tuple(value for value in found if value is not None)

    def object(self, key: Key) -> Object | None:
        """Return the object ``key``."""
        return inputs.objects(self._db, key)

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong between objects, sorted: hosts, subsets and ports that do not exist, conflicts, and what failed of ours."""
        found: set[Problem] = set()
        for key in sorted(self._keys):
            value = self._db.attempt(problems_of, key)
            found.update((failure(key, value),) if isinstance(value, Failed) else value)
        return tuple(sorted(found, key=lambda each: (each.object or Key("", "", ""), each.field, each.code, each.message)))

    def _look(self, session: Session) -> bool:
        seen = self._db.attempt(proxy_scope, session.proxy)
        if isinstance(seen, Failed):
            return False
        roots = _roots(seen, session.wire)
        if roots == session.roots:
            return False
        tables = [self._publisher.open(root) for root in roots]
        for root in session.roots:
            self._publisher.close(root)
        session.roots = roots
        session.view = View(*tables)
        return True


def _roots(seen: ProxyScope, wire: Wire) -> tuple[Group, ...]:
    return (Group(outbound, (seen.outbound, wire)), Group(workload, (seen.workload,)))
