"""Simulated sidecars in Python: what 500 Envoys say to their control plane, on a connection each, as cheaply as Python can say it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from tests.bench.workload import PORT

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
_NAMED = (EDS, RDS)
_CHUNKS = 64  # changes of a type that a sidecar keeps apart: it is cheap to add one, and the first is shared with others


class Seen(NamedTuple):
    """What matters of a response."""

    type_url: str
    nonce: str
    versions: Mapping[str, str]
    bodies: Mapping[str, bytes]
    names: frozenset[str]
    removed: frozenset[str]
    resource_bytes: int


@lru_cache(maxsize=256)  # sidecars that see the same are sent the same bytes
def seen(payload: bytes) -> Seen:
    """Return what matters of ``payload``."""
    response = DeltaDiscoveryResponse.FromString(payload)
    versions = {each.name: each.version for each in response.resources}
    bodies = {each.name: each.resource.value for each in response.resources}
    removed = frozenset(response.removed_resources)
    return Seen(response.type_url, response.nonce, versions, bodies, frozenset(versions), removed, sum(map(len, bodies.values())))


class Listener(Protocol):
    """Who hears of what sidecars get."""

    def count(self, number: int, found: Seen, payload: bytes, *, configured: bool) -> None:
        """Count a response to the sidecar ``number``."""

    def configured(self, at: float) -> None:
        """Note that one more sidecar has its whole configuration."""

    def changed(self, number: int, found: Seen, payload: bytes, at: float) -> None:
        """Note a response to a sidecar, after it was counted."""


class Sidecar:
    """One simulated sidecar: ``least`` is how many assignments and virtual hosts it has when it is configured."""

    def __init__(self, number: int, namespaces: int, least: int, listener: Listener) -> None:
        self.number = number
        self.namespace = f"ns{number % namespaces}"
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_configured = False
        self._least = least
        self._listener = listener
        self._names: dict[str, frozenset[str]] = {}  # that it holds, by type; kept from stream to stream
        self._versions: dict[str, list[Mapping[str, str]]] = {}  # of them, later ones behind earlier ones
        self._answered: set[str] = set()
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] | None = None

    async def run(self, address: str, *, again: bool = False) -> None:
        """Speak until the stream ends; ``again``: with what is held from the stream before."""
        self._answered, self.is_configured = set(), False
        if not again:
            self._names, self._versions = {}, {}
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            call = self._call = channel.stream_stream(METHOD, request_serializer=_unchanged, response_deserializer=_unchanged)()
            for type_url in (CDS, EDS, LDS, RDS, VHDS):
                if type_url in (CDS, LDS) or self._names.get(type_url):
                    await call.write(self._opening(type_url))
            while True:
                await self.gate.wait()
                payload = await call.read()
                if payload is grpc.aio.EOF:
                    raise EOFError(f"the stream of sidecar {self.number} ended: {await call.code()} {await call.details()}")
                assert isinstance(payload, bytes)
                await self._receive(payload, time.perf_counter())

    def __str__(self) -> str:
        held = {type_url.rpartition(".")[2]: len(names) for type_url, names in self._names.items()}
        return f"sidecar {self.number} holds {held} of {self._least}"

    async def _receive(self, payload: bytes, at: float) -> None:
        found = seen(payload)
        self._listener.count(self.number, found, payload, configured=self.is_configured)
        assert self._call is not None
        await self._call.write(_ack(found.type_url, found.nonce))
        first = found.type_url not in self._names
        self._hold(found)
        self._answered.add(found.type_url)
        self._listener.changed(self.number, found, payload, at)
        if found.type_url == CDS and not found.names <= (held := self._names.get(EDS, frozenset())):
            await self._ask(EDS, _outbound(found.names - held if held else found.names))
        elif found.type_url == CDS and found.removed:
            await self._drop(found.removed)
        elif first and found.type_url == LDS:
            await self._ask(RDS, frozenset((str(PORT),)))
        elif first and found.type_url == RDS:
            await self._ask(VHDS)
        if not self.is_configured and self._complete():
            self.is_configured = True
            self._listener.configured(at)

    def _hold(self, found: Seen) -> None:
        held = self._names.get(found.type_url)
        chunks = self._versions.setdefault(found.type_url, [])
        if held is None:
            held = found.names
        elif not found.names <= held:
            held |= found.names
        if found.removed:
            held -= found.removed
        self._names[found.type_url] = held
        chunks.append(found.versions)
        if len(chunks) > _CHUNKS:
            chunks[1:] = [_joined(chunks[1:])]

    def _complete(self) -> bool:
        enough = all(len(self._names.get(each, ())) >= self._least for each in (CDS, EDS, VHDS))
        return enough and {LDS, RDS} <= self._names.keys() and {CDS, LDS} <= self._answered

    async def _ask(self, type_url: str, names: frozenset[str] = frozenset()) -> None:
        assert self._call is not None
        await self._call.write(_subscription(type_url, names))

    async def _drop(self, names: frozenset[str]) -> None:
        """Ask no more for the assignments of clusters that are gone; they have the clusters' names."""
        self._names[EDS] = self._names.get(EDS, frozenset()) - names
        assert self._call is not None
        await self._call.write(DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=sorted(names)).SerializeToString())

    def _opening(self, type_url: str) -> bytes:
        held = self._names.get(type_url, frozenset())
        versions = {name: version for name, version in _joined(self._versions.get(type_url, [])).items() if name in held}
        asked = sorted(held) if type_url in _NAMED else ()
        request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=asked, initial_resource_versions=versions)
        if type_url == CDS:
            metadata = Struct()
            metadata.update({"NAMESPACE": self.namespace, "LABELS": {"app": f"p{self.number}"}, "INTERCEPTION_MODE": "REDIRECT"})
            address = f"10.250.{self.number // 250}.{self.number % 250 + 1}"
            request.node.id = f"sidecar~{address}~p{self.number}.{self.namespace}~{self.namespace}.svc.cluster.local"
            request.node.metadata.CopyFrom(metadata)
        return request.SerializeToString()


def _joined(chunks: list[Mapping[str, str]]) -> dict[str, str]:
    return {name: version for chunk in chunks for name, version in chunk.items()}


def _unchanged(message: bytes) -> bytes:
    return message


@lru_cache(maxsize=64)  # the hash of a frozenset is kept: sidecars that see the same ask for the same at no cost
def _outbound(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith("outbound|"))


@lru_cache(maxsize=64)
def _subscription(type_url: str, names: frozenset[str]) -> bytes:
    return DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names).SerializeToString()


@lru_cache(maxsize=4096)
def _ack(type_url: str, nonce: str) -> bytes:
    return DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce).SerializeToString()
