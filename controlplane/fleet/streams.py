"""The fleet: the status of each open stream, and in it of each type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controlplane.model.proxies import Proxy
from controlplane.xds.events import Acked, Event, Nacked, Sent, Subscribed


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


@dataclass(slots=True)
class StreamStatus:
    """One stream of ``proxy``, and the status of each type on it."""

    connection: int
    proxy: Proxy
    wire: str
    connected_at: float
    types: dict[str, TypeStatus] = field(default_factory=dict)

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

    def connected(self, connection: int, proxy: Proxy, wire: str, at: float) -> None:
        """Take in that ``proxy`` has opened ``connection``."""
        self._streams[connection] = StreamStatus(connection, proxy, wire, at)

    def disconnected(self, connection: int) -> None:
        """Take in that ``connection`` is over."""
        self._streams.pop(connection, None)

    def record(self, connection: int, events: Iterable[Event], at: float) -> None:
        """Take in ``events`` of ``connection``, which happened at the time ``at``."""
        stream = self._streams.get(connection)
        if stream is None:
            return
        for event in events:
            status = stream.types.get(event.type_url)
            if status is None:
                status = stream.types[event.type_url] = TypeStatus(event.type_url)
            self._apply(status, event, at)

    def streams(self) -> tuple[StreamStatus, ...]:
        """Return the streams, by proxy and connection."""
        return tuple(sorted(self._streams.values(), key=lambda stream: (stream.proxy.id, stream.connection)))

    def error(self, connection: int, type_url: str) -> str:
        """Return what ``connection`` said when it refused something of ``type_url`` last."""
        stream = self._streams.get(connection)
        status = stream.types.get(type_url) if stream else None
        return (status.error or "") if status else ""

    def proxy_of(self, connection: int) -> Proxy | None:
        """Return whose ``connection`` is."""
        stream = self._streams.get(connection)
        return stream.proxy if stream else None

    def _apply(self, status: TypeStatus, event: Event, at: float) -> None:
        match event:
            case Acked():
                status.acked, status.acked_at = event.nonce, at
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
