"""The gRPC server: its services, its limits, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from grpc.aio import ServicerContext

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import LeafHolder
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, NO_MEMORY, StreamEnd, authenticate, first_request, peer_host
from controlplane.serve.authn.authenticators import Authenticator, Caller
from controlplane.serve.sds.secrets import Secrets
from controlplane.serve.xds.decoding import RequestReader, RequestRefused
from controlplane.serve.xds.nodes import authorized_proxy
from controlplane.serve.xds.quotas import Allowance, Quotas
from controlplane.serve.xds.recorder import Recorder
from controlplane.serve.xds.services import SERVICES, DiscoveryService
from controlplane.serve.xds.streams import EnvoyStream, Request, StreamSecrets
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.stream import Stream, Variant
from controlplane.xds.view import View

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 16 << 20  # `initial_resource_versions` of 100,000 resources are about half of it
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.so_reuseport", 0),  # two servers on one port would each get half of the proxies, without an error
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    (
        "grpc.http2.ping_timeout_ms",
        10_000,
    ),  # the one that counts: by default a peer that has vanished is noticed after 60 s whatever stands above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.max_requests_per_read", 1),  # then it is another connection's turn, however many streams this one opens
)

# Beyond these Envoy opens another connection; without ADS it opens a stream for each resource. What a client opens and resets at once is
# bounded by them too: core refuses a stream while so many of its connection are not cleaned up.
_PLAINTEXT_OPTIONS = (("grpc.max_concurrent_streams", 1000),)
_SECURE_OPTIONS = (("grpc.max_concurrent_streams", 50),)
_DRAINING = "this control plane is stopping"


@dataclass(frozen=True, slots=True)
class StreamFactories:
    """Make the protocol's stream, one for each protocol: of a view, and of the one type of a service for a single type."""

    sotw: Callable[[View, str | None], Stream[DiscoveryRequest]]
    delta: Callable[[View, str | None], Stream[DeltaDiscoveryRequest]]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address (host:port; port 0: any free one), how callers are authenticated there, and the ``handlers`` of other services there.

    Where the authenticator limits their age, connections come to an end, and their peers authenticate anew: a root that was removed or a
    token that was revoked is accepted no longer than that.
    """

    address: str
    authenticator: Authenticator
    handlers: tuple[grpc.GenericRpcHandler, ...] = ()
    option: str = ""  # the flag that it was given by

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """Return gRPC's options."""
        options = OPTIONS + (_SECURE_OPTIONS if self.authenticator.secure else _PLAINTEXT_OPTIONS)
        return options + (self.authenticator.age.options if self.authenticator.age else ())


@dataclass(frozen=True, slots=True)
class AuthenticatedCall:
    """The caller of a stream, and what has authenticated it."""

    caller: Caller
    authenticator: Authenticator


def _port_error(listen_address: ListenAddress, error: RuntimeError) -> OSError:
    """Return why ``listen_address`` cannot be opened: gRPC's ``error`` does not say, so that it is tried once more."""
    host, _, port = listen_address.address.rpartition(":")
    number, reason = None, str(error)
    try:
        socket.create_server((host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as cause:
        number, reason = cause.errno, os.strerror(cause.errno) if cause.errno else str(cause)
    return OSError(number, f"cannot listen at {listen_address.address}: {reason}", listen_address.option)


class DiscoveryServer:
    """Serves every discovery service between ``start`` and ``stop``."""

    def __init__(self, subscribers: Subscribers, synced: asyncio.Event, factories: StreamFactories, recorder: Recorder) -> None:
        """Open streams by ``factories`` for ``subscribers``, none before ``synced`` is set; ``recorder`` records what becomes of them."""
        self._subscribers = subscribers
        self._synced = synced
        self._factories = factories
        self._recorder = recorder
        self._quotas = Quotas()
        self._secrets: Secrets | None = None
        self._servers: list[grpc.aio.Server] = []
        self._streams: set[EnvoyStream[DiscoveryRequest] | EnvoyStream[DeltaDiscoveryRequest]] = set()
        self._all_ended = asyncio.Event()
        self.draining = False

    async def start(self, listen_addresses: Iterable[ListenAddress], secrets: Secrets | None = None) -> tuple[int, ...]:
        """Open ``listen_addresses`` and return their ports; raises OSError where one cannot be opened.

        Proxies with an identity get ``secrets``.
        """
        self._secrets = secrets
        try:
            return tuple([await self._open(listen_address) for listen_address in listen_addresses])
        except (OSError, asyncio.CancelledError):
            await self._close()
            raise

    async def _open(self, listen_address: ListenAddress) -> int:
        authenticator = listen_address.authenticator
        server = grpc.aio.server(options=listen_address.options)
        self._servers.append(server)
        for service in SERVICES:
            server.add_generic_rpc_handlers((self._handlers(service, authenticator),))
        for handler in listen_address.handlers:
            server.add_generic_rpc_handlers((handler,))
        credentials = authenticator.credentials()
        try:
            if credentials is None:
                port = server.add_insecure_port(listen_address.address)
            else:
                port = server.add_secure_port(listen_address.address, credentials)
        except RuntimeError as error:
            raise _port_error(listen_address, error) from None
        await server.start()
        log.info("xds listening", extra={"address": listen_address.address, "port": port, "secure": authenticator.secure})
        return port

    async def _close(self) -> None:
        await asyncio.gather(*(server.stop(0) for server in self._servers))
        self._servers.clear()

    async def stop(self, grace_s: float, jitter: Callable[[], float]) -> None:
        """Let every stream end within ``grace_s``, each when ``jitter`` (0 to 1) says, so that they do not all come back at once."""
        self.draining = True
        loop = asyncio.get_running_loop()
        for stream in self._streams:
            loop.call_later(jitter() * grace_s / 2, stream.end, StreamEnd(grpc.StatusCode.OK))
        if self._streams:
            self._all_ended.clear()
            try:
                async with asyncio.timeout(grace_s):
                    await self._all_ended.wait()
            except TimeoutError:
                log.warning("streams cut off", extra={"streams": len(self._streams)})
        await self._close()

    def _handlers(self, service: DiscoveryService, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        async def sotw(_: object, context: ServicerContext[bytes, bytes]) -> None:
            requests = RequestReader(context, DiscoveryRequest, self._quotas.turn)
            await self._serve(requests, authenticator, Variant.SOTW, lambda view: self._factories.sotw(view, service.only))

        async def delta(_: object, context: ServicerContext[bytes, bytes]) -> None:
            requests = RequestReader(context, DeltaDiscoveryRequest, self._quotas.turn)
            await self._serve(requests, authenticator, Variant.DELTA, lambda view: self._factories.delta(view, service.only))

        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {service.delta: grpc.stream_stream_rpc_method_handler(delta)}
        if service.sotw:
            methods[service.sotw] = grpc.stream_stream_rpc_method_handler(sotw)
        return grpc.method_handlers_generic_handler(service.name, methods)

    async def _serve(
        self,
        requests: RequestReader[Request],
        authenticator: Authenticator,
        variant: Variant,
        new_stream: Callable[[View], Stream[Request]],
    ) -> None:
        context = requests.context
        caller = self._refusal() or await authenticate(authenticator, context)
        try:
            ended = (
                caller
                if isinstance(caller, StreamEnd)
                else await self._stream(requests, AuthenticatedCall(caller, authenticator), variant, new_stream)
            )
        except RequestRefused as refused:
            ended = refused.ended
        except MemoryError:
            ended = NO_MEMORY
        except Exception:  # an internal error; left alone, gRPC would send its text to the peer
            log.exception("stream failed")
            ended = INTERNAL_ERROR
        if ended.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._quotas.tell(context.peer(), caller.who if isinstance(caller, Caller) else None, ended.details)
        if ended.code is not grpc.StatusCode.OK:
            await context.abort(ended.code, ended.details)

    async def _stream(
        self,
        requests: RequestReader[Request],
        call: AuthenticatedCall,
        variant: Variant,
        new_stream: Callable[[View], Stream[Request]],
    ) -> StreamEnd:
        first = await first_request(requests)
        if isinstance(first, StreamEnd):
            return first
        if refusal := self._refusal():
            return refusal
        address = peer_host(requests.context.peer())
        proxy = authorized_proxy(first.node, call.caller, address, call.authenticator.refused)
        if isinstance(proxy, StreamEnd):
            return proxy
        try:
            holder = LeafHolder(proxy.identity, proxy.id, call.caller.pod) if proxy.identity and proxy.is_envoy else None
            table = self._secrets.open(holder) if self._secrets and holder else None
        except BadCertificate as error:
            log.error("certificate not issued", extra={"identity": str(call.caller.who), "reason": str(error)})  # noqa: TRY400 - not an internal error
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, "no certificate can be issued")
        secrets = StreamSecrets(table, partial(self._secrets.load, holder)) if self._secrets and holder and table else None
        # Without an identity there is nothing but the address to tell clients apart by.
        allowance = Allowance(self._quotas, proxy.identity.uri if proxy.identity else address)
        session = self._subscribers.connect(proxy, variant)
        stream = EnvoyStream(self._subscribers, session, new_stream, self._recorder, allowance, secrets)
        self._streams.add(stream)
        if self._secrets and holder:
            self._secrets.join(holder, stream)
        try:
            return await stream.run(requests.context, requests, first, call.caller.until)
        finally:
            if self._secrets and holder:
                self._secrets.leave(holder, stream)
            self._streams.discard(stream)
            if not self._streams:
                self._all_ended.set()

    def _refusal(self) -> StreamEnd | None:
        if self.draining:
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, _DRAINING)
        if not self._synced.is_set():
            # An empty answer would make the proxy delete its listeners. https://github.com/istio/istio/issues/25495
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, "not every source has been read yet")
        return None
