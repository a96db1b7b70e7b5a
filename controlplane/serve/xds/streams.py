"""One stream of one proxy: a reader and a sender around a machine that decides what to say."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.envoy.type_urls import SDS
from controlplane.mesh.mesh import Session
from controlplane.model.proxies import Proxy
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, UNREADABLE, StreamEnd
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.events import Event
from controlplane.xds.resource import Resource
from controlplane.xds.stream import BadRequest, Progress, Stream, Variant
from controlplane.xds.view import Table, TableChange, View

log = logging.getLogger(__name__)

Request = TypeVar("Request", DiscoveryRequest, DeltaDiscoveryRequest)

WRITE_S = 45.0  # a peer that takes nothing for so long is dropped; it costs the others nothing until then
LOOKS = 4  # at it within that time: it is dropped a quarter later at most
MAX_NAMES = 100_000  # that one stream may ask for: each costs memory, whether it exists or not
_numbers = itertools.count(1)


class Recorder(Protocol):
    """Whoever keeps what became of each response."""

    def connected(self, connection: int, proxy: Proxy, variant: Variant) -> None:
        """Take in that ``proxy`` has opened ``connection``."""

    def record(self, connection: int, events: Iterable[Event]) -> None:
        """Take in ``events`` of ``connection``."""

    def disconnected(self, connection: int) -> None:
        """Take in that ``connection`` is over."""


@dataclass(frozen=True, slots=True)
class StreamSecrets:
    """The secrets of one stream: those that it sees, and whom to tell which others it asks for before they are answered."""

    table: Table
    ask: Callable[[Sequence[str]], Awaitable[None]]


_TOO_MANY = StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, f"expected at most {MAX_NAMES} names asked for on one stream")


class EnvoyStream(Generic[Request]):
    """One stream that has said who it is, until it ends."""

    def __init__(
        self,
        subscribers: Subscribers,
        session: Session,
        machine: Callable[[View], Stream[Request]],
        recorder: Recorder,
        own: StreamSecrets | None = None,
    ) -> None:
        """Serve ``session``, one of ``subscribers``, by a ``machine``, begun when there is a view; tell ``recorder`` what happens.

        ``own`` are its secrets, which it sees beside the tables of the session.
        """
        self.session = session
        self.connection = next(_numbers)
        self._subscribers = subscribers
        self._own = own
        self._make: Callable[[View], Stream[Request]] = machine
        self._machine: Stream[Request] | None = None
        self._recorder = recorder
        self._waiter: asyncio.Future[None] | None = None
        self._writing_since: float | None = None  # of the monotonic clock
        self._look_again: asyncio.TimerHandle | None = None
        self._stuck = False
        self._ended: StreamEnd | None = None
        self._asked = 0  # names, about

    def changed(self, change: TableChange) -> None:
        """Take ``change`` in, and wake the sender."""
        if self._machine is None:
            return
        try:
            self._machine.changed(change)
        except Exception:  # ours; it must not keep the news from the other streams
            log.exception("stream failed", extra=self._facts())
            self._ended = self._ended or INTERNAL_ERROR
        self._wake()

    def see(self, view: View) -> None:
        """See ``view`` from now on, and wake the sender."""
        if self._own is not None:
            view = View(*view.tables, self._own.table)
        try:
            if self._machine is None:
                self._machine = self._make(view)
            else:
                self._machine.see(view)
        except Exception:
            log.exception("stream failed", extra=self._facts())
            self.end(INTERNAL_ERROR)
        self._wake()

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""
        return self._machine.progress(resource) if self._machine else Progress.UNNEEDED

    def end(self, ended: StreamEnd) -> None:
        """End the stream as ``ended`` says, after the response that is being written."""
        self._ended = self._ended or ended
        self._wake()

    async def run(self, context: ServicerContext[Request, bytes], first: Request) -> StreamEnd:
        """Serve until the peer hangs up or somebody ends the stream; return how it ended."""
        self._recorder.connected(self.connection, self.session.proxy, self.session.variant)
        self._subscribers.join(self)
        try:
            while self._machine is None and self._ended is None:
                await self._news()
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(context, first))
                try:
                    self._watch(_this_task())
                    return await self._send(context)
                finally:
                    reader.cancel()
                    if self._look_again is not None:
                        self._look_again.cancel()
        finally:
            self._subscribers.leave(self.session)
            self._recorder.disconnected(self.connection)

    async def _read(self, context: ServicerContext[Request, bytes], first: Request) -> None:
        try:
            await self._prepare(first)
            self._receive(first)
            while isinstance(request := await context.read(), type(first)):
                await self._prepare(request)
                self._receive(request)
            self.end(StreamEnd(grpc.StatusCode.OK))
        except BadRequest as error:
            self.end(StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except DecodeError:
            self.end(UNREADABLE)
        except grpc.aio.BaseError:
            self.end(StreamEnd(grpc.StatusCode.OK))  # the peer is gone
        except Exception:
            log.exception("stream failed", extra=self._facts())
            self.end(INTERNAL_ERROR)

    async def _prepare(self, request: Request) -> None:
        """Have the secrets looked at that ``request`` asks for: a listener whose secret comes after the answer serves without it."""
        if self._own is None or request.type_url not in ("", SDS):
            return
        names = request.resource_names_subscribe if isinstance(request, DeltaDiscoveryRequest) else request.resource_names
        if names and self._asked + len(names) <= MAX_NAMES:
            await self._own.ask(names)

    def _receive(self, request: Request) -> None:
        if self._machine is None:
            return
        self._asked += _more_names(request)
        if self._asked > MAX_NAMES:
            self.end(_TOO_MANY)
            return
        self._recorder.record(self.connection, self._machine.receive(request))
        if self._machine.has_work:
            self._wake()

    async def _send(self, context: ServicerContext[Request, bytes]) -> StreamEnd:
        while self._ended is None:
            try:
                response = self._machine.take() if self._machine else None
            except Exception:
                log.exception("stream failed", extra=self._facts())
                return INTERNAL_ERROR
            if response is None:
                await self._news()
                continue
            self._recorder.record(self.connection, (response.event,))
            self._writing_since = time.monotonic()
            try:
                await context.write(response.payload)
            except asyncio.CancelledError:
                if not self._stuck:
                    raise
                _uncancel()
                return StreamEnd(grpc.StatusCode.ABORTED, f"nothing was read for {WRITE_S:.0f} s")
            except grpc.aio.BaseError:
                return StreamEnd(grpc.StatusCode.OK)  # the peer is gone
            self._writing_since = None
        return self._ended

    def _watch(self, writer: asyncio.Task[object]) -> None:
        """Cancel ``writer`` if its peer takes nothing: a look now and then, as a deadline a write would cost a tenth of the write."""
        since = self._writing_since
        self._stuck = since is not None and time.monotonic() - since > WRITE_S
        if self._stuck:
            writer.cancel()
        else:
            self._look_again = asyncio.get_running_loop().call_later(WRITE_S / LOOKS, self._watch, writer)

    async def _news(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _facts(self) -> dict[str, object]:
        return {"proxy": self.session.proxy.id, "connection": self.connection}


def _more_names(request: DiscoveryRequest | DeltaDiscoveryRequest) -> int:
    """Return how many more names a stream asks for by ``request``; SotW lists them all each time, so that one is enough to tell."""
    if isinstance(request, DeltaDiscoveryRequest):
        return len(request.resource_names_subscribe) - len(request.resource_names_unsubscribe)
    return MAX_NAMES + 1 if len(request.resource_names) > MAX_NAMES else 0


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a stream runs in a task")
    return task


def _uncancel() -> None:
    _this_task().uncancel()
