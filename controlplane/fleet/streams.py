"""The fleet: one account a stream, one line in it a type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controlplane.model.proxies import Proxy
from controlplane.xds.events import Acked, Event, Nacked, Sent, Subscribed


@dataclass(slots=True)
class TypeStatus:
    """What became of one type on one stream; responses are named by their nonce, times are seconds since the epoch."""

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
    """What became of one stream of ``proxy``."""

    connection: int
    proxy: Proxy
    wire: str
    connected_at: float
    types: dict[str, TypeStatus] = field(default_factory=dict)

    @property
    def synced(self) -> bool:
        """Whether every response was accepted, and there was one."""
        return bool(self.types) and all(each.synced for each in self.types.values())


class Fleet:
    """The accounts of all streams that are open."""

    def __init__(self) -> None:
        """Begin without streams."""
        self._streams: dict[int, StreamStatus] = {}
        self.rejects: dict[str, int] = {}  # by type URL, of all streams there ever were

    def connected(self, connection: int, proxy: Proxy, wire: str, at: float) -> None:
        """Open the account of ``connection``."""
        self._streams[connection] = StreamStatus(connection, proxy, wire, at)

    def disconnected(self, connection: int) -> None:
        """Close the account of ``connection``."""
        self._streams.pop(connection, None)

    def record(self, connection: int, events: Iterable[Event], at: float) -> None:
        """Book ``events`` of ``connection``, which happened at the time ``at``."""
        account = self._streams.get(connection)
        if account is None:
            return
        for event in events:
            line = account.types.get(event.type_url)
            if line is None:
                line = account.types[event.type_url] = TypeStatus(event.type_url)
            self._book(line, event, at)

    def streams(self) -> tuple[StreamStatus, ...]:
        """Return the accounts, by proxy and connection."""
        return tuple(sorted(self._streams.values(), key=lambda each: (each.proxy.id, each.connection)))

    def error(self, connection: int, type_url: str) -> str:
        """Return what ``connection`` said when it refused something of ``type_url`` last."""
        account = self._streams.get(connection)
        line = account.types.get(type_url) if account else None
        return (line.error or "") if line else ""

    def proxy_of(self, connection: int) -> Proxy | None:
        """Return whose ``connection`` is."""
        account = self._streams.get(connection)
        return account.proxy if account else None

    def _book(self, line: TypeStatus, event: Event, at: float) -> None:
        match event:
            case Acked():
                line.acked, line.acked_at = event.nonce, at
            case Sent():
                line.sent, line.sent_at = event.nonce, at
                line.resources += event.count
                line.sent_bytes += event.size
            case Nacked():
                line.nacked, line.nacked_at, line.error = event.nonce, at, event.message
                line.refused = tuple(resource.name for resource in event.resources)
                self.rejects[event.type_url] = self.rejects.get(event.type_url, 0) + 1
            case Subscribed():
                line.wildcard, line.subscribed = event.wildcard, event.count
