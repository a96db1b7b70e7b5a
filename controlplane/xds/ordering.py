"""What of a channel may go into its next response, so that nothing breaks before it is made.

Two rules, both read from what resources ``uses``. What uses a name that the client is yet to accept for the first time waits for that
ACK. What is gone is taken away only when nothing that the client may have in use still refers to it.

Of virtual hosts two more. A domain stays where it is until the host that takes it over can go. And the last hosts of a route configuration
go ahead of its version without any: Envoy has no subscription to virtual hosts then, and those that it has stay in use for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.xds.channel_state import ChannelState, DependencyState
from controlplane.xds.nack_bisection import NO_KEYS, ExclusiveKeys, with_conflicting
from controlplane.xds.resource import Resource
from controlplane.xds.view import View, folder

_USERS = {CDS: (LDS, RDS, VHDS, ECDS), EDS: (CDS,), RDS: (LDS,), SDS: (CDS, LDS), ECDS: (LDS,)}

Find = Callable[[str], Resource | None]


@dataclass(slots=True)
class Plan:
    """What to send and what to remove now, and which names have to be looked at again later."""

    send: list[Resource] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    wait: set[str] = field(default_factory=set)  # for the first ACK of what they use
    same: list[Resource] = field(default_factory=list)  # what the client has already
    stay: set[str] = field(default_factory=set)  # as they are: what they use was refused, or they are gone but in use

    def __bool__(self) -> bool:
        """Return whether there is anything to say."""
        return bool(self.send or self.remove)


class Planner:
    """Plans responses of one channel among ``channels`` of a stream that sees ``view``."""

    def __init__(self, channel: ChannelState, channels: Collection[ChannelState], view: View, find: Find) -> None:
        """Plan for ``channel`` as things are now; ``find`` gives what is to be sent of a name."""
        self._channel = channel
        self._view = view
        self._find = find
        self._channels = channels
        self._below: dict[str, tuple[ChannelState, Find]] = {}
        for other in channels:
            if other.rank < channel.rank and not other.settled and channel.type_url in _USERS.get(other.type_url, ()):
                self._below[other.type_url] = other, view.lookup(other.type_url)
        self._emptied = self._emptied_tables() if channel.type_url == RDS else frozenset()

    @property
    def sees_published_only(self) -> bool:
        """Return whether a plan depends on nothing but what is published and what the client has accepted."""
        channel = self._channel
        return not (self._below or self._emptied or channel.refused or channel.suspects or channel.maybe_applied)

    def changed_since_refused(self) -> list[str]:
        """Return the names to be looked at whose published version is not the one that was refused."""
        channel = self._channel
        return [name for name in channel.dirty if _version(self._find(name)) != channel.refused.get(name)]

    def batches(self) -> Iterator[AbstractSet[str]]:
        """Yield the names that may go together: what is new, then, part by part, what was refused in company."""
        channel = self._channel
        fresh = channel.dirty
        if channel.suspects:
            fresh = with_conflicting(fresh - channel.suspects, channel.suspects, self._exclusive)
        if channel.type_url == ECDS and fresh:
            # Envoy takes what it has refused for what it has, if it comes again: what is at fault has to be known the first time.
            yield from ({name} for name in sorted(fresh))
        else:
            yield fresh
        for part in tuple(channel.parts):
            yield with_conflicting(part, channel.suspects | channel.dirty, self._exclusive)

    def plan(self, names: Iterable[str], *, keep: bool) -> Plan:
        """Return what to do about ``names``; ``keep``: nothing is taken away yet."""
        channel, find, found = self._channel, self._find, Plan()
        client_resources, forced, refused, maybe_applied = channel.client_resources, channel.forced, channel.refused, channel.maybe_applied
        gone: list[str] = []
        place = self._place if self._below or self._emptied else lambda resource, found: found.send.append(resource)
        for name in sorted(names):
            resource = find(name)
            if resource is None:
                gone.append(name)
            elif client_resources.get(name) is None and name not in refused:
                place(resource, found)  # a first answer, most often: as quick as can be
            elif name in forced or _is_news(resource, None if name in maybe_applied else client_resources.get(name), refused.get(name)):
                place(resource, found)
            elif resource == client_resources.get(name):
                found.same.append(resource)
        if gone:
            self._part(gone, found, keep=keep)
        if (found.send and found.send[0].exclusive) or (found.remove and found.wait):
            self._untangle(found)
        return found

    def _place(self, resource: Resource, found: Plan) -> None:
        if resource.name in self._emptied:
            found.wait.add(resource.name)
            return
        match self._dependency_state(resource):
            case DependencyState.PENDING:
                found.wait.add(resource.name)
            case DependencyState.REFUSED if self._channel.accepted(resource.name) is not None:
                found.stay.add(resource.name)
            case _:
                found.send.append(resource)

    def _dependency_state(self, resource: Resource) -> DependencyState:
        worst = DependencyState.READY
        for type_url, name in resource.uses:
            if below := self._below.get(type_url):
                other, find = below
                match other.dependency_state(name, find(name)):
                    case DependencyState.PENDING:
                        return DependencyState.PENDING
                    case DependencyState.REFUSED:
                        worst = DependencyState.REFUSED
                    case _:
                        pass
        return worst

    def _part(self, gone: list[str], found: Plan, *, keep: bool) -> None:
        channel = self._channel
        client_resources = channel.client_resources
        in_use: set[str] | None = None
        for name in gone:
            before, forced = client_resources.get(name), name in channel.forced
            if before is None and name not in channel.maybe_applied:
                if forced and not channel.silent:
                    found.remove.append(name)
                continue
            if in_use is None and not keep:
                in_use = self._in_use(gone)
            free = in_use is not None and not channel.silent and name not in in_use
            known = before is not None and bool(before.frame)
            # A cluster on its way in warms until it hears of its endpoints, be it what they were, or that there are none.
            if free or (forced and not known and channel.type_url == EDS):
                found.remove.append(name)
                continue
            found.stay.add(name)
            if forced and before is not None and known:
                found.send.append(before)

    def _in_use(self, names: Iterable[str]) -> set[str]:
        channel = self._channel
        if channel.type_url == VHDS:
            return self._in_leaving_tables(names)
        users = _USERS.get(channel.type_url, ())
        used: set[str] = set()
        for other in self._channels:
            if other.type_url in users:
                if other.has_unknown_state and not other.settled:
                    return set(names)  # what the client has from an earlier stream may use anything
                for resource in other.unsettled():
                    if not resource.frame:  # likewise
                        return set(names)
                    used.update(name for type_url, name in resource.uses if type_url == channel.type_url)
        return used

    def _in_leaving_tables(self, hosts: Iterable[str]) -> set[str]:
        """Return those of ``hosts`` whose route configuration is gone with them, but is in use as long as its listener."""
        for other in self._channels:
            if other.type_url == RDS:
                client_resources = other.client_resources
                return {name for name in hosts if client_resources.get(folder(name)) and self._view.get(RDS, folder(name)) is None}
        return set()

    def _emptied_tables(self) -> AbstractSet[str]:
        """Return the route configurations that have no hosts any more, and of which the client has some that it is still to be told of."""
        hosts = next((other for other in self._channels if other.type_url == VHDS and other.client_resources), None)
        if hosts is None:
            return frozenset()
        published = self._view.lookup(VHDS)
        gone = {folder(name) for name in hosts.dirty | hosts.suspects if hosts.client_resources.get(name) and published(name) is None}
        return {table for table in gone if not any(self._view.within(VHDS, table))}

    def _exclusive(self, name: str) -> ExclusiveKeys:
        published = self._find(name)
        return self._channel.exclusive(name) | (published.exclusive if published else NO_KEYS)

    def _untangle(self, found: Plan) -> None:
        """Hold back what takes an exclusive key that a name outside this response has at the client, and what gives up a key for one."""
        channel, find = self._channel, self._find
        going = {resource.name for resource in found.send} | set(found.remove)
        refused = channel.refused.keys() - {resource.name for resource in found.same}
        staying = (found.wait | found.stay | refused | channel.suspects) - going
        taken = NO_KEYS.union(*map(channel.exclusive, staying))
        wanted = NO_KEYS.union(*(resource.exclusive for name in found.wait if (resource := find(name))))
        while True:
            sent = {each.name for each in found.send if each.exclusive & taken or (channel.exclusive(each.name) - each.exclusive) & wanted}
            clashing = sent | {name for name in found.remove if channel.exclusive(name) & wanted}
            if not clashing:
                return
            taken = taken.union(*map(channel.exclusive, clashing))
            wanted = wanted.union(*(resource.exclusive for resource in found.send if resource.name in sent))
            found.stay |= clashing
            found.send = [resource for resource in found.send if resource.name not in clashing]
            found.remove = [name for name in found.remove if name not in clashing]


def _version(resource: Resource | None) -> str | None:
    return resource.version if resource else None


def _is_news(resource: Resource, accepted: Resource | None, refused: str | None) -> bool:
    return resource is not accepted and (accepted is None or resource != accepted) and resource.version != refused
