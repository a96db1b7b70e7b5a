"""How far one object has been rolled out: how many proxies need what it makes, have it, or refused it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

MOST_REFUSALS = 5  # that are kept of one object
_MESSAGE = 300  # characters of one


@dataclass(frozen=True, slots=True, order=True)
class ResourceRefusal:
    """One proxy's refusal of one resource, in its own words."""

    proxy: str
    resource: str
    message: str


@dataclass(frozen=True, slots=True, order=True)
class ProxyWaitedFor:
    """A proxy that has not accepted the newest version of a resource yet."""

    proxy: str
    resource: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one object has come, proxy by proxy: those that need it, that have accepted all of it, that lag, and that refuse."""

    needed: int
    accepted: int
    waiting: tuple[ProxyWaitedFor, ...] = ()
    refusals: tuple[ResourceRefusal, ...] = ()
    held_back: str = ""  # since when, and what is waited for, where some of it is not published yet
    published: bool = True  # False: what is published is from before its last change

    @property
    def programmed(self) -> bool:
        """Return whether every proxy that needs it has all of it."""
        return self.published and self.needed == self.accepted and not self.refusals and not self.held_back


@dataclass(frozen=True, slots=True)
class Rollout:
    """Of one object in the ``generation`` that is served: the proxies that need it, and those that have accepted all of it."""

    generation: int
    needed: int = 0
    accepted: int = 0
    refusals: tuple[ResourceRefusal, ...] = ()
    counted: bool = True  # False: there are more proxies, all of which have it, and nobody has said how many
    held_back: str = ""  # since when, and what is waited for, where some of it is not published yet

    @property
    def settled(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self.needed == self.accepted and not self.held_back

    def row(self) -> list[object]:
        """Return it as a replica publishes it for the others."""
        refusals = [[refusal.proxy, refusal.resource, refusal.message] for refusal in self.refusals]
        return [self.generation, self.needed, self.accepted, refusals, self.held_back[:_MESSAGE]]


def new_rollout(generation: int, needed: int, accepted: int, refusals: Iterable[ResourceRefusal]) -> Rollout:
    """Return a rollout with as much of the ``refusals`` as is worth showing: of those who say the same, the first."""
    distinct = {(refusal.resource, refusal.message): refusal for refusal in sorted(set(refusals), reverse=True)}
    worth_showing = [distinct[what] for what in sorted(distinct)][:MOST_REFUSALS]
    return Rollout(
        generation,
        needed,
        accepted,
        tuple(ResourceRefusal(refusal.proxy[:200], refusal.resource[:300], refusal.message[:_MESSAGE]) for refusal in worth_showing),
    )


def rollout_from_row(row: object) -> Rollout | None:
    """Return the rollout that another replica published as ``row``, ``None`` if it cannot be understood."""
    match row:
        case [int(generation), int(needed), int(accepted), [*refused], *more]:
            rows = [cells for cells in refused if isinstance(cells, list) and len(cells) == 3]
            refusals = [ResourceRefusal(str(proxy), str(resource), str(message)) for proxy, resource, message in rows]
            return replace(new_rollout(generation, needed, accepted, refusals), held_back=str(more[0]) if more else "")
        case _:
            return None


def total_rollout(rollouts: Iterable[Rollout | None], generation: int) -> Rollout | None:
    """Return the sum of the replicas' ``rollouts`` of ``generation``, ``None`` while one of them does not serve it yet."""
    replicas = list(rollouts)
    if any(rollout is None or rollout.generation < generation for rollout in replicas):
        return None
    return reduce(_plus, (rollout for rollout in replicas if rollout is not None), Rollout(generation))


def _plus(one: Rollout, other: Rollout) -> Rollout:
    needed, accepted, counted = one.needed + other.needed, one.accepted + other.accepted, one.counted and other.counted
    refusals, held_back = (*one.refusals, *other.refusals), one.held_back or other.held_back
    if not refusals:  # nearly always, and asked for every object once a second
        return Rollout(one.generation, needed, accepted, (), counted, held_back)
    return replace(new_rollout(one.generation, needed, accepted, refusals), counted=counted, held_back=held_back)
