"""What has changed lately, and what became of it: the last batches of changes, with the objects as they were before and after.

Where instances are changes all the time, and says little of what somebody did: of batches of nothing else only a few are remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from controlplane.admin.schemas import ChangedObjectRow, HistoryRow, ManifestChange, ResourceName
from controlplane.admin.state import HistoryState
from controlplane.app.observability.change_traces import ChangeTrace
from controlplane.model.keys import CONFIGURATION_GROUPS, ENDPOINT_KINDS, Key
from controlplane.objects.kinds import MeshObject
from controlplane.objects.written import manifest

MOST_CHANGES = 400  # of configuration
MOST_MOVES = 100  # of batches that say where instances are, and nothing else
MOST_VERSIONS = 20_000  # of objects that were replaced, all together
_MOST_SHOWN = 100  # objects and resources of one batch
_CORE = frozenset(("Service", "Namespace", "ConfigMap"))


class ChangeHistory:
    """The last batches, the newest last."""

    def __init__(self) -> None:
        """Begin with none."""
        self.last = 0  # the number of the newest
        self._changes: deque[tuple[int, ChangeTrace]] = deque()
        self._moves: deque[tuple[int, ChangeTrace]] = deque(maxlen=MOST_MOVES)
        self._versions = 0

    @property
    def state(self) -> HistoryState:
        """Return where the admin API reads it."""
        return HistoryState(lambda: self.last, self.rows, self.unknown, self.between)

    def add(self, trace: ChangeTrace) -> None:
        """Remember ``trace``, all of which is published; what proxies say to it is still to come."""
        if not trace.objects and not trace.resources:
            return
        self.last += 1
        if not any(map(is_configuration, trace.objects)):
            self._moves.append((self.last, trace))
            return
        self._changes.append((self.last, trace))
        self._versions += len(trace.objects)
        while len(self._changes) > MOST_CHANGES or (self._versions > MOST_VERSIONS and len(self._changes) > 1):
            _, oldest = self._changes.popleft()
            self._versions -= len(oldest.objects)

    def rows(self, number: int | None = None) -> Iterator[HistoryRow]:
        """Yield the changes that are remembered, the newest first; with ``number`` that one alone, with all of its objects."""
        for each, trace in sorted((*self._changes, *self._moves), key=lambda entry: -entry[0]):
            if number in {None, each}:
                yield _row(each, trace, _MOST_SHOWN if number is None else None)

    def unknown(self, since: int, until: int) -> str | None:
        """Return why it cannot be said what changed after the change ``since`` until ``until``; ``None``: it can."""
        since, until = sorted((since, until))
        if not 0 <= since <= until <= self.last:
            return f"expected changes from 0 to {self.last}, found {since} and {until}"
        oldest = self._changes[0][0] if self._changes else 1
        if since < oldest - 1:
            return f"change {since} is not remembered any more: the oldest whose state is known is {oldest - 1}"
        cut = next((number for number, trace in self._after(since, until) if trace.objects_left_out), None)
        return f"change {cut} was of too many objects for all of them to be remembered: name a later one" if cut is not None else None

    def between(self, since: int, until: int) -> Iterator[ManifestChange]:
        """Yield what of configuration the changes after ``since`` until ``until`` changed, object by object; backwards too."""
        first: dict[Key, MeshObject | None] = {}
        last: dict[Key, MeshObject | None] = {}
        for _, trace in self._after(*sorted((since, until))):
            for key, changed in trace.objects.items():
                if is_configuration(key):
                    first.setdefault(key, changed.before)
                    last[key] = changed.after
        if since > until:
            first, last = last, first
        for key in sorted(last):
            before, after = first[key], last[key]
            if before != after:
                yield ManifestChange(object=str(key), before=manifest(before) if before else None, after=manifest(after) if after else None)

    def _after(self, since: int, until: int) -> Sequence[tuple[int, ChangeTrace]]:
        return [entry for entry in self._changes if since < entry[0] <= until]


def is_configuration(key: Key) -> bool:
    """Return whether the object ``key`` is what somebody has written, and not where an instance is."""
    return key.group_kind not in ENDPOINT_KINDS and (key.group in CONFIGURATION_GROUPS or key.kind in _CORE)


def _row(number: int, trace: ChangeTrace, most: int | None) -> HistoryRow:
    answered = [each.last_answered for each in trace.responses.values() if each.last_answered is not None]
    settled = not trace.waiting
    return HistoryRow(
        number=number,
        at=trace.began / 1e9,
        sources=tuple(trace.sources),
        objects=tuple(
            ChangedObjectRow(object=str(key), change="created" if each.before is None else "changed" if each.after else "deleted")
            for key, each in list(trace.objects.items())[:most]
        ),
        object_count=len(trace.objects) + trace.objects_left_out,
        resources=tuple(ResourceName(type=type_url.rpartition(".")[2], name=name) for type_url, name in sorted(trace.resources)[:most]),
        resource_count=len(trace.resources) + trace.resources_left_out,
        proxies=trace.connections,
        waiting=len(trace.waiting),
        refused=sum(each.refused for each in trace.responses.values()),
        failed=trace.failed,
        seconds=(max(answered) - trace.began) / 1e9 if answered and settled else None,
    )
