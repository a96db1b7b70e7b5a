"""The update loop: takes facts in from everywhere, brings the mesh up to date with them, and has the result published.

What wakes it: facts in the mailbox (``submit``), a stream that has joined and has no view yet (``wake``), or the time until which
rules were held back that lead to what is not there.
What is one batch: everything in the mailbox at that moment. There is no timer that waits for more: the first fact is worked on at once, and
what arrives meanwhile is the next batch. So a change alone is published as soon as can be, and in a storm batches grow as large as the
work on one takes long. The mailbox holds the latest fact about each thing, so it never outgrows what there is.
What happens in between: facts are applied in pieces and the mesh is refreshed in slices, and the event loop serves others after each. A
batch is one all the same, as nothing is published before its refresh is whole, but for endpoints: where that takes long, they go ahead,
also those that arrive meanwhile.
What an exception ends: this batch. It is an internal error, it is logged, what is left of the batch is not applied, and what was published
stays. A query that fails is no exception here, but a value that is logged beside the rest of the result.

The sync gate: ``synced`` is set once each source has handed in everything it has, that has been published, and the keys of issuers are
there or have been waited for long enough. What most proxies will see is begun before it, for a second at most. A batch that an exception
ended counts: one object that we cannot handle must not keep every proxy waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Protocol, TypeAlias

from prometheus_client import Histogram

from controlplane.app.observability.change_traces import ChangeTrace, ChangeTraces
from controlplane.mesh.facts import Fact, Mailbox
from controlplane.mesh.mesh import Mesh, Published
from controlplane.model.deferrals import Deferral
from controlplane.model.keys import Key
from controlplane.objects.changes import MeshChange
from controlplane.objects.extensions.modules import ModuleSource
from controlplane.slices import SLICE_S, next_turn
from controlplane.xds.view import Table, TableChange, merged

log = logging.getLogger(__name__)

_AHEAD_EVERY_S = 0.1  # how long endpoints wait at most for the rest of their batch, and for another batch
_AHEAD_ALONE_S = 1.0  # and where there is no rest, which is nearly always done sooner: it would be done twice
_EXPECT_S = 1.0  # how long what proxies will see is worked out before they are let in
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)  # of seconds
_AHEAD_S = 10.0  # how long those that arrive are added to a batch: it has to come to an end
Publish: TypeAlias = Callable[[Published], None]


class Issuers(Protocol):
    """What fetches the keys of token issuers, as far as the loop needs it."""

    @property
    def settled(self) -> bool:
        """Return whether proxies need not be kept waiting for keys any longer."""

    def want(self, timeouts: Mapping[str, int | None]) -> None:
        """Keep the keys at the addresses of ``timeouts`` from now on, and no others; an answer is waited for as many milliseconds."""


class ModulesToFetch(Protocol):
    """What fetches modules, as far as the loop needs it."""

    def want(self, sources: Collection[ModuleSource]) -> None:
        """Keep the modules at ``sources`` from now on, and no others."""


async def _at_once() -> None:
    """Wait for nothing."""


class UpdateLoop:
    """The only caller of ``mesh.apply`` and ``mesh.refresh`` in a control plane that serves."""

    def __init__(
        self,
        mesh: Mesh,
        sources: Iterable[str],
        issuers: Issuers | None = None,
        clock: Callable[[], float] = time.time,
        *,
        identified: bool = False,
        modules: ModulesToFetch | None = None,
    ) -> None:
        """Update ``mesh``; it is synced when each of ``sources`` has submitted once, and ``issuers``, if keys are fetched, are settled.

        ``clock`` says the seconds since the epoch; most proxies will be ``identified`` by a certificate. ``modules`` are fetched, too.
        """
        self._mesh = mesh
        self._identified = identified
        self._issuers = issuers
        self._modules_to_fetch = modules
        self._waiting_for = set(sources)
        self._mailbox = Mailbox()
        self._wake_event = asyncio.Event()
        self.synced = asyncio.Event()
        self._clock = clock
        self._due: float | None = None
        self.held_back: Mapping[Key, Deferral] = {}
        self.holds = 0  # how many objects were held back, or were so no longer
        self.refreshes = 0
        self.published_at: dict[Key, float] = {}  # since when each object is published as it is, in seconds since the epoch
        self._changed: set[Key] = set()  # by what was applied and is not published yet
        self.key_updates = 0  # how often issuers' keys, or modules, were submitted
        self.traces: ChangeTraces | None = None
        self.refresh_seconds = Histogram(
            "navarch_refresh_seconds", "How long bringing the configuration up to date took, a batch.", registry=None, buckets=_BUCKETS
        )
        if not self._waiting_for:
            self.synced.set()

    def submit(self, source: str, facts: Iterable[Fact], since_ns: int | None = None) -> None:
        """Put ``facts`` of ``source`` into the mailbox, be they none; the first of a source that ``synced`` waits for are all it has.

        They were noticed ``since_ns``, in nanoseconds since the epoch; ``None``: just now.
        """
        self.key_updates += self._mailbox.put(source, facts, time.time_ns() if since_ns is None else since_ns)
        self._wake_event.set()

    def is_published(self, key: Key) -> bool:
        """Return whether what was applied last of the object ``key`` is published, as far as nothing of it is held back."""
        return key in self.published_at and key not in self._changed

    def wake(self) -> None:
        """Refresh the mesh though nothing was submitted: a stream has joined."""
        self._wake_event.set()

    async def run(self, publish: Publish, all_composed: Callable[[], Awaitable[None]] = _at_once) -> None:
        """Work batch by batch, and hand what each brings to ``publish``, until cancelled.

        The next one begins after ``all_composed``: when every stream that was woken has composed what it sends. So in a storm they all send
        the same, which is composed once, and less often.
        """
        while True:
            await self._woken_or_due()
            await all_composed()
            self._wake_event.clear()
            batch, self._mailbox = self._mailbox, Mailbox()
            try:
                if self.traces and batch.since:
                    await self._work_traced(batch, publish, self.traces)
                else:
                    await self._apply(batch)
                    self._publish(await self._refresh(batch, publish), publish)
                if self._are_all_in(batch.sources):
                    await self._expect_proxies(publish)
            except Exception:  # an internal error; what was published stays
                log.exception("refresh failed")
            self._mark_submitted(batch.sources)

    async def _work_traced(self, batch: Mailbox, publish: Publish, traces: ChangeTraces) -> None:
        trace = traces.begin(batch.since, len(batch))
        traced = traces.publishing(trace, publish)
        try:
            with traces.step(trace, "apply"):
                await self._apply(batch, trace)
            with traces.step(trace, "refresh"):
                published = await self._refresh(batch, traced)
            self._publish(published, traced)
        finally:
            traces.all_published(trace)

    async def _woken_or_due(self) -> None:
        """Wait for something to do."""
        left = None if self._due is None else max(0.0, self._due - self._clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._wake_event.wait()

    async def _apply(self, batch: Mailbox, trace: ChangeTrace | None = None) -> None:
        for piece in batch.pieces():
            before = {fact.key: self._mesh.object(fact.key) for fact in piece if isinstance(fact, MeshChange)} if trace else {}
            changed = self._mesh.apply(piece)
            self._changed |= changed
            if trace:
                for key in sorted(changed):
                    trace.note_object(key, before.get(key), self._mesh.object(key))
            await next_turn()

    async def _refresh(self, batch: Mailbox, publish: Publish) -> Published:
        began = time.perf_counter()
        ahead_at = began + (_AHEAD_ALONE_S if batch.has_endpoints_alone else _AHEAD_EVERY_S)
        while True:
            published = self._mesh.refresh(_after(time.perf_counter() + SLICE_S), self._clock())
            if published.done:
                self.refreshes += 1
                self.refresh_seconds.observe(time.perf_counter() - began)
                return published
            await next_turn()
            if ahead_at <= time.perf_counter() < began + _AHEAD_S:
                await self._refresh_endpoints(publish)
                ahead_at = time.perf_counter() + _AHEAD_EVERY_S

    async def _refresh_endpoints(self, publish: Publish) -> None:
        """Publish the endpoints of the batch, and those that have arrived since, ahead of what is left of it."""
        for piece in self._mailbox.take_endpoints():
            self._mesh.apply(piece)
            await next_turn()
        changes: list[tuple[Table, TableChange]] = []
        publish_at = time.perf_counter() + _AHEAD_EVERY_S
        while True:
            published = self._mesh.refresh_endpoints(_after(time.perf_counter() + SLICE_S))
            changes += published.changes
            if changes and (published.done or time.perf_counter() > publish_at):
                publish(dataclasses.replace(published, changes=merged(changes)))
                changes.clear()
                publish_at = time.perf_counter() + _AHEAD_EVERY_S
            await next_turn()
            if published.done:
                return

    def _publish(self, published: Published, publish: Publish) -> None:
        if published.wanted.keys is not None and self._issuers:
            self._issuers.want(published.wanted.keys)
        if published.wanted.modules is not None and self._modules_to_fetch:
            self._modules_to_fetch.want(published.wanted.modules)
        for failed in published.failed:
            log.error("query failed", extra={"query": str(failed), "where": failed.where})
        self._note_deferrals(published)
        self._note_changes()
        publish(published)

    def _note_changes(self) -> None:
        now = self._clock()
        for key in self._changed:
            if self._mesh.object(key) is None:
                self.published_at.pop(key, None)
            else:
                self.published_at[key] = now
        self._changed.clear()

    def _note_deferrals(self, published: Published) -> None:
        before, self.held_back, self._due = self.held_back, published.held_back, published.due
        self.holds += len(before.keys() ^ self.held_back.keys())

    def _are_all_in(self, sources: Iterable[str]) -> bool:
        return bool(self._waiting_for) and self._waiting_for.issubset(sources)

    async def _expect_proxies(self, publish: Publish) -> None:
        """Work out what most proxies will see, for a second at most; the rest is part of the next refresh."""
        self._mesh.expect_proxies(identified=self._identified)
        ends = time.perf_counter() + _EXPECT_S
        while time.perf_counter() < ends:
            published = self._mesh.refresh(_after(time.perf_counter() + SLICE_S), self._clock())
            if published.done:
                self._publish(published, publish)
                return
            await next_turn()
        self._wake_event.set()

    def _mark_submitted(self, sources: Iterable[str]) -> None:
        self._waiting_for.difference_update(sources)
        if not self._waiting_for and not self.synced.is_set() and (self._issuers is None or self._issuers.settled):
            self.synced.set()
            log.info("synced", extra={"objects": len(self._mesh.keys)})


def _after(deadline: float) -> Callable[[], bool]:
    return lambda: time.perf_counter() > deadline
