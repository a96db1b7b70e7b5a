"""What is known of one type on one stream, to be read. ``channel.py`` says what it means, and alone writes it.

What the properties return is the state itself and no copy, of a type that has no methods to change it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from controlplane.envoy.type_urls import PUSH_ORDER
from controlplane.xds.client_resources import ClientResources
from controlplane.xds.nack_bisection import NO_KEYS, ExclusiveKeys
from controlplane.xds.resource import Resource
from controlplane.xds.subscription import Subscription

_MUCH_MORE = 4  # times as many
_RANKS = {type_url: rank for rank, type_url in enumerate(PUSH_ORDER)}


def rank(type_url: str) -> int:
    """Return the place of ``type_url`` in the order of a change; the last for a type that nobody knows."""
    return _RANKS.get(type_url, len(_RANKS))


class Flight(NamedTuple):
    """A response on its way: what is in it, under which ``names``, and what the client had ``before``, of these and of others."""

    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    names: frozenset[str]
    before: ClientResources


class DependencyState(Enum):
    """How far a name has come that another resource uses."""

    READY = auto()  # the client has it, or does not ask for it here
    PENDING = auto()  # the client is yet to accept it for the first time
    REFUSED = auto()  # the client has refused it and has nothing of that name


@dataclass(slots=True, eq=False)
class ChannelState:
    """The state of one type, and the questions that others have about it."""

    type_url: str
    silent: bool = False  # a removal cannot be told: the client keeps what it asks for
    has_unknown_state: bool = False  # the client has something from an earlier stream, not known here
    rank: int = field(init=False)
    _subscription: Subscription = field(init=False, default_factory=Subscription)
    _dirty: set[str] = field(init=False, default_factory=set)
    _forced: set[str] = field(init=False, default_factory=set)
    _flight: Flight | None = field(init=False, default=None)
    _suspects: set[str] = field(init=False, default_factory=set)
    _parts: list[set[str]] = field(init=False, default_factory=list)  # the suspects, one set for each response to come
    _refused: dict[str, str] = field(init=False, default_factory=dict)  # the version that is not sent again
    _refused_together: dict[str, set[str]] = field(init=False, default_factory=dict)  # with which names
    _maybe_applied: dict[str, tuple[Resource | None, ...]] = field(init=False, default_factory=dict)
    _must_answer: bool = field(init=False, default=False)
    _answered: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Find the place of the type."""
        self.rank = rank(self.type_url)

    @property
    def client_resources(self) -> ClientResources:
        """Return what the client accepted last, or was just sent if it is in flight; ``None``: it has nothing."""
        return self._subscription.client_resources

    @property
    def wildcard(self) -> bool:
        """Return whether everything is asked for."""
        return self._subscription.wildcard

    @property
    def named(self) -> AbstractSet[str]:
        """Return the names asked for beside everything."""
        return self._subscription.named

    @property
    def size(self) -> int:
        """Return how many names are asked for, apart from everything."""
        return self._subscription.size

    @property
    def dirty(self) -> AbstractSet[str]:
        """Return the names to be compared with what is published."""
        return self._dirty

    @property
    def forced(self) -> AbstractSet[str]:
        """Return the names to be answered even if nothing is new."""
        return self._forced

    @property
    def flight(self) -> Flight | None:
        """Return the response that is on its way."""
        return self._flight

    @property
    def suspects(self) -> AbstractSet[str]:
        """Return the names that were refused with others, to be tried again."""
        return self._suspects

    @property
    def parts(self) -> Sequence[AbstractSet[str]]:
        """Return the suspects by the response in which each is to be tried."""
        return self._parts

    @property
    def refused(self) -> Mapping[str, str]:
        """Return the version of each name that is not sent again."""
        return self._refused

    @property
    def refused_together(self) -> Mapping[str, Collection[str]]:
        """Return with which names each was refused that cannot be tried without them."""
        return self._refused_together

    @property
    def maybe_applied(self) -> Mapping[str, tuple[Resource | None, ...]]:
        """Return what the client may have applied, by name, of what it refused; ``None`` is a removal."""
        return self._maybe_applied

    @property
    def must_answer(self) -> bool:
        """Return whether the client waits for an answer, be it an empty one (XP-39, XP-60)."""
        return self._must_answer

    @property
    def answered(self) -> bool:
        """Return whether there was a response already."""
        return self._answered

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to compose, or a response is still on its way."""
        return self._flight is not None or not (self._dirty or self._must_answer or self._parts)

    @property
    def plain(self) -> bool:
        """Return whether nothing but ``dirty`` is open: no response, no refusal, no forced name, no first answer."""
        if self._flight is not None or not self._answered:
            return False
        refusals = self._parts or self._refused or self._suspects or self._maybe_applied
        return not (refusals or self._forced or self._must_answer or self.has_unknown_state)

    @property
    def settled(self) -> bool:
        """Return whether the client has accepted everything that it asked for."""
        return self._flight is None and not (self._dirty or self._parts or self._refused)

    @property
    def open_names(self) -> int:
        """Return a count that falls when a name, or a part of the suspects, is settled."""
        return len(self._dirty) + len(self._parts) + len(self._refused)

    def unanswered(self, published: Iterable[frozenset[str]]) -> int:
        """Return of how many names that are asked for the client has nothing, and is to get nothing, as none of ``published`` has them."""
        client_resources = self._subscription.client_resources
        if self._subscription.wildcard:
            return len(frozenset(name for name in self._subscription.named if name not in client_resources).difference(*published))
        if not client_resources.lacking:
            return 0
        # Of very many names hardly any exist: what is published is less to look at than what is asked for.
        return client_resources.lacking - len({name for names in published for name in names if client_resources.lacks(name)})

    def wants(self, name: str) -> bool:
        """Return whether ``name`` is asked for."""
        return self._subscription.wants(name)

    def asks_for(self, name: str) -> bool:
        """Return whether ``name`` is asked for by itself or as part of everything."""
        return self._subscription.wants(name)

    def compare(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Return which of ``names``, all that is asked for now, are new, and which others are no longer."""
        return self._subscription.compare(names)

    def accepted(self, name: str) -> Resource | None:
        """Return what the client accepted last as ``name``."""
        if self._flight is not None and name in self._flight.names:
            return self._flight.before.get(name)
        return self.client_resources.get(name)

    def exclusive(self, name: str) -> ExclusiveKeys:
        """Return what the client has in use as ``name`` that no other name may have."""
        resource = self.client_resources.get(name)
        return resource.exclusive if resource else NO_KEYS

    def dependency_state(self, name: str, published: Resource | None) -> DependencyState:
        """Return how far ``name`` has come, which is ``published`` as such."""
        if published is None or not self.wants(name):
            return DependencyState.READY
        # A removal may be on its way, or may have been applied.
        present = self.accepted(name) is not None and self.client_resources.get(name) is not None
        if present and None not in self._maybe_applied.get(name, ()):
            return DependencyState.READY
        is_refused = self._refused.get(name) == published.version
        return DependencyState.REFUSED if is_refused else DependencyState.PENDING

    def unsettled(self) -> Iterator[Resource]:
        """Yield what the client may have in use of the names that are open in one way or another."""
        resources = [self.client_resources.get(name) for name in (*self._dirty, *self._refused, *self._suspects)]
        for versions in self._maybe_applied.values():
            resources += versions
        if self._flight is not None:
            resources += map(self._flight.before.get, self._flight.names)
            resources += self._flight.resources
        yield from (resource for resource in resources if resource is not None)


def without(names: set[str], done: AbstractSet[str]) -> set[str]:
    """Return ``names`` without what is ``done``: a new set where few are left, as one that was large once stays large."""
    if len(done) * _MUCH_MORE > len(names):
        return names - done
    names -= done
    return names
