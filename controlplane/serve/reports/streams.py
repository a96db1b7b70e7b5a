"""Streams on which proxies report: who reports is known, is told what to report, and is listened to until it goes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc
import grpc.aio
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.model.proxies import Proxy
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, UNREADABLE, StreamEnd, authenticate, first_request
from controlplane.serve.authn.authenticators import Authenticator
from controlplane.serve.xds.nodes import authorized_proxy

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # at what is to be reported
_numbers = itertools.count(-1, -1)  # those of discovery streams are above zero
Report = TypeVar("Report")
Taken_contra = TypeVar("Taken_contra", contravariant=True)


class ReportSink(Protocol[Taken_contra]):
    """Whoever reports are for."""

    def node(self, report: Taken_contra) -> Node:
        """Return the node that the first ``report`` of a stream names."""

    def asks(self, proxy: Proxy, first: Taken_contra) -> bytes:
        """Return what ``proxy`` is asked to report, whose ``first`` report says what it can."""

    def take(self, proxy: Proxy, report: Taken_contra) -> None:
        """Take in a ``report`` of ``proxy``."""

    def came(self, proxy: Proxy, stream: int) -> None:
        """Take in that ``proxy`` reports from now on, by ``stream``."""

    def gone(self, proxy: Proxy, stream: int) -> None:
        """Take in that ``stream`` is over; ``proxy`` may have begun another one before."""


class IdentifiedService(Protocol):
    """A service that can be offered at several doors."""

    def handler(self, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        """Return the service, for those who come in by ``authenticator``."""


@dataclass(frozen=True, slots=True)
class ReportService(Generic[Report]):
    """A gRPC service with one method, by which proxies report to a ``desk``."""

    service: str
    method: str
    read: Callable[[bytes], Report]
    desk: ReportSink[Report]

    def handler(self, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        """Return the service, for those who come in by ``authenticator``."""

        async def report(_: object, context: ServicerContext[Report, bytes]) -> None:
            try:
                ended = await self._serve(context, authenticator)
            except Exception:  # ours; left alone, gRPC would tell the peer all about it
                log.exception("stream failed", extra={"service": self.service})
                ended = INTERNAL_ERROR
            if ended.code is not grpc.StatusCode.OK:
                await context.abort(ended.code, ended.details)

        method: grpc.RpcMethodHandler[Report, bytes] = grpc.stream_stream_rpc_method_handler(report, request_deserializer=self.read)
        return grpc.method_handlers_generic_handler(self.service, {self.method: method})

    async def _serve(self, context: ServicerContext[Report, bytes], authenticator: Authenticator) -> StreamEnd:
        caller = await authenticate(authenticator, context)
        if isinstance(caller, StreamEnd):
            return caller
        if caller.who is None:
            return StreamEnd(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
        first = await first_request(context)
        if isinstance(first, StreamEnd):
            return first
        proxy = authorized_proxy(self.desk.node(first), caller, authenticator)
        if isinstance(proxy, StreamEnd):
            return proxy
        log.info("proxy reports", extra={"proxy": proxy.id, "service": self.service})
        stream = next(_numbers)
        self.desk.came(proxy, stream)
        sender = asyncio.create_task(self._ask(context, proxy, first))
        try:
            return await self._listen(context, proxy, first)
        finally:
            sender.cancel()
            self.desk.gone(proxy, stream)

    async def _ask(self, context: ServicerContext[Report, bytes], proxy: Proxy, first: Report) -> None:
        asked = b""
        try:
            while True:
                if (wanted := self.desk.asks(proxy, first)) != asked:
                    await context.write(wanted)
                    asked = wanted
                await asyncio.sleep(_LOOK_S)
        except grpc.aio.BaseError:
            return  # the peer is gone, as whoever listens to it finds out too
        except Exception:  # ours
            log.exception("report not asked for", extra={"proxy": proxy.id})

    async def _listen(self, context: ServicerContext[Report, bytes], proxy: Proxy, first: Report) -> StreamEnd:
        report = first
        try:
            while report is not grpc.aio.EOF:
                self.desk.take(proxy, report)
                report = await context.read()
        except DecodeError:
            return UNREADABLE
        except grpc.aio.BaseError:
            pass  # the peer is gone
        return StreamEnd(grpc.StatusCode.OK)
