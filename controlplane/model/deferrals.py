"""What of a change is not published yet, as it leads to what is not there: the other half of the change often comes a moment later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from controlplane.model.keys import Key


class MissingDestination(NamedTuple):
    """A destination that is not there, and the object whose rule names it."""

    object: Key
    destination: str


MissingDestinations = frozenset[MissingDestination]
NONE_MISSING: MissingDestinations = frozenset()


@dataclass(frozen=True, slots=True)
class Deferral:
    """A published rule stays as it was ``since`` then, for the destinations ``missing``; times are seconds since the epoch."""

    since: float
    until: float  # when it is published whether or not they have come
    missing: MissingDestinations

    @property
    def destinations(self) -> str:
        """Return what it waits for, as users read it."""
        return ", ".join(sorted({missing.destination for missing in self.missing}))

    @property
    def message(self) -> str:
        """Return it in words."""
        times = f"since {_time(self.since)} its last version stays in effect, until {_time(self.until)} at most"
        return f"{times}: waiting for {self.destinations}"


def by_object(held: Iterable[Deferral]) -> Mapping[Key, Deferral]:
    """Return what is ``held`` of each object: since the first of it, and until the last."""
    found: dict[Key, Deferral] = {}
    for each in held:
        for missing in each.missing:
            other = found.get(missing.object)
            since = min(each.since, other.since) if other else each.since
            until = max(each.until, other.until) if other else each.until
            found[missing.object] = Deferral(since, until, frozenset({missing}) | (other.missing if other else NONE_MISSING))
    return found


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
