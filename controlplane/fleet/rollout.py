"""How far one object has come: how many proxies need what it makes, have it, or refused it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

MOST_REFUSALS = 5  # that are kept of one object
_MESSAGE = 300  # characters of one


@dataclass(frozen=True, slots=True, order=True)
class ResourceRefusal:
    """One proxy's refusal of one resource, in its own words."""

    proxy: str
    resource: str
    message: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """Of one object in the ``generation`` that is served: the proxies that need it, and those that have accepted all of it."""

    generation: int
    needed: int = 0
    accepted: int = 0
    refusals: tuple[ResourceRefusal, ...] = ()

    @property
    def settled(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self.needed == self.accepted

    def row(self) -> list[object]:
        """Return it as a replica tells it to the others."""
        return [self.generation, self.needed, self.accepted, [[each.proxy, each.resource, each.message] for each in self.refusals]]


def new_rollout(generation: int, needed: int, accepted: int, refusals: Iterable[ResourceRefusal]) -> Rollout:
    """Return a standing with as much of the ``refusals`` as is worth telling."""
    kept = sorted(set(refusals))[:MOST_REFUSALS]
    return Rollout(
        generation,
        needed,
        accepted,
        tuple(ResourceRefusal(each.proxy[:200], each.resource[:300], each.message[:_MESSAGE]) for each in kept),
    )


def rollout_from_row(row: object) -> Rollout | None:
    """Return the standing that another replica told as ``row``, ``None`` if it cannot be understood."""
    match row:
        case [int(generation), int(needed), int(accepted), [*refused]]:
            told = [
                ResourceRefusal(str(each[0]), str(each[1]), str(each[2])) for each in refused if isinstance(each, list) and len(each) == 3
            ]
            return new_rollout(generation, needed, accepted, told)
        case _:
            return None


def total_rollout(standings: Iterable[Rollout | None], generation: int) -> Rollout | None:
    """Return the sum of the replicas' ``standings`` of ``generation``, ``None`` while one of them does not serve it yet."""
    found = list(standings)
    if any(each is None or each.generation < generation for each in found):
        return None
    return reduce(_plus, (each for each in found if each is not None), Rollout(generation))


def _plus(one: Rollout, other: Rollout) -> Rollout:
    refusals = (*one.refusals, *other.refusals)
    return new_rollout(one.generation, one.needed + other.needed, one.accepted + other.accepted, refusals)
