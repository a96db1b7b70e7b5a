"""One stream of one proxy: a reader and a sender around the protocol's stream, which decides what to send."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.envoy.type_urls import SDS
from controlplane.mesh.sessions import Session
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, NO_MEMORY, UNREADABLE, RequestSource, StreamEnd
from controlplane.serve.xds.decoding import RequestRefused
from controlplane.serve.xds.pushes import StreamPushes
from controlplane.serve.xds.quotas import MAX_NAMES, Allowance
from controlplane.serve.xds.recorder import Recorder
from controlplane.serve.xds.requests import PIECE, names_in, pieces
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.events import Event
from controlplane.xds.resource import Resource
from controlplane.xds.stream import BadRequest, Progress, Response, Stream
from controlplane.xds.view import Table, TableChange, View

log = logging.getLogger(__name__)

Request = TypeVar("Request", DiscoveryRequest, DeltaDiscoveryRequest)

WRITE_S = 45.0  # a peer that reads nothing for so long is disconnected; it costs the others nothing until then
WRITE_CHECKS = 4  # within that time: the peer is disconnected a quarter later at most
NAMES_PER_S = 200_000  # that one stream is given the time for, once it has asked for very many at once
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class StreamSecrets:
    """The secrets of one stream: the table of those that it sees, and what loads others into it by name."""

    table: Table
    load: Callable[[Sequence[str]], Awaitable[None]]


class EnvoyStream(Generic[Request]):
    """One stream of a known proxy, from its first request to its end."""

    def __init__(
        self,
        subscribers: Subscribers,
        session: Session,
        new_stream: Callable[[View], Stream[Request]],
        recorder: Recorder,
        allowance: Allowance,
        secrets: StreamSecrets | None = None,
    ) -> None:
        """Serve ``session``, one of ``subscribers``; ``new_stream`` makes the protocol's stream when there is a view.

        ``recorder`` records what happens; more than ``allowance`` ends the stream. It sees ``secrets`` beside the tables of the session.
        """
        self.session = session
        self.connection = next(_numbers)
        self._subscribers = subscribers
        self._pushes = StreamPushes(subscribers.pushes, self.connection)
        self._secrets = secrets
        self._new_stream: Callable[[View], Stream[Request]] = new_stream
        self._stream: Stream[Request] | None = None
        self._recorder = recorder
        self._waiter: asyncio.Future[None] | None = None
        self._writing_since: float | None = None  # of the monotonic clock
        self._next_check: asyncio.TimerHandle | None = None
        self._stuck = False
        self._end: StreamEnd | None = None
        self._allowance = allowance
        self._receiving = False  # a request of which not all is taken in yet: it is answered when it is

    def changed(self, change: TableChange) -> None:
        """Take ``change`` in, and wake the sender."""
        if self._stream is None:
            return
        try:
            self._stream.changed(change)
            self._pushes.changed(has_work=self._stream.has_work)
        except Exception:  # an internal error; it must not keep the change from the other streams
            log.exception("stream failed", extra=self._log_fields())
            self._end = self._end or INTERNAL_ERROR
        self._wake()

    def see(self, view: View) -> None:
        """See ``view`` from now on, and wake the sender."""
        if self._secrets is not None:
            view = View(*view.tables, self._secrets.table)
        try:
            if self._stream is None:
                self._stream = self._new_stream(view)
            else:
                self._stream.see(view)
                self._pushes.changed(has_work=self._stream.has_work)
        except Exception:
            log.exception("stream failed", extra=self._log_fields())
            self.end(INTERNAL_ERROR)
        self._wake()

    def renew(self) -> None:
        """Have the peer told to keep what it would otherwise drop soon."""
        if self._stream is not None:
            self._stream.renew()
            self._wake()

    @property
    def open_names(self) -> int:
        """Return how many names are to be looked at, and perhaps sent."""
        return self._stream.open_names if self._stream else 0

    def progress(self, resource: Resource) -> Progress:
        """Return how far the peer has come with ``resource``."""
        return self._stream.progress(resource) if self._stream else Progress.UNNEEDED

    def refuses(self, type_url: str, name: str) -> bool:
        """Return whether the peer refuses what is published as ``name``."""
        return self._stream.refuses(type_url, name) if self._stream else False

    def end(self, ended: StreamEnd) -> None:
        """End the stream as ``ended`` says, after the response that is being written."""
        self._end = self._end or ended
        self._wake()

    async def run(
        self, context: ServicerContext[bytes, bytes], requests: RequestSource[Request], first: Request, until: float | None = None
    ) -> StreamEnd:
        """Answer ``first`` and the ``requests`` after it until the peer leaves, ``end`` is called or it is ``until``; say how it ended."""
        ending = asyncio.get_running_loop().call_at(until, self.end, StreamEnd(grpc.StatusCode.OK)) if until else None
        self._recorder.connected(self.connection, self.session.proxy, self.session.variant)
        self._subscribers.join(self)
        try:
            while self._stream is None and self._end is None:
                await self._wait()
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(requests, first))
                try:
                    self._check_writer(_this_task())
                    return await self._send(context)
                finally:
                    reader.cancel()
                    if self._next_check is not None:
                        self._next_check.cancel()
        except asyncio.CancelledError as cancelled:
            # In 3.11 a frame of TaskGroup keeps the error and its traceback the frame, with all that the stream had: until garbage is
            # collected, or, of a stream that has lived for a while, until everything is.
            raise cancelled.with_traceback(None) from None
        finally:
            if ending:
                ending.cancel()
            self._allowance.close()
            self._subscribers.leave(self.session)
            self._recorder.disconnected(self.connection)
            self._pushes.end()

    async def _read(self, requests: RequestSource[Request], first: Request) -> None:
        try:
            await self._prepare(first)
            await self._receive(first)
            while self._end is None and isinstance(request := await requests.read(), type(first)):
                await self._prepare(request)
                await self._receive(request)
            self.end(StreamEnd(grpc.StatusCode.OK))
        except RequestRefused as refused:
            self.end(refused.ended)
        except MemoryError:
            self.end(NO_MEMORY)
        except BadRequest as error:
            self.end(StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except DecodeError:
            self.end(UNREADABLE)
        except grpc.aio.BaseError:
            self.end(StreamEnd(grpc.StatusCode.OK))  # the peer has disconnected
        except Exception:
            log.exception("stream failed", extra=self._log_fields())
            self.end(INTERNAL_ERROR)

    async def _prepare(self, request: Request) -> None:
        """Load the secrets that ``request`` names: a listener whose secret comes after the answer serves without it."""
        if self._secrets is None or request.type_url not in ("", SDS):
            return
        names = request.resource_names_subscribe if isinstance(request, DeltaDiscoveryRequest) else request.resource_names
        if names and len(names) <= MAX_NAMES:
            await self._secrets.load(names)

    async def _receive(self, request: Request) -> None:
        count = names_in(request)
        if count > MAX_NAMES:
            self._end_beyond(f"expected at most {MAX_NAMES} names in one request")
            return
        if count <= PIECE:
            self._take_in(request, count)
        else:
            await self._receive_in_pieces(request)
            await asyncio.sleep(count / NAMES_PER_S)

    async def _receive_in_pieces(self, request: Request) -> None:
        self._receiving = True
        try:
            async with self._allowance.turn:
                for piece in pieces(request):
                    if self._end is not None:
                        break
                    self._take_in(piece, names_in(piece))
                    await asyncio.sleep(0)
        finally:
            self._receiving = False
        self._wake()

    def _take_in(self, request: Request, count: int) -> None:
        if self._stream is None:
            return
        self._record(self._stream.receive(request))
        if count and (exceeded := self._allowance.exceeded(self._stream, count)):
            self._end_beyond(exceeded)
        elif self._stream.has_work:
            self._wake()
        else:
            self._pushes.rest()

    def _record(self, events: tuple[Event, ...]) -> None:
        self._recorder.record(self.connection, events)
        self._pushes.record(events)

    def _end_beyond(self, exceeded: str) -> None:
        self.end(StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, exceeded))

    async def _send(self, context: ServicerContext[bytes, bytes]) -> StreamEnd:
        while self._end is None:
            try:
                response = await self._next_response()
            except Exception:
                log.exception("stream failed", extra=self._log_fields())
                return INTERNAL_ERROR
            if response is None:
                self._pushes.rest()
                await self._wait()
                continue
            self._record((response.event,))
            self._writing_since = time.monotonic()
            try:
                await context.write(response.payload)
            except asyncio.CancelledError:
                if not self._stuck:
                    raise
                _this_task().uncancel()
                return StreamEnd(grpc.StatusCode.ABORTED, f"nothing was read for {WRITE_S:.0f} s")
            except grpc.aio.BaseError:
                return StreamEnd(grpc.StatusCode.OK)  # the peer has disconnected
            self._writing_since = None
        return self._end

    async def _next_response(self) -> Response | None:
        stream = self._stream
        if stream is None or self._receiving:
            return None
        if stream.open_names <= PIECE:
            return stream.take()
        async with self._allowance.turn:
            await asyncio.sleep(0)
            return stream.take()

    def _check_writer(self, writer: asyncio.Task[object]) -> None:
        """Cancel ``writer`` if its peer reads nothing: checked now and then, as a deadline would cost each write a tenth."""
        since = self._writing_since
        self._stuck = since is not None and time.monotonic() - since > WRITE_S
        if self._stuck:
            writer.cancel()
        else:
            self._next_check = asyncio.get_running_loop().call_later(WRITE_S / WRITE_CHECKS, self._check_writer, writer)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._subscribers.turns.wake(waiter)

    def _log_fields(self) -> dict[str, object]:
        return {"proxy": self.session.proxy.id, "connection": self.connection}


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a stream runs in a task")
    return task
