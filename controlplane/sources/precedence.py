"""Which source counts where several give the same object: the first in the order in which they are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.objects.parse import Object


class Precedence:
    """Which object counts of those that the sources give. With a single source nothing is kept."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Let the first of ``sources`` that gives an object win."""
        self._ranks = {name: rank for rank, name in enumerate(dict.fromkeys(sources))}
        self._names = tuple(self._ranks)
        self._by_rank: dict[Key, dict[int, Object]] = {}
        self._copy: Precedence | None = None

    def take(self, source: str, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Take in ``changes`` of ``source``, and return what changes by them for the mesh."""
        if len(self._ranks) < 2:
            return tuple(changes)
        self._copy = None
        return tuple(effective for change in changes for effective in self._fold(self._ranks[source], change))

    def copy(self) -> Precedence:
        """Return it as it is now, to be asked for problems elsewhere: one and the same until something is taken in."""
        if self._copy is None:
            self._copy = copied = Precedence(self._names)
            copied._by_rank = {key: dict(by_rank) for key, by_rank in self._by_rank.items() if len(by_rank) > 1}
        return self._copy

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield which objects are given by more than one source."""
        for key, by_rank in self._by_rank.items():
            if len(by_rank) > 1:
                yield (LocatedProblem(_shadowed(key, self._names, by_rank)),)

    def location(self, _key: Key, _path: str) -> Location | None:
        """Return ``None``: the sources know where their objects stand."""
        return None

    def _fold(self, rank: int, change: Change) -> Iterator[Change]:
        by_rank = self._by_rank.setdefault(change.key, {})
        before = by_rank[min(by_rank)] if by_rank else None
        if change.object is None:
            by_rank.pop(rank, None)
        else:
            by_rank[rank] = change.object
        after = by_rank[min(by_rank)] if by_rank else None
        if not by_rank:
            del self._by_rank[change.key]
        if after is not before:
            yield Change(change.key, after)


def _shadowed(key: Key, source_names: Sequence[str], ranks: Iterable[int]) -> Problem:
    first, *others = (source_names[rank] for rank in sorted(ranks))
    message = f"this object is given by {first} and by {', '.join(others)}: the one of {first} is used"
    return Problem(key, "", Severity.WARNING, "Shadowed", message)
