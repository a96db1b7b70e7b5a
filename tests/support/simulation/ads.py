"""A discovery server for one Envoy: everything it has is replaced at once, and it is known when the Envoy has it all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS

_ORDER = (CDS, EDS, LDS, RDS)  # make before break
_WILDCARDS = (CDS, LDS)  # everything is asked for, by no name
_SERVICE, _METHOD = "envoy.service.discovery.v3.AggregatedDiscoveryService", "StreamAggregatedResources"


@dataclass
class _Type:
    """One type on the stream: what was asked for, and the last response."""

    names: frozenset[str] | None = None  # None: not asked for yet; empty: everything
    nonce: int = 0
    acknowledged: int = 0  # the nonce of it


@dataclass
class Ads:
    """What an Envoy is sent."""

    resources: Mapping[str, Mapping[str, AnyMessage]] = field(default_factory=lambda: {url: {} for url in _ORDER})
    version: int = 0
    refusals: list[str] = field(default_factory=list)
    types: dict[str, _Type] = field(default_factory=dict)
    _nonces: int = 0
    _outgoing: asyncio.Queue[DiscoveryResponse] = field(default_factory=asyncio.Queue)

    def replace(self, resources: Mapping[str, Mapping[str, AnyMessage]]) -> None:
        """Let ``resources``, by type and name, be all that there is."""
        self.resources = resources
        self.version += 1
        for url in _ORDER:
            if url in self.types and url not in self._unused():
                self._send(url)

    def has_all(self) -> bool:
        """Return whether everything that was sent is acknowledged."""
        begun = CDS in self.types and LDS in self.types
        return begun and all(each.acknowledged == each.nonce or url in self._unused() for url, each in self.types.items())

    def _unused(self) -> set[str]:
        """Return the types of which the Envoy wants nothing more: it does not acknowledge what is on its way then."""
        return {url for url, state in self.types.items() if url not in _WILDCARDS and not state.names}

    def _send(self, url: str) -> None:
        state = self.types[url]
        self._nonces += 1
        state.nonce = self._nonces
        all_of_it = url in _WILDCARDS
        sent = [value for name, value in self.resources[url].items() if all_of_it or name in (state.names or ())]
        response = DiscoveryResponse(version_info=str(self.version), nonce=str(state.nonce), type_url=url, resources=sent)
        self._outgoing.put_nowait(response)

    def _receive(self, request: DiscoveryRequest) -> None:
        state = self.types.setdefault(request.type_url, _Type())
        names = frozenset(request.resource_names)
        if request.response_nonce and int(request.response_nonce) != state.nonce:
            if not names:
                state.names = names
            return  # an answer to what is out of date
        if request.HasField("error_detail"):
            self.refusals.append(f"{request.type_url.rpartition('.')[2]}: {request.error_detail.message}")
        if request.response_nonce:
            state.acknowledged = state.nonce
        if names != state.names:
            state.names = names
            self._send(request.type_url)

    async def stream(
        self, requests: AsyncIterator[DiscoveryRequest], context: grpc.aio.ServicerContext[DiscoveryRequest, DiscoveryResponse]
    ) -> AsyncIterator[DiscoveryResponse]:
        """Serve the one stream."""
        del context
        reading = asyncio.create_task(self._read(requests))
        try:
            while True:
                yield await self._outgoing.get()
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[DiscoveryRequest]) -> None:
        async for request in requests:
            self._receive(request)


@contextlib.asynccontextmanager
async def serving(ads: Ads, path: Path) -> AsyncIterator[None]:
    """Serve ``ads`` at the socket ``path`` until the block ends."""
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        ads.stream, request_deserializer=DiscoveryRequest.FromString, response_serializer=DiscoveryResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0.1)
