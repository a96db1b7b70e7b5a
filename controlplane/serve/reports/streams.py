"""Streams on which proxies report: each is authenticated, is sent what to report, and is read until it disconnects."""

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
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, UNREADABLE, StreamEnd, authenticate, first_request, peer_host
from controlplane.serve.authn.authenticators import Authenticator
from controlplane.serve.xds.nodes import authorized_proxy

log = logging.getLogger(__name__)

_CHECK_S = 1.0  # how often it is checked whether something else is to be reported
_numbers = itertools.count(-1, -1)  # those of discovery streams are above zero
Report = TypeVar("Report")
Report_contra = TypeVar("Report_contra", contravariant=True)


class ReportSink(Protocol[Report_contra]):
    """Receives reports, and says what to report."""

    def node(self, report: Report_contra) -> Node:
        """Return the node that the first ``report`` of a stream names."""

    def request(self, proxy: Proxy, first: Report_contra) -> bytes:
        """Return the message that requests reports of ``proxy``, whose ``first`` report says what it can."""

    def receive(self, proxy: Proxy, report: Report_contra) -> None:
        """Take in a ``report`` of ``proxy``."""

    def opened(self, proxy: Proxy, stream: int) -> None:
        """Note that ``proxy`` reports from now on, by ``stream``."""

    def closed(self, proxy: Proxy, stream: int) -> None:
        """Note that ``stream`` has ended; ``proxy`` may have opened another one before."""


class IdentifiedService(Protocol):
    """A service that can be offered at several addresses."""

    def handler(self, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        """Return the service, for callers that ``authenticator`` admits."""


@dataclass(frozen=True, slots=True)
class ReportService(Generic[Report]):
    """A gRPC service with one method, by which proxies report to a ``sink``."""

    service: str
    method: str
    read: Callable[[bytes], Report]
    sink: ReportSink[Report]

    def handler(self, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        """Return the service, for callers that ``authenticator`` admits."""

        async def report(_: object, context: ServicerContext[Report, bytes]) -> None:
            try:
                ended = await self._serve(context, authenticator)
            except Exception:  # an internal error; left alone, gRPC would send its text to the peer
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
        proxy = authorized_proxy(self.sink.node(first), caller, peer_host(context.peer()), authenticator.refused)
        if isinstance(proxy, StreamEnd):
            return proxy
        log.info("proxy reports", extra={"proxy": proxy.id, "service": self.service})
        stream = next(_numbers)
        self.sink.opened(proxy, stream)
        sender = asyncio.create_task(self._send_requests(context, proxy, first))
        try:
            async with asyncio.timeout_at(caller.until):
                return await self._receive_reports(context, proxy, first)
        except TimeoutError:
            return StreamEnd(grpc.StatusCode.OK)  # who has called is believed no longer: it comes again
        finally:
            sender.cancel()
            self.sink.closed(proxy, stream)

    async def _send_requests(self, context: ServicerContext[Report, bytes], proxy: Proxy, first: Report) -> None:
        sent = b""
        try:
            while True:
                if (request := self.sink.request(proxy, first)) != sent:
                    await context.write(request)
                    sent = request
                await asyncio.sleep(_CHECK_S)
        except grpc.aio.BaseError:
            return  # the peer has disconnected, as the reader notices too
        except Exception:  # an internal error
            log.exception("report not asked for", extra={"proxy": proxy.id})

    async def _receive_reports(self, context: ServicerContext[Report, bytes], proxy: Proxy, first: Report) -> StreamEnd:
        report = first
        try:
            while report is not grpc.aio.EOF:
                self.sink.receive(proxy, report)
                report = await context.read()
        except DecodeError:
            return UNREADABLE
        except grpc.aio.BaseError:
            pass  # the peer has disconnected
        return StreamEnd(grpc.StatusCode.OK)
