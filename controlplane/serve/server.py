"""The gRPC server: its services, its limits, and how it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from grpc.aio import ServicerContext

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import LeafHolder
from controlplane.serve.authn.authenticate import INTERNAL_ERROR, StreamEnd, authenticate, first_request
from controlplane.serve.authn.authenticators import Authenticator, Caller
from controlplane.serve.sds.secrets import Secrets
from controlplane.serve.xds.nodes import authorized_proxy
from controlplane.serve.xds.services import SERVICES, DiscoveryService
from controlplane.serve.xds.streams import EnvoyStream, Recorder, Request, StreamSecrets
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.stream import Stream, Variant
from controlplane.xds.view import View

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 32 << 20  # `initial_resource_versions` of 100,000 resources are below half of it
_GRACE_S = 10.0  # within which the streams of a connection that is too old may end by themselves
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
    ),  # that which counts: left alone, a peer that is gone is noticed after 60 s whatever is said above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)

_IN_THE_CLEAR = (("grpc.max_concurrent_streams", 10_000),)  # without ADS Envoy opens a stream for each resource
_WITH_IDENTITY = (("grpc.max_concurrent_streams", 50),)  # beyond which Envoy opens another connection
_DRAINING = "this control plane is stopping"


@dataclass(frozen=True, slots=True)
class StreamFactories:
    """Makes what decides on one stream, for each protocol: of a view, and of the one type of a service for a single type."""

    sotw: Callable[[View, str | None], Stream[DiscoveryRequest]]
    delta: Callable[[View, str | None], Stream[DeltaDiscoveryRequest]]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address (host:port; port 0: any free one), how it knows who comes in, and what else is served there.

    A connection that is ``age_s`` old, give or take a tenth, is ended, and whoever it was says anew who they are: nobody is believed for
    longer by a root that is gone or a token that has been revoked.
    """

    address: str
    authenticator: Authenticator
    more: tuple[grpc.GenericRpcHandler, ...] = ()
    age_s: float | None = None  # None: no connection is too old

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """Return gRPC's options."""
        more = _WITH_IDENTITY if self.authenticator.secure else _IN_THE_CLEAR
        if self.age_s is None:
            return OPTIONS + more
        grace_s = min(_GRACE_S, self.age_s)
        age = (("grpc.max_connection_age_ms", int(self.age_s * 1000)), ("grpc.max_connection_age_grace_ms", int(grace_s * 1000)))
        return OPTIONS + more + age


@dataclass(frozen=True, slots=True)
class AuthenticatedCall:
    """Who came, and by which door."""

    caller: Caller
    authenticator: Authenticator


class DiscoveryServer:
    """Serves every discovery service between ``start`` and ``stop``."""

    def __init__(self, subscribers: Subscribers, synced: asyncio.Event, machines: StreamFactories, recorder: Recorder) -> None:
        """Open streams by ``machines`` for ``subscribers``, none before ``synced`` is set; tell ``recorder`` what becomes of them."""
        self._subscribers = subscribers
        self._synced = synced
        self._machines = machines
        self._recorder = recorder
        self._secrets: Secrets | None = None
        self._servers: list[grpc.aio.Server] = []
        self._streams: set[EnvoyStream[DiscoveryRequest] | EnvoyStream[DeltaDiscoveryRequest]] = set()
        self._none_left = asyncio.Event()
        self.draining = False

    async def start(self, entrances: Iterable[ListenAddress], secrets: Secrets | None = None) -> tuple[int, ...]:
        """Open ``entrances`` and return their ports; who has an identity gets ``secrets``. Raises OSError where that cannot be."""
        self._secrets = secrets
        try:
            return tuple([await self._open(each) for each in entrances])
        except OSError:
            await self._close()
            raise

    async def _open(self, entrance: ListenAddress) -> int:
        authenticator = entrance.authenticator
        server = grpc.aio.server(options=entrance.options)
        self._servers.append(server)
        for service in SERVICES:
            server.add_generic_rpc_handlers((self._handlers(service, authenticator),))
        for handler in entrance.more:
            server.add_generic_rpc_handlers((handler,))
        credentials = authenticator.credentials()
        try:
            if credentials is None:
                port = server.add_insecure_port(entrance.address)
            else:
                port = server.add_secure_port(entrance.address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen at {entrance.address}: {error}") from None
        await server.start()
        log.info("xds listening", extra={"address": entrance.address, "port": port, "secure": authenticator.secure})
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
            self._none_left.clear()
            try:
                async with asyncio.timeout(grace_s):
                    await self._none_left.wait()
            except TimeoutError:
                log.warning("streams cut off", extra={"streams": len(self._streams)})
        await self._close()

    def _handlers(self, service: DiscoveryService, authenticator: Authenticator) -> grpc.GenericRpcHandler:
        async def sotw(_: object, context: ServicerContext[DiscoveryRequest, bytes]) -> None:
            await self._serve(context, authenticator, Variant.SOTW, lambda view: self._machines.sotw(view, service.only))

        async def delta(_: object, context: ServicerContext[DeltaDiscoveryRequest, bytes]) -> None:
            await self._serve(context, authenticator, Variant.DELTA, lambda view: self._machines.delta(view, service.only))

        methods: dict[str, grpc.RpcMethodHandler[DiscoveryRequest, bytes] | grpc.RpcMethodHandler[DeltaDiscoveryRequest, bytes]] = {
            service.delta: grpc.stream_stream_rpc_method_handler(delta, request_deserializer=DeltaDiscoveryRequest.FromString)
        }
        if service.sotw:
            methods[service.sotw] = grpc.stream_stream_rpc_method_handler(sotw, request_deserializer=DiscoveryRequest.FromString)
        return grpc.method_handlers_generic_handler(service.name, methods)

    async def _serve(
        self,
        context: ServicerContext[Request, bytes],
        authenticator: Authenticator,
        variant: Variant,
        machine: Callable[[View], Stream[Request]],
    ) -> None:
        caller = self._refusal() or await authenticate(authenticator, context)
        try:
            ended = (
                caller
                if isinstance(caller, StreamEnd)
                else await self._stream(context, AuthenticatedCall(caller, authenticator), variant, machine)
            )
        except Exception:  # ours; left alone, gRPC would tell the peer all about it
            log.exception("stream failed")
            ended = INTERNAL_ERROR
        if ended.code is not grpc.StatusCode.OK:
            await context.abort(ended.code, ended.details)

    async def _stream(
        self,
        context: ServicerContext[Request, bytes],
        came: AuthenticatedCall,
        variant: Variant,
        machine: Callable[[View], Stream[Request]],
    ) -> StreamEnd:
        first = await first_request(context)
        if isinstance(first, StreamEnd):
            return first
        if refusal := self._refusal():
            return refusal
        proxy = authorized_proxy(first.node, came.caller, came.authenticator)
        if isinstance(proxy, StreamEnd):
            return proxy
        try:
            holder = LeafHolder(proxy.identity, proxy.id) if proxy.identity else None
            own = self._secrets.open(holder) if self._secrets and holder else None
        except BadCertificate as error:
            log.error("certificate not issued", extra={"identity": str(came.caller.who), "reason": str(error)})  # noqa: TRY400 - no fault of ours
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, "no certificate can be issued")
        secrets = StreamSecrets(own, partial(self._secrets.ask, holder)) if self._secrets and holder and own else None
        stream = EnvoyStream(self._subscribers, self._subscribers.connect(proxy, variant), machine, self._recorder, secrets)
        self._streams.add(stream)
        if self._secrets and holder:
            self._secrets.join(holder, stream)
        try:
            return await stream.run(context, first)
        finally:
            if self._secrets and holder:
                self._secrets.leave(holder, stream)
            self._streams.discard(stream)
            if not self._streams:
                self._none_left.set()

    def _refusal(self) -> StreamEnd | None:
        if self.draining:
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, _DRAINING)
        if not self._synced.is_set():
            # An empty answer would make the proxy delete its listeners. https://github.com/istio/istio/issues/25495
            return StreamEnd(grpc.StatusCode.UNAVAILABLE, "not every source has been read yet")
        return None
