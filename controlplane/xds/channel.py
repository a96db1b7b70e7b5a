"""One type on one stream: what is asked for, what the client has, and what is still to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from controlplane.envoy.type_urls import PUSH_ORDER
from controlplane.xds.nack_bisection import NO_KEYS, ExclusiveKeys, split_refused
from controlplane.xds.resource import Resource
from controlplane.xds.subscription import Subscription

_MOST_MAYBE_APPLIED = 8  # of one name

_RANKS = {type_url: rank for rank, type_url in enumerate(PUSH_ORDER)}


def rank(type_url: str) -> int:
    """Return the place of ``type_url`` in the order of a change; the last for a type that nobody knows."""
    return _RANKS.get(type_url, len(_RANKS))


def unknown(type_url: str, name: str, version: str) -> Resource:
    """Return what stands for a resource that the client has from an earlier stream: what it says and uses is not known here."""
    return Resource(type_url, name, version, b"", 0)


@dataclass(slots=True)
class Flight:
    """A response on its way: what is in it, and what the client had of each of its names before."""

    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    before: dict[str, Resource | None]


class DependencyState(Enum):
    """How far a name has come that another resource uses."""

    READY = auto()  # the client has it, or does not ask for it here
    PENDING = auto()  # the client is yet to accept it for the first time
    REFUSED = auto()  # the client has refused it and has nothing of that name


@dataclass(slots=True, eq=False)
class Channel:
    """The state of one type. What ``subscription`` holds is what the client accepted last, or was just sent if it is in ``flight``."""

    type_url: str
    silent: bool = False  # that something is gone cannot be told: the client has it until it asks for it no longer
    subscription: Subscription = field(default_factory=Subscription)
    rank: int = 0
    dirty: set[str] = field(default_factory=set)  # to be looked at again
    forced: set[str] = field(default_factory=set)  # of these: to be answered even if nothing is new
    flight: Flight | None = None
    suspects: set[str] = field(default_factory=set)  # refused in company: to be tried again
    maybe_applied: dict[str, tuple[Resource | None, ...]] = field(default_factory=dict)  # what the client may have done of what it refused
    parts: list[set[str]] = field(default_factory=list)  # the suspects, by the response in which each is to be tried
    refused: dict[str, str] = field(default_factory=dict)  # refused alone: the version that is not sent again
    refused_together: dict[str, set[str]] = field(default_factory=dict)  # refused, but only with these: one of them may be blameless
    must_answer: bool = False  # an answer, even an empty one (XP-39, XP-60)
    answered: bool = False
    has_unknown_state: bool = False  # the client has something from an earlier stream that is not known here

    def __post_init__(self) -> None:
        """Find the place of the type."""
        self.rank = rank(self.type_url)

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to compose, or a response is still on its way."""
        return self.flight is not None or not (self.dirty or self.must_answer or self.parts)

    @property
    def plain(self) -> bool:
        """Return whether nothing but ``dirty`` and ``flight`` may be open: no refusal, no name to be answered, no first answer."""
        special = (
            self.parts or self.refused or self.suspects or self.maybe_applied or self.forced or self.must_answer or self.has_unknown_state
        )
        return self.answered and not special

    @property
    def settled(self) -> bool:
        """Return whether the client has accepted everything that it asked for."""
        return self.flight is None and not (self.dirty or self.parts or self.refused)

    def wants(self, name: str) -> bool:
        """Return whether ``name`` is asked for."""
        return self.subscription.wants(name)

    def accepted(self, name: str) -> Resource | None:
        """Return what the client accepted last as ``name``."""
        if self.flight is not None and name in self.flight.before:
            return self.flight.before[name]
        return self.subscription.held.get(name)

    def touch(self, names: Iterable[str]) -> bool:
        """Take note that ``names`` may have changed; return whether one of them is asked for."""
        held = self.subscription.held
        asked = names if self.subscription.wildcard else [name for name in names if name in held]
        self.dirty.update(asked)
        return bool(asked)

    def force(self, names: Iterable[str]) -> None:
        """Have ``names`` answered even if nothing is new."""
        self.forced.update(names)
        self.dirty |= self.forced

    def forget(self) -> None:
        """Drop what is known of names that are not asked for any more."""
        for names in (self.dirty, self.forced, self.suspects):
            names.difference_update([name for name in names if not self.wants(name)])
        self.parts = [left for part in self.parts if (left := part & self.suspects)]
        for name in [name for name in (*self.refused, *self.maybe_applied) if not self.wants(name)]:
            self.refused.pop(name, None)
            self.maybe_applied.pop(name, None)

    def dependency_state(self, name: str, published: Resource | None) -> DependencyState:
        """Return how far ``name`` has come, which is ``published`` as such."""
        if published is None or not self.wants(name):
            return DependencyState.READY
        has, keeps = self.accepted(name), self.subscription.held.get(name)  # a removal may be on its way, or in doubt
        if has is not None and keeps is not None and None not in self.maybe_applied.get(name, ()):
            return DependencyState.READY
        return DependencyState.REFUSED if self.refused.get(name) == published.version else DependencyState.PENDING

    def unsettled(self) -> Iterator[Resource]:
        """Yield what the client may have in use of the names whose last word is not spoken."""
        held = self.subscription.held
        doubtful = [held.get(name) for name in (*self.dirty, *self.refused, *self.suspects)]
        doubtful += [each for kept in self.maybe_applied.values() for each in kept]
        if self.flight is not None:
            doubtful += self.flight.before.values()
            doubtful += self.flight.resources
        yield from (each for each in doubtful if each is not None)

    def retry(self, names: Iterable[str]) -> None:
        """Look again at what was refused in company of one of ``names``, which are not what they were."""
        for name in [name for name in names if name in self.refused_together]:
            for other in self.refused_together.pop(name, ()):
                self.refused_together.pop(other, None)
                if self.refused.pop(other, None):
                    self.dirty.add(other)

    def exclusive(self, name: str) -> ExclusiveKeys:
        """Return what the client has in use as ``name`` that no other name may have."""
        held = self.subscription.held.get(name)
        return held.exclusive if held else NO_KEYS

    def launch(self, flight: Flight) -> None:
        """Begin ``flight``: what it brings counts as held from now on."""
        self.flight = flight
        self.forced.difference_update(flight.before)
        for name in self.refused.keys() & flight.before.keys():
            del self.refused[name]
        self.answered = True
        self.must_answer = False

    def accept(self, flight: Flight) -> None:
        """End ``flight``: the client has all of it."""
        self.flight = None
        self.has_unknown_state = False
        for name in self.maybe_applied.keys() & flight.before.keys():
            del self.maybe_applied[name]

    def refuse(self, flight: Flight) -> bool:
        """End ``flight``: the client has what it had before. Return whether it was tried alone, and is not tried again in this version."""
        self.flight = None
        sent = {resource.name: resource for resource in flight.resources}
        found = split_refused({name: _exclusive(sent.get(name), before) for name, before in flight.before.items()})
        tried = {name for name in flight.before if self.wants(name)}
        for name in tried:
            self.subscription.put(name, flight.before[name])
        if len(found) > 1:
            self.parts[:0] = [part & tried for part in found]
            self.suspects |= tried
            self.forced |= tried
            # Envoy keeps the good clusters and listeners of a response that it refuses, and removes what it says to remove.
            self.maybe_applied.update((name, (*self.maybe_applied.get(name, ()), sent.get(name))[-_MOST_MAYBE_APPLIED:]) for name in tried)
        else:
            self.refused.update((name, sent[name].version) for name in tried if name in sent)
            if len(tried) > 1:
                self.refused_together.update(dict.fromkeys(tried, tried))
        return len(found) <= 1


def _exclusive(*resources: Resource | None) -> ExclusiveKeys:
    return NO_KEYS.union(*(resource.exclusive for resource in resources if resource))
