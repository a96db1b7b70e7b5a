"""How far one object has come: how many proxies need what it makes, have it, or refused it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

MOST_REFUSALS = 5  # that are kept of one object
_MESSAGE = 300  # characters of one


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """One proxy's refusal of one resource, in its own words."""

    proxy: str
    resource: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one object in the ``generation`` that is served: the proxies that need it, and those that have accepted all of it."""

    generation: int
    needed: int = 0
    accepted: int = 0
    refusals: tuple[Refusal, ...] = ()

    @property
    def settled(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self.needed == self.accepted

    def row(self) -> list[object]:
        """Return it as a replica tells it to the others."""
        return [self.generation, self.needed, self.accepted, [[each.proxy, each.resource, each.message] for each in self.refusals]]


def standing(generation: int, needed: int, accepted: int, refusals: Iterable[Refusal]) -> Standing:
    """Return a standing with as much of the ``refusals`` as is worth telling."""
    kept = sorted(set(refusals))[:MOST_REFUSALS]
    return Standing(
        generation, needed, accepted, tuple(Refusal(each.proxy[:200], each.resource[:300], each.message[:_MESSAGE]) for each in kept)
    )


def read(row: object) -> Standing | None:
    """Return the standing that another replica told as ``row``, ``None`` if it cannot be understood."""
    match row:
        case [int(generation), int(needed), int(accepted), [*refused]]:
            told = [Refusal(str(each[0]), str(each[1]), str(each[2])) for each in refused if isinstance(each, list) and len(each) == 3]
            return standing(generation, needed, accepted, told)
        case _:
            return None


def total(standings: Iterable[Standing | None], generation: int) -> Standing | None:
    """Return the sum of the replicas' ``standings`` of ``generation``, ``None`` while one of them does not serve it yet."""
    found = list(standings)
    if any(each is None or each.generation < generation for each in found):
        return None
    return reduce(_plus, (each for each in found if each is not None), Standing(generation))


def _plus(one: Standing, other: Standing) -> Standing:
    refusals = (*one.refusals, *other.refusals)
    return standing(one.generation, one.needed + other.needed, one.accepted + other.accepted, refusals)
