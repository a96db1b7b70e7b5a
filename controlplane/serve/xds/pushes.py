"""How long changes take to reach proxies, type by type: from when a stream is told of one until its proxy has answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client import Histogram

from controlplane.xds.events import Acked, Event, Nacked, Sent

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PushObserver(Protocol):
    """Follows what is pushed, connection by connection."""

    def changed(self, connection: int) -> None:
        """Take note that ``connection`` has something to send that has changed just now."""

    def sent(self, connection: int, type_url: str) -> None:
        """Take note that ``connection`` is sent a response of ``type_url``."""

    def answered(self, connection: int, type_url: str, *, accepted: bool) -> None:
        """Take note that the last response of ``type_url`` on ``connection`` was ``accepted``, or refused."""

    def settled(self, connection: int) -> None:
        """Take note that ``connection`` has nothing to send and waits for no answer, or has ended."""


class Pushes:
    """What is pushed to all streams."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with nothing; nobody observes it."""
        self.clock = clock
        self.observer: PushObserver | None = None
        self.seconds = Histogram(
            "navarch_push_seconds",
            "From when a stream was told of a change until its proxy has accepted or refused it, by type.",
            ["type"],
            registry=None,
            buckets=_BUCKETS,
        )


class StreamPushes:
    """What is pushed to one stream."""

    __slots__ = ("_changed_at", "_connection", "_flights", "_pushes")

    def __init__(self, pushes: Pushes, connection: int) -> None:
        """Begin with nothing pushed on ``connection``."""
        self._pushes = pushes
        self._connection = connection
        self._changed_at: float | None = None  # the first change that the proxy has not accepted
        self._flights: dict[str, float | None] = {}  # by type: since when what is on its way has been different; None: it was asked for

    def changed(self, *, has_work: bool) -> None:
        """Take note that something has changed that is seen on the stream; if it ``has_work``, there may be something new to send."""
        if not has_work:
            return
        if self._changed_at is None:
            self._changed_at = self._pushes.clock()
        if self._pushes.observer is not None:
            self._pushes.observer.changed(self._connection)

    def record(self, events: Iterable[Event]) -> None:
        """Take note of ``events`` of the stream."""
        observer = self._pushes.observer
        for event in events:
            match event:
                case Sent(type_url=type_url):
                    self._flights[type_url] = self._changed_at
                    if observer is not None:
                        observer.sent(self._connection, type_url)
                case Acked(type_url=type_url) | Nacked(type_url=type_url):
                    if (since := self._flights.pop(type_url, None)) is not None:
                        self._pushes.seconds.labels(type_url.rpartition(".")[2]).observe(self._pushes.clock() - since)
                    if observer is not None:
                        observer.answered(self._connection, type_url, accepted=isinstance(event, Acked))
                case _:
                    pass

    def rest(self) -> None:
        """Take note that there is nothing to send: if no answer is awaited either, the proxy has all changes."""
        if not self._flights and self._changed_at is not None:
            self.end()

    def end(self) -> None:
        """Take note that nothing more is awaited."""
        self._changed_at = None
        if self._pushes.observer is not None:
            self._pushes.observer.settled(self._connection)
