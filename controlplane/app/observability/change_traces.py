"""What becomes of each batch of changes, as one trace: from its sources through the rooms to the last proxy that has accepted it.

Nothing travels with a change: the rooms stay as they are. Who hands a batch on says when each step began and ended, streams say when they
were told of a change, sent something of it, and were answered; and this fold puts together what belongs together. Times are nanoseconds
since the epoch, as OpenTelemetry has them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.mesh.mesh import Published
from controlplane.model.keys import Key
from controlplane.objects.kinds import MeshObject

MOST_OBJECTS = 2000  # of one batch that are remembered as they were before and after
MOST_RESOURCES = 1000  # of one batch that are named
MOST_OPEN = 100  # batches that some proxy has not accepted yet; of the oldest of more the trace ends before that


class TraceStep(NamedTuple):
    """A step of a batch's way."""

    name: str
    began: int
    ended: int


class ObjectVersions(NamedTuple):
    """An object before and after a batch; ``None``: it was not there."""

    before: MeshObject | None
    after: MeshObject | None


@dataclass(slots=True)
class Responses:
    """The responses of one type that brought a batch to proxies."""

    first_sent: int
    last_sent: int
    count: int = 0
    accepted: int = 0
    refused: int = 0
    last_answered: int | None = None


@dataclass(slots=True, eq=False)
class ChangeTrace:
    """One batch of changes."""

    began: int
    sources: Mapping[str, int]  # since when what came from each source has waited
    changes: int
    steps: list[TraceStep] = field(default_factory=list)
    responses: dict[str, Responses] = field(default_factory=dict)  # by type URL
    objects: dict[Key, ObjectVersions] = field(default_factory=dict)
    objects_left_out: int = 0
    resources: set[tuple[str, str]] = field(default_factory=set)  # that came out different, by type URL and name
    resources_left_out: int = 0
    connections: int = 0  # that were told of it
    failed: bool = False
    complete: bool = True
    waiting: set[int] = field(default_factory=set)  # connections that have not accepted it all
    in_flight: set[tuple[int, str]] = field(default_factory=set)
    published: bool = False

    def note_object(self, key: Key, before: MeshObject | None, after: MeshObject | None) -> None:
        """Take note that the object ``key`` was ``before``, and is ``after`` now."""
        if key in self.objects:
            before = self.objects[key].before
        elif len(self.objects) >= MOST_OBJECTS:
            self.objects_left_out += 1
            return
        self.objects[key] = ObjectVersions(before, after)

    def note_resources(self, published: Published) -> None:
        """Take note of the resources that ``published`` has changed."""
        for _, change in published.changes:
            for changed in (change.updated, change.removed):
                for type_url, names in changed.items():
                    for name in names:
                        if len(self.resources) < MOST_RESOURCES or (type_url, name) in self.resources:
                            self.resources.add((type_url, name))
                        else:
                            self.resources_left_out += 1

    @property
    def ended(self) -> int:
        """Return when the last thing became of it that is known."""
        answered = (each.last_answered or each.last_sent for each in self.responses.values())
        return max((self.began, *(step.ended for step in self.steps), *answered))


class ChangeTraces:
    """Follows the batches that are on their way; it observes what is pushed."""

    def __init__(
        self,
        export: Callable[[ChangeTrace], None],
        clock: Callable[[], int] = time.time_ns,
        remember: Callable[[ChangeTrace], None] = lambda _: None,
    ) -> None:
        """Hand each trace to ``remember`` when all of it is published, and to ``export`` when it has ended."""
        self._export = export
        self._remember = remember
        self._clock = clock
        self._open: dict[ChangeTrace, None] = {}  # the oldest first
        self._by_connection: dict[int, list[ChangeTrace]] = defaultdict(list)
        self._current: ChangeTrace | None = None  # that is being published

    def begin(self, sources: Mapping[str, int], changes: int) -> ChangeTrace:
        """Return the trace of a batch of ``changes``, which is worked on from now on; since when its ``sources`` have waited."""
        trace = ChangeTrace(min((*sources.values(), self._clock())), sources, changes)
        now = self._clock()
        trace.steps += [TraceStep(f"source {name}", since, now) for name, since in sources.items()]
        self._open[trace] = None
        if len(self._open) > MOST_OPEN:
            oldest = next(iter(self._open))
            oldest.complete = False
            self._end(oldest)
        return trace

    @contextmanager
    def step(self, trace: ChangeTrace, name: str) -> Iterator[None]:
        """Take the time of the step ``name`` of ``trace``."""
        began = self._clock()
        try:
            yield
        except BaseException:
            trace.failed = True
            raise
        finally:
            trace.steps.append(TraceStep(name, began, self._clock()))

    def publishing(self, trace: ChangeTrace, publish: Callable[[Published], None]) -> Callable[[Published], None]:
        """Return ``publish``; streams that it tells of changes are told of those of ``trace``."""

        def traced(published: Published) -> None:
            self._current = trace
            trace.note_resources(published)
            try:
                with self.step(trace, "publish"):
                    publish(published)
            finally:
                self._current = None

        return traced

    def all_published(self, trace: ChangeTrace) -> None:
        """Take note that nothing of ``trace`` is still to be published, be it that it failed."""
        trace.published = True
        self._remember(trace)
        self._end_if_done(trace)

    def changed(self, connection: int) -> None:
        """Take note that ``connection`` has something to send that has changed just now."""
        trace = self._current
        if trace is not None and connection not in trace.waiting:
            trace.waiting.add(connection)
            trace.connections += 1
            self._by_connection[connection].append(trace)

    def sent(self, connection: int, type_url: str) -> None:
        """Take note that ``connection`` is sent a response of ``type_url``: with all that has changed until now."""
        now = self._clock()
        for trace in self._by_connection.get(connection, ()):
            responses = trace.responses.setdefault(type_url, Responses(now, now))
            responses.count += 1
            responses.last_sent = now
            trace.in_flight.add((connection, type_url))

    def answered(self, connection: int, type_url: str, *, accepted: bool) -> None:
        """Take note that the last response of ``type_url`` on ``connection`` was ``accepted``, or refused."""
        now = self._clock()
        for trace in self._by_connection.get(connection, ()):
            if (connection, type_url) in trace.in_flight:
                trace.in_flight.discard((connection, type_url))
                responses = trace.responses[type_url]
                responses.accepted += accepted
                responses.refused += not accepted
                responses.last_answered = now

    def settled(self, connection: int) -> None:
        """Take note that ``connection`` has nothing to send and waits for no answer, or has ended."""
        for trace in self._by_connection.pop(connection, ()):
            trace.waiting.discard(connection)
            self._end_if_done(trace)

    def _end_if_done(self, trace: ChangeTrace) -> None:
        if trace.published and not trace.waiting and trace in self._open:
            self._end(trace)

    def _end(self, trace: ChangeTrace) -> None:
        del self._open[trace]
        for connection in trace.waiting:
            self._by_connection[connection].remove(trace)
        self._export(trace)
