"""Between the mesh and the streams: takes changes in, brings the mesh up to date, and wakes the streams that see what changed.

There is no timer: the first change is worked on at once, and what arrives meanwhile is one batch when that is done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from controlplane.fleet.rollout import ResourceRefusal, Rollout, new_rollout
from controlplane.mesh.mesh import Mesh, Published, Session
from controlplane.model.keys import Key
from controlplane.model.proxies import Proxy
from controlplane.objects.changes import Change
from controlplane.objects.security.jwks import KeySet
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Progress, Variant
from controlplane.xds.view import Table, TableChange, View

log = logging.getLogger(__name__)

_SLICE_S = 0.01  # how long the event loop is held at most between two breaths, but for a single long query
_PIECE = 200  # changes taken in without a breath


class Listener(Protocol):
    """A stream, as the hub sees it. Both calls are quick, and wake the stream."""

    session: Session
    connection: int

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""

    def changed(self, change: TableChange) -> None:
        """Take in that a table of the stream's view has changed."""

    def see(self, view: View) -> None:
        """See ``view`` from now on."""


class Issuers(Protocol):
    """Who fetches the keys of issuers, as the hub sees it."""

    @property
    def settled(self) -> bool:
        """Return whether proxies need not be kept waiting for keys any longer."""

    def want(self, uris: Iterable[str]) -> None:
        """Keep the keys at ``uris`` from now on, and no others."""


class Hub:
    """The one place where changes come in and go out."""

    def __init__(self, mesh: Mesh, sources: Iterable[str], issuers: Issuers | None = None) -> None:
        """Serve ``mesh`` once each of ``sources`` has handed in all that it has, and ``issuers``, if keys are fetched, are settled."""
        self.mesh = mesh
        self._issuers = issuers
        self._keys: dict[str, KeySet] = {}
        self._verdicts: dict[str, tuple[tuple[str, str], ...]] = {}
        self._waiting_for = set(sources)
        self._batches: list[tuple[str, Sequence[Change]]] = []
        self._wanted = asyncio.Event()
        self._listeners: dict[Session, Listener] = {}
        self._seen_by: dict[Table, set[Listener]] = defaultdict(set)
        self._tables: dict[Listener, tuple[Table, ...]] = {}
        self.synced = asyncio.Event()
        self.refreshes = 0
        self.arrivals = 0
        self.learned = 0  # how often something new was heard of issuers' keys
        self.departures = 0
        if not self._waiting_for:
            self.synced.set()

    def submit(self, source: str, changes: Sequence[Change]) -> None:
        """Take ``changes`` of ``source`` in; its first are all there is."""
        self._batches.append((source, changes))
        self._wanted.set()

    def submit_keys(self, keys: Mapping[str, KeySet]) -> None:
        """Take in what is known of issuers' ``keys`` now, by address."""
        self._keys.update(keys)
        self.learned += bool(keys)
        self._wanted.set()

    def submit_verdicts(self, reasons: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """Take in for which namespaces credentials are unusable now, and for what ``reasons``."""
        self._verdicts.update(reasons)
        self._wanted.set()

    def connect(self, proxy: Proxy, variant: Variant) -> Session:
        """Return a session of ``proxy``, to be given to a listener that then joins."""
        return self.mesh.connect(proxy, variant)

    def join(self, listener: Listener) -> None:
        """Tell ``listener`` from now on what it sees."""
        self._listeners[listener.session] = listener
        self.arrivals += 1
        self._wanted.set()

    def leave(self, session: Session) -> None:
        """Forget the listener of ``session``, and the session."""
        listener = self._listeners.pop(session, None)
        if listener is not None:
            self._forget(listener)
        self.mesh.disconnect(session)
        self.departures += 1

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions of all streams that are connected."""
        return tuple(self._listeners)

    def rollout(self, key: Key, error: Callable[[int, str], str]) -> Rollout:
        """Return how far the object ``key`` has come; ``error`` gives what a connection said of a type when it refused last."""
        found: dict[Listener, Progress] = {}
        refusals: list[ResourceRefusal] = []
        for table, resource in self.mesh.made_from(key):
            for listener in self._seen_by.get(table, ()):
                progress = listener.progress(resource)
                if progress is Progress.REFUSED:
                    name = f"{resource.type_url.rpartition('.')[2]} {resource.name}"
                    refusals.append(ResourceRefusal(listener.session.proxy.id, name, error(listener.connection, resource.type_url)))
                if progress is not Progress.UNNEEDED and found.get(listener, Progress.ACCEPTED) is Progress.ACCEPTED:
                    found[listener] = progress
        value = self.mesh.object(key)
        accepted = sum(each is Progress.ACCEPTED for each in found.values())
        return new_rollout(value.meta.generation if value else 0, len(found), accepted, refusals)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            batches, self._batches = self._batches, []
            keys, self._keys = self._keys, {}
            verdicts, self._verdicts = self._verdicts, {}
            try:
                for _, changes in batches:
                    await self._apply(changes)
                self.mesh.learn(keys)
                self.mesh.judge(verdicts)
                self._publish(await self._refresh())
            except Exception:  # ours; what was published stays
                log.exception("refresh failed")
            self._count(source for source, _ in batches)

    def _count(self, sources: Iterable[str]) -> None:
        self._waiting_for.difference_update(sources)
        if not self._waiting_for and not self.synced.is_set() and (self._issuers is None or self._issuers.settled):
            self.synced.set()
            log.info("synced", extra={"objects": len(self.mesh.objects())})

    async def _apply(self, changes: Sequence[Change]) -> None:
        """Take ``changes`` in piece by piece: they are one all the same, as nothing is published before the refresh."""
        for at in range(0, len(changes), _PIECE):
            self.mesh.apply(changes[at : at + _PIECE])
            await asyncio.sleep(0)

    async def _refresh(self) -> Published:
        while True:
            published = self.mesh.refresh(_after(time.perf_counter() + _SLICE_S))
            if published.done:
                self.refreshes += 1
                return published
            await asyncio.sleep(0)

    def _publish(self, published: Published) -> None:
        if published.wanted_keys is not None and self._issuers:
            self._issuers.want(published.wanted_keys)
        for failed in published.failed:
            log.error("query failed", extra={"query": str(failed), "where": failed.where})
        for session in published.moved:
            if listener := self._listeners.get(session):
                self._forget(listener)
                self._tables[listener] = session.view.tables
                for table in session.view.tables:
                    self._seen_by[table].add(listener)
                listener.see(session.view)
        moved = set(published.moved)
        for table, change in published.changes:
            for listener in self._seen_by.get(table, ()):
                if listener.session not in moved:
                    listener.changed(change)

    def _forget(self, listener: Listener) -> None:
        for table in self._tables.pop(listener, ()):
            peers = self._seen_by[table]
            peers.discard(listener)
            if not peers:
                del self._seen_by[table]


def _after(deadline: float) -> Callable[[], bool]:
    return lambda: time.perf_counter() > deadline
