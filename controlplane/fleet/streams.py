"""The fleet: the status of each open stream, and in it of each type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from controlplane.model.keys import Key
from controlplane.model.problems import FieldAtFault
from controlplane.model.proxies import Proxy
from controlplane.xds.events import Acked, Event, Nacked, Sent, Subscribed
from controlplane.xds.stream import Progress
from controlplane.xds.view import folder

STARTING_S = 10.0  # for which a proxy that has just connected may take to accept what was there before it
_MOST_REFUSALS = 10_000  # of one stream; of resources that are gone some may be among them


@dataclass(slots=True)
class TypeStatus:
    """What was sent, accepted and refused of one type on one stream.

    Responses are named by their nonce, times are seconds since the epoch.
    """

    type_url: str
    wildcard: bool = False
    subscribed: int = 0
    sent: str | None = None
    sent_at: float | None = None
    acked: str | None = None
    acked_at: float | None = None
    acked_sent_at: float | None = None  # when the response that was accepted last had been sent
    nacked: str | None = None
    nacked_at: float | None = None
    error: str | None = None
    refused: tuple[str, ...] = ()  # the names in the response that was refused last
    resources: int = 0  # in all responses
    sent_bytes: int = 0

    @property
    def synced(self) -> bool:
        """Whether the last response was accepted."""
        return self.sent == self.acked


@dataclass(frozen=True, slots=True)
class StreamRefusal:
    """That a stream refused ``name``, alone or with what belongs to it, in its own words, and which fields made it."""

    type_url: str
    name: str
    message: str
    at_fault: tuple[FieldAtFault, ...] = ()


@dataclass(slots=True)
class StreamStatus:
    """One stream of ``proxy``, and the status of each type on it."""

    connection: int
    proxy: Proxy
    wire: str
    connected_at: float
    types: dict[str, TypeStatus] = field(default_factory=dict)
    refusals: dict[tuple[str, str], StreamRefusal] = field(default_factory=dict)  # that it did not take back by accepting another version

    @property
    def synced(self) -> bool:
        """Whether every response was accepted, and there was one."""
        return bool(self.types) and all(status.synced for status in self.types.values())


class Fleet:
    """The status of all open streams."""

    def __init__(self) -> None:
        """Begin without streams."""
        self._streams: dict[int, StreamStatus] = {}
        self.rejects: dict[str, int] = {}  # by type URL, of all streams there ever were
        self.changes = 0  # how often something was taken in
        self.refusal_events = 0  # how often something was refused for good, or accepted in another version

    def connected(self, connection: int, proxy: Proxy, wire: str, at: float) -> None:
        """Take in that ``proxy`` has opened ``connection``."""
        self.changes += 1
        self._streams[connection] = StreamStatus(connection, proxy, wire, at)

    def disconnected(self, connection: int) -> None:
        """Take in that ``connection`` is over."""
        self.changes += 1
        self._streams.pop(connection, None)

    def record(self, connection: int, events: Iterable[Event], at: float) -> None:
        """Take in ``events`` of ``connection``, which happened at the time ``at``."""
        stream = self._streams.get(connection)
        if stream is None:
            return
        self.changes += 1
        for event in events:
            status = stream.types.get(event.type_url)
            if status is None:
                status = stream.types[event.type_url] = TypeStatus(event.type_url)
            self._apply(status, event, at)
            self._note_refusals(stream, event)

    def streams(self) -> tuple[StreamStatus, ...]:
        """Return the streams, by proxy and connection."""
        return tuple(sorted(self._streams.values(), key=lambda stream: (stream.proxy.id, stream.connection)))

    def refusals(self, connection: int) -> tuple[StreamRefusal, ...]:
        """Return what ``connection`` has refused and not accepted since in another version."""
        stream = self._streams.get(connection)
        return tuple(stream.refusals.values()) if stream else ()

    def refusal(self, connection: int, type_url: str, name: str) -> StreamRefusal | None:
        """Return the refusal of ``name`` by ``connection``."""
        stream = self._streams.get(connection)
        return stream.refusals.get((type_url, name)) if stream else None

    def blame(self, connection: int, refusal: StreamRefusal, at_fault: tuple[FieldAtFault, ...]) -> None:
        """Take in that the fields ``at_fault`` made what ``connection`` refused by ``refusal``."""
        if stream := self._streams.get(connection):
            stream.refusals[refusal.type_url, refusal.name] = replace(refusal, at_fault=at_fault)

    def explain(self, key: Key, connection: int, type_url: str, name: str) -> str | None:
        """Return why ``connection`` refused ``name``, in its words and with the field of ``key``; ``None``: other objects are to blame."""
        stream = self._streams.get(connection)
        status = stream.types.get(type_url) if stream else None
        # Of a virtual host in the route configuration ``name``, too.
        refusals = [
            refusal
            for refusal in self.refusals(connection)
            if refusal.type_url == type_url and name in (refusal.name, folder(refusal.name))
        ]
        if not refusals:
            return (status.error or "") if status else ""
        blamed = [(at_fault, refusal) for refusal in refusals for at_fault in refusal.at_fault]
        if not blamed:
            return refusals[0].message
        return next((f"{at_fault.field}: {refusal.message}" for at_fault, refusal in blamed if at_fault.key == key), None)

    def lagging(self, connection: int, type_url: str, overtaken: bool, *, since: float, now: float) -> Progress:  # noqa: FBT001
        """Return how far ``connection`` has come with an object, by a resource of ``type_url`` whose newest version it has not accepted.

        The object is as it is ``since`` then. Who has connected after that, and not long before ``now``, does not count yet: an object is
        not on its way because a proxy is. A resource that is ``overtaken`` changes all the time, by other objects: whoever has accepted
        what was sent after the object had changed has the object.
        """
        stream = self._streams.get(connection)
        if stream is None:
            return Progress.PENDING
        status = stream.types.get(type_url)
        if overtaken and status is not None and status.acked_sent_at is not None and status.acked_sent_at >= since:
            return Progress.ACCEPTED
        starting = stream.connected_at >= since and now - stream.connected_at < STARTING_S
        return Progress.UNNEEDED if starting else Progress.PENDING

    def proxy_of(self, connection: int) -> Proxy | None:
        """Return whose ``connection`` is."""
        stream = self._streams.get(connection)
        return stream.proxy if stream else None

    def _note_refusals(self, stream: StreamStatus, event: Event) -> None:
        match event:
            case Nacked(final=True):
                self.refusal_events += 1
                for name in event.at_fault:
                    refusal = StreamRefusal(event.type_url, name, event.message)
                    before = stream.refusals.get((event.type_url, name))
                    # The same again, after another change, is still the fault of who was to blame for it first.
                    same = before is not None and before.message == event.message
                    stream.refusals[event.type_url, name] = before if before and same else refusal
                    if len(stream.refusals) > _MOST_REFUSALS:
                        del stream.refusals[next(iter(stream.refusals))]
            case Acked() if stream.refusals:
                brought = {*(resource.name for resource in event.resources), *event.removed}
                for type_url, name in tuple(stream.refusals):
                    if type_url == event.type_url and not brought.isdisjoint((name, folder(name))) and name not in event.without:
                        self.refusal_events += 1
                        del stream.refusals[type_url, name]
            case _:
                pass

    def _apply(self, status: TypeStatus, event: Event, at: float) -> None:
        match event:
            case Acked():
                status.acked, status.acked_at = event.nonce, at
                if event.nonce == status.sent:
                    status.acked_sent_at = status.sent_at
            case Sent():
                status.sent, status.sent_at = event.nonce, at
                status.resources += event.count
                status.sent_bytes += event.size
            case Nacked():
                status.nacked, status.nacked_at, status.error = event.nonce, at, event.message
                status.refused = tuple(resource.name for resource in event.resources)
                self.rejects[event.type_url] = self.rejects.get(event.type_url, 0) + 1
            case Subscribed():
                status.wildcard, status.subscribed = event.wildcard, event.count
