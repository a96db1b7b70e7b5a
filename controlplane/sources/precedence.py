"""Which source counts where several give the same object: the first in the order in which they are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.objects.parse import Object


class Precedence:
    """What each source gives, folded into what counts. With a single source nothing is kept."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Let the first of ``sources`` that gives an object win."""
        self._ranks = {name: rank for rank, name in enumerate(dict.fromkeys(sources))}
        self._names = tuple(self._ranks)
        self._given: dict[Key, dict[int, Object]] = {}

    def take(self, source: str, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Take in ``changes`` of ``source``, and return what changes by them for the mesh."""
        if len(self._ranks) < 2:
            return tuple(changes)
        return tuple(each for change in changes for each in self._fold(self._ranks[source], change))

    def copy(self) -> Precedence:
        """Return it as it is now, to be asked for problems in another thread."""
        copied = Precedence(self._names)
        copied._given = {key: dict(given) for key, given in self._given.items() if len(given) > 1}
        return copied

    def problems(self) -> tuple[LocatedProblem, ...]:
        """Return which objects are given by more than one source."""
        return tuple(LocatedProblem(_shadowed(key, self._names, given)) for key, given in sorted(self._given.items()) if len(given) > 1)

    def location(self, _key: Key, _path: str) -> Location | None:
        """Return no place: the sources know those."""
        return None

    def _fold(self, rank: int, change: Change) -> Iterator[Change]:
        given = self._given.setdefault(change.key, {})
        before = given[min(given)] if given else None
        if change.object is None:
            given.pop(rank, None)
        else:
            given[rank] = change.object
        after = given[min(given)] if given else None
        if not given:
            del self._given[change.key]
        if after is not before:
            yield Change(change.key, after)


def _shadowed(key: Key, names: Sequence[str], given: Iterable[int]) -> Problem:
    first, *others = (names[rank] for rank in sorted(given))
    message = f"this object is given by {first} and by {', '.join(others)}: the one of {first} is used"
    return Problem(key, "", Severity.WARNING, "Shadowed", message)
