"""One table with its memory: what is desired, what is published, and why the two differ.

Two things keep a new version from being published: it uses a resource that was not made, for a mistake of ours, or a rule of it leads
to what is not there, which often comes a moment later (``holds.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS
from controlplane.mesh.publish.holds import Holds
from controlplane.translate.clusters.clusters import BLACK_HOLE, PASSTHROUGH
from controlplane.xds.resource import Reference, Resource
from controlplane.xds.view import Table, TableChange

_CHECKED = frozenset((CDS, EDS, LDS, RDS))  # secrets come from elsewhere
_CHECKED_IN_OPEN = _CHECKED - {CDS, RDS}
_EVERYWHERE = frozenset(((CDS, BLACK_HOLE), (CDS, PASSTHROUGH)))  # in every view, though not in every table of it


class PublishedTable:
    """A table and the rule by which it changes: nothing is published that uses what is not there, nothing in use is taken away."""

    __slots__ = ("_checked", "_desired", "_kept", "_users", "_waiting", "holds", "table")

    def __init__(self, key: Hashable, hold_s: float = 0.0, *, closed: bool = True) -> None:
        """Begin an empty table for the part ``key``; what leads nowhere is held back for ``hold_s`` seconds at most.

        ``closed``: clusters and route tables that its resources use are in it as well.
        """
        self._checked = _CHECKED if closed else _CHECKED_IN_OPEN
        self.table = Table(key)
        self.holds = Holds(hold_s)
        self._desired: dict[Reference, Resource] = {}
        self._kept: set[Reference] = set()  # published and in use, but not desired any more
        self._waiting: dict[Reference, set[Reference]] = defaultdict(set)  # what is missing -> who would use it
        self._users: dict[Reference, set[Reference]] = defaultdict(set)  # used -> published users; may name past users

    def put(self, changed: Mapping[Reference, Resource | None], now: float = 0.0) -> TableChange | None:
        """Take ``changed`` as desired (``None``: gone), publish what may be at ``now``, and return what changed in the table."""
        added = set()
        for reference, resource in changed.items():
            if resource is None:
                self._desired.pop(reference, None)
            else:
                if reference not in self._desired:
                    added.add(reference)
                self._desired[reference] = resource
        candidates = dict.fromkeys((*changed, *self.holds.ended(now)))
        for reference in added:
            candidates.update(dict.fromkeys(self._waiting.pop(reference, ())))
        return self._publish(candidates, now)

    def renew(self, resources: Iterable[Resource]) -> TableChange | None:
        """Publish ``resources`` in the place of those that have their names, ahead of the rest; what is not published yet is left out."""
        renewed = {(resource.type_url, resource.name): resource for resource in resources}
        renewed = {
            reference: resource for reference, resource in renewed.items() if reference in self._desired and self._published(reference)
        }
        self._desired.update(renewed)
        return self._publish(renewed, 0.0)

    def _publish(self, candidates: Collection[Reference], now: float) -> TableChange | None:
        updated: dict[str, dict[str, Resource]] = defaultdict(dict)
        unused: set[Reference] = set(self._kept)
        published = {type_url: self.table.of_type(type_url) for type_url in {reference[0] for reference in candidates}}
        holding = bool(self.holds)
        for reference in candidates:
            resource = self._desired.get(reference)
            before = published[reference[0]].get(reference[1])
            if resource is None:
                unused.add(reference)
                self.holds.release(reference)
                continue
            if unused:
                self._kept.discard(reference)
                unused.discard(reference)
            missing = [used for used in resource.uses if used not in self._desired and used[0] in self._checked and used not in _EVERYWHERE]
            for used in missing:
                self._waiting[used].add(reference)
            if before is not None and missing:
                continue
            allowed = self.holds.allowed(resource, before, now) if holding or (before and resource.missing) else resource
            for used in allowed.uses:
                self._users[used].add(reference)
            updated[reference[0]][reference[1]] = allowed
        removed = self._unused(unused, updated)
        if not updated and not removed:
            return None
        change = self.table.apply(updated, removed)
        return change if change.updated or change.removed else None

    def _unused(self, candidates: set[Reference], updated: Mapping[str, Mapping[str, Resource]]) -> dict[str, frozenset[str]]:
        gone: set[Reference] = set()
        pending = [candidate for candidate in candidates if self._published(candidate) is not None]
        while pending:
            reference = pending.pop()
            if reference in gone or reference in self._desired:
                continue
            if self._in_use(reference, updated, gone):
                self._kept.add(reference)
                continue
            gone.add(reference)
            self._kept.discard(reference)
            self._users.pop(reference, None)
            before = self._published(reference)
            pending.extend(used for used in (before.uses if before else ()) if self._published(used) is not None)
        removed: dict[str, set[str]] = defaultdict(set)
        for type_url, name in gone:
            removed[type_url].add(name)
        return {type_url: frozenset(names) for type_url, names in removed.items()}

    def _in_use(self, reference: Reference, updated: Mapping[str, Mapping[str, Resource]], gone: set[Reference]) -> bool:
        users = self._users.get(reference, set())
        for user in tuple(users):
            current = updated.get(user[0], {}).get(user[1]) or self._published(user)
            if user in gone or current is None or reference not in current.uses:
                users.discard(user)
            else:
                return True
        return False

    def _published(self, reference: Reference) -> Resource | None:
        return self.table.of_type(reference[0]).get(reference[1])
