"""Which streams see which tables: hands each stream its view and the changes of its tables, and sums up how far an object has come.

A refresh says which tables have changed; a table stands in the views of many streams, and finding these must not cost a look at every
stream. So there is an index from tables to the streams that see them, brought up to date when the view of a stream is replaced.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from controlplane.envoy.type_urls import ECDS
from controlplane.fleet.rollout import ProxyWaitedFor, ResourceRefusal, Rollout, Standing, new_rollout
from controlplane.mesh.inputs import faults
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.faults.faults import FaultId, StagedFault
from controlplane.model.keys import Key
from controlplane.model.proxies import Proxy
from controlplane.serve.xds.pushes import Pushes
from controlplane.slices import SendTurns
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.stream import Progress, Variant
from controlplane.xds.view import Table, TableChange, View

RECENT_S = 5.0  # for which a resource counts as changing after it has changed, and up to twice as long
Footprint = frozenset[tuple[int, str, str]]  # connections, each with the type and the name of a resource
# From what is best to what is worst.
_LEAST_LAST = (Progress.UNNEEDED, Progress.ACCEPTED, Progress.PARTLY, Progress.PENDING, Progress.REFUSED)


class Subscriber(Protocol):
    """A stream, as far as the index needs it. All calls are quick; ``changed`` and ``see`` wake the stream."""

    session: Session
    connection: int

    @property
    def open_names(self) -> int:
        """Return how many names are to be looked at, and perhaps sent."""

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""

    def refuses(self, type_url: str, name: str) -> bool:
        """Return whether the peer refuses what is published as ``name``."""

    def renew(self) -> None:
        """Have the peer told to keep what it would otherwise drop soon."""

    def changed(self, change: TableChange) -> None:
        """Take in that a table of the stream's view has changed."""

    def see(self, view: View) -> None:
        """See ``view`` from now on."""


class Subscribers:
    """Every stream that is connected, and the index from tables to streams."""

    def __init__(self, mesh: Mesh, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Serve what ``mesh`` publishes; ``wake`` asks for a refresh, which gives streams that have joined their first view."""
        self._clock = clock
        self._recent: set[Reference] = set()  # what has changed since `_recent_since`
        self._before: set[Reference] = set()  # and what in the time before that, which was as long
        self._recent_since = 0.0
        self._mesh = mesh
        self._wake = wake
        self._streams: dict[Session, Subscriber] = {}
        self._by_connection: dict[int, Subscriber] = {}
        self._seen_by: dict[Table, set[Subscriber]] = defaultdict(set)
        self._tables: dict[Subscriber, tuple[Table, ...]] = {}
        self.pushes = Pushes()
        self.turns = SendTurns()
        self.arrivals = 0
        self.departures = 0

    def connect(self, proxy: Proxy, variant: Variant) -> Session:
        """Return a session of ``proxy``, for a stream that then joins."""
        return self._mesh.connect(proxy, variant)

    def join(self, stream: Subscriber) -> None:
        """Hand ``stream`` from now on what it sees."""
        self._streams[stream.session] = stream
        self._by_connection[stream.connection] = stream
        self.arrivals += 1
        self._wake()

    def leave(self, session: Session) -> None:
        """Forget the stream of ``session``, and the session."""
        stream = self._streams.pop(session, None)
        if stream is not None:
            self._by_connection.pop(stream.connection, None)
            self._forget(stream)
        self._mesh.disconnect(session)
        self.departures += 1

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions of all streams that are connected."""
        return tuple(self._streams)

    def streams(self) -> tuple[Subscriber, ...]:
        """Return all streams that are connected."""
        return tuple(self._streams.values())

    def stream(self, connection: int) -> Subscriber | None:
        """Return the stream ``connection``, if it is connected."""
        return self._by_connection.get(connection)

    def publish(self, published: Published) -> None:
        """Hand each stream its new view where it has one, and the changes of the tables that it sees where it has not."""
        for session in published.new_views:
            if stream := self._streams.get(session):
                self._forget(stream)
                self._tables[stream] = session.view.tables
                for table in session.view.tables:
                    self._seen_by[table].add(stream)
                stream.see(session.view)
        new_views = set(published.new_views)
        self._forget_old_changes()
        for table, change in published.changes:
            self._recent.update((type_url, name) for type_url, names in change.updated.items() for name in names)
            for stream in self._seen_by.get(table, ()):
                if stream.session not in new_views:
                    stream.changed(change)

    def footprint(self, fault_id: FaultId) -> Footprint:
        """Return what was made from ``fault_id`` at the connections that have a filter of it."""
        made = list(self._mesh.made_from(fault_id.key))
        concerned = self._with_filters(fault_id, made)
        return frozenset(
            (stream.connection, resource.type_url, resource.name)
            for table, resource in made
            for stream in concerned & self._seen_by.get(table, set())
        )

    def progress_by_proxy(self, footprint: Footprint) -> dict[str, Progress]:
        """Return how far each proxy of ``footprint`` has come with what there is of it now: the least far of its connections."""
        found: dict[str, Progress] = {}
        for connection, type_url, name in footprint:
            stream = self._by_connection.get(connection)
            resource = stream.session.view.get(type_url, name) if stream else None
            if stream is not None and resource is not None:
                progress, proxy = stream.progress(resource), stream.session.proxy.id
                found[proxy] = max(progress, found.get(proxy, progress), key=_LEAST_LAST.index)
        return found

    def renew(self, fault_id: FaultId) -> None:
        """Have the proxies that have filters of ``fault_id`` told to keep what these do."""
        for stream in self._with_filters(fault_id, self._mesh.made_from(fault_id.key)):
            stream.renew()

    def _with_filters(self, fault_id: FaultId, made: Iterable[tuple[Table, Resource]]) -> set[Subscriber]:
        tables = {table for table, resource in made if resource.type_url == ECDS and resource.name.startswith(f"{fault_id.filter_name}/")}
        return {stream for table in tables for stream in self._seen_by.get(table, ())}

    def staged_fault(self, fault_id: FaultId) -> StagedFault | None:
        """Return the fault ``fault_id`` as it is in the mesh."""
        return faults(self._mesh.database, fault_id)

    def rollout(
        self,
        key: Key,
        explain: Callable[[int, str, str], str | None],
        lagging: Callable[[int, str, bool], Progress] = lambda *_: Progress.PENDING,
        blamed: Iterable[tuple[int, ResourceRefusal]] = (),
    ) -> Rollout:
        """Return how far the object ``key`` has come.

        ``explain`` says why a connection refused a resource, by type and name; ``None`` where that is the fault of other objects.
        ``lagging`` says what it means that a connection has not accepted the newest version of a resource of a type, and whether that
        has changed just now.
        ``blamed`` are the refusals, by connection, that the object is to blame for: of a secret, say, which was not made from it.
        """
        progress_of, refusals = self._progress(key, explain, lagging, blamed)
        mesh_object = self._mesh.object(key)
        accepted = sum(progress is Progress.ACCEPTED for progress in progress_of.values())
        return new_rollout(mesh_object.meta.generation if mesh_object else 0, len(progress_of), accepted, refusals)

    def standing(
        self,
        key: Key,
        explain: Callable[[int, str, str], str | None],
        lagging: Callable[[int, str, bool], Progress],
        blamed: Iterable[tuple[int, ResourceRefusal]] = (),
    ) -> Standing:
        """Return what ``rollout`` sums up, with the proxies that have not accepted the object ``key`` yet by name."""
        progress_of, refusals = self._progress(key, explain, lagging, blamed)
        accepted = sum(progress is Progress.ACCEPTED for progress in progress_of.values())
        pending = {stream for stream, progress in progress_of.items() if progress is Progress.PENDING}
        waiting = {
            stream: ProxyWaitedFor(stream.session.proxy.id, _name(resource))
            for table, resource in (self._mesh.made_from(key) if pending else ())
            for stream in pending & self._seen_by.get(table, set())
            if stream.progress(resource) is Progress.PENDING
        }
        return Standing(len(progress_of), accepted, tuple(sorted(waiting.values())), tuple(sorted(set(refusals))))

    def _progress(
        self,
        key: Key,
        explain: Callable[[int, str, str], str | None],
        lagging: Callable[[int, str, bool], Progress],
        blamed: Iterable[tuple[int, ResourceRefusal]],
    ) -> tuple[dict[Subscriber, Progress], list[ResourceRefusal]]:
        """Return how far each stream has come with the object ``key``, and what is refused."""
        self._forget_old_changes()
        progress_of: dict[Subscriber, Progress] = {}
        refusals: list[ResourceRefusal] = []
        refusing: set[int] = set()
        for table, resource in self._mesh.made_from(key):
            for stream in self._seen_by.get(table, ()):
                progress = stream.progress(resource)
                if progress is Progress.PENDING:
                    changing = (resource.type_url, resource.name) in self._recent or (resource.type_url, resource.name) in self._before
                    progress = lagging(stream.connection, resource.type_url, changing)
                if progress in (Progress.REFUSED, Progress.PARTLY):
                    why = explain(stream.connection, resource.type_url, resource.name)
                    if why is not None:
                        refusals.append(_refusal_of(stream, resource, why))
                        refusing.add(stream.connection)
                    elif progress is Progress.PARTLY:
                        progress = Progress.ACCEPTED
                if progress is not Progress.UNNEEDED and progress_of.get(stream, Progress.ACCEPTED) is Progress.ACCEPTED:
                    progress_of[stream] = progress
        for connection, refusal in blamed:
            if connection not in refusing and (refuser := self._by_connection.get(connection)):
                progress_of[refuser] = Progress.REFUSED
                refusals.append(refusal)
        return progress_of, refusals

    def _forget_old_changes(self) -> None:
        now = self._clock()
        if now - self._recent_since >= RECENT_S:
            self._before = self._recent if now - self._recent_since < 2 * RECENT_S else set()
            self._recent, self._recent_since = set(), now

    def _forget(self, stream: Subscriber) -> None:
        for table in self._tables.pop(stream, ()):
            streams = self._seen_by[table]
            streams.discard(stream)
            if not streams:
                del self._seen_by[table]


def _refusal_of(stream: Subscriber, resource: Resource, why: str) -> ResourceRefusal:
    return ResourceRefusal(stream.session.proxy.id, _name(resource), why)


def _name(resource: Resource) -> str:
    return f"{resource.type_url.rpartition('.')[2]} {resource.name}"
