"""One type on one stream: the state of each name, what changes it, and the only code that does.

Rule: everything that changes the state of a channel, its subscription or its response in flight is a method
of ``Channel``, in this file. The others ask (``channel_state.py``), plan (``ordering.py``), write responses
(``sotw.py``, ``delta.py``) and call these methods. ``TRANSITIONS`` below is the whole of it for one name,
and tests hold the code to it.

There is no queue. A channel keeps which names have to be looked at, and a response is composed from what is
published when it is taken; so a name that changes ten times while a response is on its way is sent once, in
its newest version.

- **What wakes a name.** A change of what is published (``touch``), another view (``look_again``), or a
  request that has to be answered even though the client has the resource, since Envoy warms what uses it
  until the answer comes (``force``, XP-51, XP-58). Composing compares each such name with what is
  published: it is sent, removed, left as it is, or stays as it was, because what it uses is not accepted
  yet, or because it is gone but something still uses it.
- **One response at a time.** ``launch`` counts what is sent as the client's at once and keeps in the flight what
  it had before. An ACK drops that; a NACK puts it back, for a client keeps what it had. A name that
  changes meanwhile is OVERTAKEN: it is looked at after the client's word.
- **Bisection.** A NACK names no resource, so ``refuse`` divides the names of the response
  (``nack_bisection.py``): each part is tried again by itself, and a part of many that is refused is divided
  again. Names that compete for an exclusive key, as two virtual hosts for a domain, are never divided: each
  alone would be refused for what the other has. What is refused and cannot be divided is at fault:
  REFUSED_ALONE, or REFUSED_TOGETHER where one of several may be blameless. That version is not sent again;
  another version of it is, and another version of one of those that were refused together has all of them
  tried again (``retry``).
- **What the client may have applied of what it refused.** Envoy takes the good clusters and listeners of a
  response that it refuses, and removes what it says to remove. So after a NACK of several the client may
  have any version that was tried, or nothing (MAYBE_APPLIED), until it accepts a response with that name.
  Until then it is sent even in the version that the client accepted last, and what any of them uses
  counts as in use.
- **What is unknown.** A client that reconnects says which versions it has (Delta), or that it has some
  (SotW). Where that is not what is published, its content and what it uses are UNKNOWN here: it may use
  anything, so nothing that could be used by it is removed until it is replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from controlplane.xds.channel_state import ChannelState, Flight, without
from controlplane.xds.nack_bisection import NO_KEYS, ExclusiveKeys, split_refused
from controlplane.xds.resource import Resource
from controlplane.xds.subscription import EVERYTHING

_MOST_MAYBE_APPLIED = 8  # versions of one name


class State(Enum):
    """What is to be done about one name, read from the sets of the channel; in several of them, it has the first."""

    UNASKED = "the client does not ask for it"
    OVERTAKEN = "in the response that is on its way, and to be looked at again after it"
    IN_FLIGHT = "in the response that is on its way"
    SUSPECT = "refused with others, to be tried again with fewer"
    FORCED = "to be answered, even if nothing is new"
    DIRTY = "to be compared with what is published"
    REFUSED_TOGETHER = "refused with others from which it cannot be divided: not sent again in this version"
    REFUSED_ALONE = "refused by itself: not sent again in this version"
    CLEAN = "nothing to do"


class Has(Enum):
    """What the client has of one name. Beside ``State``: a dirty name can have any of them."""

    MAYBE_APPLIED = "what it accepted last, or something that it refused since"
    NOTHING = "nothing"
    UNKNOWN = "something from an earlier stream"
    KNOWN = "what it accepted last"


Transitions = Mapping[str, Mapping[State, AbstractSet[State]]]  # by method and state before: the states after


def _table(rows: str) -> Transitions:
    """Return the transitions of lines ``method: BEFORE BEFORE > AFTER AFTER``."""
    table: dict[str, dict[State, AbstractSet[State]]] = {}
    for row in rows.strip().splitlines():
        method, _, states = row.partition(":")
        before, _, after = states.partition(">")
        for name in before.split():
            table.setdefault(method.strip(), {})[State[name]] = {State[each] for each in after.split()}
    return table


# What one method may make of the state of one name. Any name may stay as it is.
TRANSITIONS = _table("""
    subscribe: UNASKED > CLEAN IN_FLIGHT
    unsubscribe: CLEAN DIRTY FORCED IN_FLIGHT OVERTAKEN SUSPECT REFUSED_ALONE REFUSED_TOGETHER > UNASKED
    restore: CLEAN > DIRTY
    touch: CLEAN REFUSED_ALONE REFUSED_TOGETHER > DIRTY
    touch: IN_FLIGHT > OVERTAKEN
    look_again: CLEAN REFUSED_ALONE REFUSED_TOGETHER > DIRTY
    look_again: IN_FLIGHT > OVERTAKEN
    force: CLEAN DIRTY REFUSED_ALONE REFUSED_TOGETHER > FORCED
    force: IN_FLIGHT > OVERTAKEN
    retry: REFUSED_ALONE REFUSED_TOGETHER > DIRTY
    settle: DIRTY FORCED SUSPECT > CLEAN REFUSED_ALONE REFUSED_TOGETHER
    launch: DIRTY FORCED SUSPECT > IN_FLIGHT OVERTAKEN CLEAN REFUSED_ALONE REFUSED_TOGETHER
    launch: CLEAN > IN_FLIGHT
    launch_one: DIRTY > IN_FLIGHT
    accept: IN_FLIGHT > CLEAN SUSPECT
    accept: OVERTAKEN > DIRTY FORCED SUSPECT
    refuse: IN_FLIGHT > CLEAN SUSPECT REFUSED_ALONE REFUSED_TOGETHER
    refuse: OVERTAKEN > DIRTY FORCED SUSPECT
""")

# Besides, of virtual hosts (``vhds.py``): one is also asked for because its route configuration was sent, or because
# the client has it, so it stops being asked for, or is again, with these. And one that a client drops while it asks
# for everything is answered once more (XP-53), whether or not it is asked for in another way.
OF_VIRTUAL_HOSTS = _table("""
    restore: UNASKED > CLEAN DIRTY
    subscribe: UNASKED > CLEAN FORCED IN_FLIGHT OVERTAKEN SUSPECT DIRTY REFUSED_ALONE REFUSED_TOGETHER
    launch: UNASKED > IN_FLIGHT OVERTAKEN
    launch: DIRTY FORCED SUSPECT > UNASKED
    refuse: IN_FLIGHT OVERTAKEN > UNASKED
    client_dropped: CLEAN DIRTY FORCED IN_FLIGHT OVERTAKEN SUSPECT REFUSED_ALONE REFUSED_TOGETHER > UNASKED
""")


@dataclass(slots=True, eq=False)
class Channel(ChannelState):
    """The one writer of the state of one type."""

    def state_of(self, name: str) -> State:
        """Return what is to be done about ``name``."""
        if not self.wants(name):
            return State.UNASKED
        is_open = name in self._dirty or name in self._forced
        if self._flight is not None and name in self._flight.names:
            return State.OVERTAKEN if is_open else State.IN_FLIGHT
        if name in self._suspects:
            return State.SUSPECT
        if is_open:
            return State.FORCED if name in self._forced else State.DIRTY
        if name in self._refused:
            return State.REFUSED_TOGETHER if name in self._refused_together else State.REFUSED_ALONE
        return State.CLEAN

    def client_has(self, name: str) -> Has:
        """Return what the client has as ``name``."""
        if name in self._maybe_applied:
            return Has.MAYBE_APPLIED
        resource = self.accepted(name)
        if resource is None:
            return Has.NOTHING
        return Has.KNOWN if resource.frame else Has.UNKNOWN

    # What the client asks for.

    def begin_wildcard(self) -> None:
        """Ask for everything by a request without names, if no name was asked for before it (XP-23, XP-46)."""
        self._subscription.begin()

    def subscribe(self, names: Iterable[str]) -> None:
        """Ask for ``names``, of which one may be everything."""
        self._subscription.add(names)

    def unsubscribe(self, names: Iterable[str]) -> set[str]:
        """Ask for ``names`` no longer; return those that are asked for still, as part of everything."""
        still_asked = self._subscription.drop(dropped := set(names))
        if EVERYTHING in dropped:
            self.forget_unasked()
        self._forget({name for name in dropped if not self.wants(name)})
        return still_asked

    def forget_unasked(self) -> None:
        """Drop what is known of names that are not asked for any more."""
        known = chain(self._dirty, self._forced, self._suspects, self._refused, self._maybe_applied)
        self._forget({name for name in known if not self.wants(name)})

    def _forget(self, names: AbstractSet[str]) -> None:
        for known in (self._dirty, self._forced, self._suspects):
            known.difference_update(names)
        self._narrow_parts()
        for name in names:
            self._refused.pop(name, None)
            self._maybe_applied.pop(name, None)

    def client_dropped(self, names: Iterable[str]) -> None:
        """Take note that the client has ``names`` no more, without having been told to."""
        self._subscription.client_resources = self._subscription.client_resources.without(names)

    def owe_answer(self) -> None:
        """Have the next response sent even if it is empty."""
        self._must_answer = True

    def restore(self, resources: Collection[Resource]) -> None:
        """Take over what the client has from an earlier stream; what is unknown, without a frame, is looked at."""
        self._subscription.put(resources)
        self._dirty.update(resource.name for resource in resources if not resource.frame)

    # What wakes a name.

    def touch(self, names: Iterable[str]) -> bool:
        """Take note that ``names`` may have changed; return whether one of them is asked for."""
        client_resources = self._subscription.client_resources
        asked = names if self._subscription.wildcard else [name for name in names if name in client_resources]
        self._dirty.update(asked)
        return bool(asked)

    def look_again(self, names: Iterable[str]) -> None:
        """Compare ``names``, which are asked for, with what is published."""
        self._dirty.update(names)

    def force(self, names: Iterable[str]) -> None:
        """Have ``names`` answered even if nothing is new."""
        self._forced.update(names)
        self._dirty |= self._forced

    def retry(self, names: Iterable[str]) -> None:
        """Look again at what was refused together with one of ``names``, which have another version now."""
        for name in names:
            for other in self._refused_together.pop(name, ()):
                self._refused_together.pop(other, None)
                if self._refused.pop(other, None):
                    self._dirty.add(other)

    # What is composed and sent.

    def confirm(self, resources: Collection[Resource]) -> None:
        """Take note that the client has ``resources``, as they are published: they are known now, and not refused."""
        self._subscription.put(resources)
        for resource in resources if self._refused else ():
            self._refused.pop(resource.name, None)

    def settle(self, names: AbstractSet[str]) -> None:
        """Be done with ``names`` for now: they were sent, or there was nothing to say."""
        self._suspects = without(self._suspects, names)
        self._forced = without(self._forced, names)
        self._dirty = without(self._dirty, names)
        if self._parts:
            self._narrow_parts()

    def launch(self, nonce: str, version: str, send: Iterable[Resource], remove: Iterable[str], done: AbstractSet[str]) -> None:
        """Begin a response, and ``settle`` what is ``done`` with it: what it brings counts as what the client has from now on."""
        subscription, before = self._subscription, self._subscription.client_resources
        resources, removed = tuple(send), tuple(remove)
        names = frozenset([resource.name for resource in resources] + list(removed))
        subscription.put(resources, removed)
        self._flight = Flight(nonce, version, resources, removed, names, before)
        self._forced.difference_update(names)
        if self._refused:
            for name in self._refused.keys() & names:
                del self._refused[name]
        self._answered = True
        self._must_answer = False
        self.settle(done)

    def launch_one(self, nonce: str, resource: Resource) -> None:
        """Begin a Delta response with ``resource`` alone, on a channel where nothing else is open."""
        resources, subscription = (resource,), self._subscription
        self._flight = Flight(nonce, "", resources, (), frozenset(self._dirty), subscription.client_resources)
        self._dirty = set()
        subscription.client_resources = subscription.client_resources.having(resources)

    # What the client says of it.

    def accept(self, flight: Flight) -> None:
        """End ``flight``: the client has all of it."""
        self._flight = None
        self.has_unknown_state = False
        for name in self._maybe_applied.keys() & flight.names:
            del self._maybe_applied[name]

    def refuse(self, flight: Flight) -> bool:
        """End ``flight``: the client has what it had before. Return whether it cannot be divided, and is not sent again."""
        self._flight = None
        sent = {resource.name: resource for resource in flight.resources}
        names = [*sent, *flight.removed]
        parts = split_refused({name: _keys(sent.get(name), flight.before.get(name)) for name in names})
        tried = {name for name in names if self.wants(name)}
        self._subscription.put_back(tried, flight.before)
        if len(parts) <= 1:
            self._refused.update((name, sent[name].version) for name in tried if name in sent)
            if len(tried) > 1:
                self._refused_together.update(dict.fromkeys(tried, tried))
            return True
        self._parts[:0] = [part & tried for part in parts]
        self._suspects |= tried
        self._forced |= tried
        for name in tried:
            versions = (*self._maybe_applied.get(name, ()), sent.get(name))
            self._maybe_applied[name] = versions[-_MOST_MAYBE_APPLIED:]
        return False

    def _narrow_parts(self) -> None:
        self._parts = [left for part in self._parts if (left := part & self._suspects)]


def _keys(*resources: Resource | None) -> ExclusiveKeys:
    return NO_KEYS.union(*(resource.exclusive for resource in resources if resource))
