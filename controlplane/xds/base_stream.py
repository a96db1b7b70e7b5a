"""What both protocols have in common: channels, what changes do to them, and the order in which they are served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS
from controlplane.xds.channel import Channel
from controlplane.xds.channel_state import Flight
from controlplane.xds.events import Acked, Event, Nacked, Sent, Subscribed
from controlplane.xds.ordering import Plan, Planner
from controlplane.xds.part_trials import PartTrials
from controlplane.xds.replacements import Replacements
from controlplane.xds.resource import Resource
from controlplane.xds.shared_plans import SharedPlans
from controlplane.xds.stream import BadRequest, Progress, Response
from controlplane.xds.view import TableChange, View, folder

_MOST_TYPES = 64  # of one stream: there are not as many in Envoy
_MOST_UNPUBLISHED = 1000  # names in one response of which there is nothing: who asks for more is told in several


class ErrorDetail(Protocol):
    """Why a client refuses a response."""

    @property
    def code(self) -> int:
        """Return the status code."""

    @property
    def message(self) -> str:
        """Return what is wrong, in the words of the client."""


@dataclass(frozen=True, slots=True)
class Written:
    """A response as bytes, with the version of its type and how many resources it has."""

    payload: bytes
    version: str
    count: int


class BaseStream(ABC):
    """One stream of a client that sees ``view``; ``only`` is the one type of a single-type service, ``None`` all types (ADS).

    Level-triggered: it keeps which names have to be looked at again, and composes from the newest state when it is asked to.
    Of each type at most one response is on its way.
    """

    def __init__(self, view: View, *, only: str | None = None, shared: SharedPlans | None = None) -> None:
        """Begin with nothing asked for; ``shared`` are the plans of all streams of a server."""
        self._shared = shared or SharedPlans()
        self._view = view
        self._only = only
        self._channels: dict[str, Channel] = {}
        self._in_order: list[Channel] = []
        self._ready = False
        self._sent = 0
        self._restored = 0  # names that the client said to have, and that are not published as it has them
        self._part_trials = PartTrials()
        self._replacements = Replacements()

    @property
    def has_work(self) -> bool:
        """Return whether ``take`` may have something."""
        return self._ready

    @property
    def size(self) -> int:
        """Return how many names are kept for the client, of all types; what exists it may have without having named it."""
        return self._restored + sum(channel.size for channel in self._in_order)

    @property
    def open_names(self) -> int:
        """Return a count that falls when a name is settled."""
        return sum(channel.open_names for channel in self._in_order)

    def unanswered(self) -> int:
        """Return of how many names that the client asks for there is nothing; what it is still to be sent does not count."""
        return self._restored + sum(channel.unanswered(self._view.names(channel.type_url)) for channel in self._in_order)

    def progress(self, resource: Resource) -> Progress:
        """Return how far the client has come with ``resource``, which is published; it may have all but some virtual hosts of it."""
        channel = self._channels.get(resource.type_url)
        if channel is None or not channel.wants(resource.name):
            return Progress.UNNEEDED
        if self._part_trials.at_fault(resource.name):
            accepted = channel.accepted(resource.name)
            resource = self._part_trials.fit(resource, accepted)
            if accepted is not None and accepted.version == resource.version:
                return Progress.PARTLY
        if resource.type_url == ECDS and self._replacements.stands_in(resource):
            return Progress.REFUSED
        if channel.refused.get(resource.name) == resource.version or resource.name in channel.suspects:
            return Progress.REFUSED
        accepted = channel.accepted(resource.name)
        return Progress.ACCEPTED if accepted is not None and accepted.version == resource.version else Progress.PENDING

    def refuses(self, type_url: str, name: str) -> bool:
        """Return whether the client refuses what is published as ``name``, a resource or a virtual host in one, as far as it is known."""
        channel = self._channels.get(type_url)
        if type_url == RDS and name in self._part_trials.at_fault(folder(name)):
            return True
        published = self._view.lookup(type_url)(name)
        if channel is None or published is None:
            return False
        if type_url == ECDS and self._replacements.stands_in(published):
            return True
        return name in channel.refused or name in channel.suspects

    def changed(self, change: TableChange) -> None:
        """Take note that ``change`` has happened to a table of this stream's view."""
        for changes in (change.updated, change.removed):
            for type_url, names in changes.items():
                channel = self._channels.get(type_url)
                if channel is not None and channel.touch(names):
                    self._ready = True

    def _touch_all(self, channel: Channel) -> None:
        """Take note that everything that is published on ``channel`` may be new to the client."""
        for names in self._view.names(channel.type_url):
            channel.touch(names)

    def see(self, view: View) -> None:
        """Look at ``view`` from now on: everything that is or may be asked for is looked at again."""
        self._view = view
        for channel in self._in_order:
            client_resources = channel.client_resources
            find = view.lookup(channel.type_url)
            channel.look_again(name for name, resource in client_resources.items() if find(name) != resource)
            if channel.wildcard:
                channel.touch([name for names in view.names(channel.type_url) for name in names if name not in client_resources])
        self._ready = True

    def take(self) -> Response | None:
        """Return the next response, what is used before what uses it; ``None``: nothing to send before something happens."""
        if not self._ready:
            return None
        while busy := [channel for channel in self._in_order if not channel.idle]:
            open_before = self.open_names
            for channel in busy:
                if not channel.idle and (response := self._compose(channel)):
                    return response
            if self.open_names == open_before:
                break  # else a name was settled without a word, and may have been what a removal waits for
        self._ready = False
        return None

    def _compose(self, channel: Channel) -> Response | None:
        planner = Planner(channel, self._in_order, self._view, self._lookup(channel))
        # What is gone since an earlier stream may still be used by what this stream has not asked for yet: that comes before the first ACK.
        keep = not channel.answered and self._only is None and channel.type_url == CDS
        if channel.refused_together:
            channel.retry(planner.changed_since_refused())
        for names in planner.batches():
            if not names and not channel.must_answer:
                continue
            if len(names) > _MOST_UNPUBLISHED:
                names = self._portion(channel, names)  # noqa: PLW2901 - what is left out is looked at the next time
            plan = self._plan(planner, channel, names, keep=keep)
            if plan.same:
                channel.confirm(plan.same)
            if plan.wait and not channel.answered:
                return None  # first answers are whole
            # A client that refused the first whole answer of a stream has something else: whatever changes then, it is told the whole.
            unknown = channel.has_unknown_state and channel.answered
            later = plan.wait | plan.stay
            done = names - later if later else names
            if (plan or channel.must_answer or unknown) and (response := self._send(channel, plan, done)):
                return response
            channel.settle(done)
        return None

    def _plan(self, planner: Planner, channel: Channel, names: AbstractSet[str], *, keep: bool) -> Plan:
        if (channel.type_url == RDS and self._part_trials) or channel.type_url == ECDS:  # of which not all clients get what is published
            return planner.plan(names, keep=keep)
        return self._shared.plan(planner, channel, self._view, names, keep=keep)

    def _portion(self, channel: Channel, names: AbstractSet[str]) -> AbstractSet[str]:
        """Return those of ``names`` that are published, and not too many of the others."""
        published = {name for published in self._view.names(channel.type_url) for name in published & names}
        if len(names) - len(published) <= _MOST_UNPUBLISHED:
            return names
        return published.union(islice((name for name in names if name not in published), _MOST_UNPUBLISHED))

    def _send(self, channel: Channel, plan: Plan, done: AbstractSet[str]) -> Response | None:
        nonce = str(self._sent + 1)
        written = self._write(channel, plan, nonce)
        if written is None:
            return None
        self._sent += 1
        channel.launch(nonce, written.version, plan.send, plan.remove, done)
        self._sent_with(channel, plan.send, plan.remove)
        size = len(written.payload)
        return Response(written.payload, Sent(channel.type_url, nonce, written.version, written.count, len(plan.remove), size))

    def _sent_with(self, channel: Channel, resources: list[Resource], removed: list[str]) -> None:
        """See to what has to come right behind ``resources``: a cluster stays warming until its endpoints come, changed or not."""
        del removed
        endpoints = self._channels.get(EDS)
        if channel.type_url == CDS and endpoints is not None:
            used = (name for resource in resources for type_url, name in resource.uses if type_url == EDS)
            endpoints.force([name for name in used if endpoints.wants(name)])

    def _type_of(self, type_url: str) -> str:
        if not type_url and self._only is None:
            raise BadRequest("a request on an aggregated stream needs a type_url")
        if type_url and self._only not in (None, type_url):
            raise BadRequest(f"this service serves {self._only}, not {type_url}")
        return type_url or self._only or ""

    def _open(self, channel: Channel) -> Channel:
        if len(self._channels) == _MOST_TYPES:
            raise BadRequest(f"one stream asks for more than {_MOST_TYPES} types")
        self._channels[channel.type_url] = channel
        self._in_order = sorted(self._channels.values(), key=lambda each: each.rank)
        return channel

    def _accept_or_refuse(self, channel: Channel, nonce: str, error: ErrorDetail | None) -> tuple[Event, ...]:
        """Return what the client says with ``nonce``; an old one says nothing about what is on its way (XP-29, XP-55)."""
        flight = channel.flight
        if flight is None or flight.nonce != nonce:
            return ()
        if error is None:
            channel.accept(flight)
            without = self._accepted(channel, flight)
            return (Acked(channel.type_url, nonce, flight.version, flight.resources, flight.removed, without),)
        at_fault = self._refuse(channel, flight)
        sent, final = (flight.resources, flight.removed), bool(at_fault)
        return (Nacked(channel.type_url, nonce, flight.version, error.code, error.message, *sent, final, at_fault),)

    def _accepted(self, channel: Channel, flight: Flight) -> tuple[str, ...]:
        """Return which parts of what ``flight`` brought were replaced, as the client refuses them."""
        if channel.type_url == ECDS and self._replacements:
            return self._replaced(flight)
        if channel.type_url != RDS or not self._part_trials:
            return ()
        names = [resource.name for resource in flight.resources]
        channel.look_again([name for name in names if self._part_trials.accepted(name) and channel.wants(name)])
        return tuple(part for name in names for part in self._part_trials.at_fault(name))

    def _replaced(self, flight: Flight) -> tuple[str, ...]:
        """Return for which extensions ``flight`` brought stand-ins; listeners that were refused for those are tried again."""
        published = (self._view.get(ECDS, resource.name) for resource in flight.resources)
        names = tuple(resource.name for resource in published if resource is not None and self._replacements.stands_in(resource))
        listeners, used = self._channels.get(LDS), {(ECDS, name) for name in names}
        if listeners is not None and names:
            find = self._view.lookup(LDS)
            listeners.force([name for name in listeners.refused if (found := find(name)) is not None and not used.isdisjoint(found.uses)])
        return names

    def _refuse(self, channel: Channel, flight: Flight) -> tuple[str, ...]:
        """Take note that ``flight`` was refused; return what is at fault, nothing where that is yet to be found."""
        names = (*(resource.name for resource in flight.resources), *flight.removed)
        at_fault = names if channel.refuse(flight) else ()
        if channel.type_url == ECDS and len(at_fault) == 1 and flight.resources:
            (sent,) = flight.resources
            channel.force([name for name in self._replacements.refused(sent, flight.before.get(sent.name)) if channel.wants(name)])
        if channel.type_url != RDS or len(at_fault) != 1 or not flight.resources:
            return at_fault
        (sent,) = flight.resources
        published = self._view.get(RDS, sent.name)
        parts = self._part_trials.refused(published, sent, flight.before.get(sent.name)) if published is not None else None
        if parts is None:
            return at_fault
        if channel.wants(sent.name):
            channel.look_again([sent.name])
        return parts

    def _lookup(self, channel: Channel) -> Callable[[str], Resource | None]:
        """Return what finds the resource to be sent on ``channel``."""
        find = self._view.lookup(channel.type_url)
        if channel.type_url == ECDS and self._replacements:
            return lambda name: self._replacements.fit(published) if (published := find(name)) is not None else None
        if channel.type_url != RDS or not self._part_trials:
            return find

        def fitting(name: str) -> Resource | None:
            published = find(name)
            return self._part_trials.fit(published, channel.accepted(name)) if published is not None else None

        return fitting

    @abstractmethod
    def _write(self, channel: Channel, plan: Plan, nonce: str) -> Written | None:
        """Return the response that says ``plan``; ``None``: it cannot be said in this protocol."""


def subscribed(channel: Channel) -> Subscribed:
    """Return the event of what ``channel`` asks for now."""
    return Subscribed(channel.type_url, channel.wildcard, channel.size)
