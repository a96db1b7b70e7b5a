"""Simulated sidecars: what 500 Envoys say to their control plane, on a connection each, as cheaply as Python can say it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from tests.bench.workload import PORT, Size, namespace_of

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


class Seen(NamedTuple):
    """What matters of a response."""

    type_url: str
    nonce: str
    names: frozenset[str]


@lru_cache(maxsize=256)  # sidecars that see the same are sent the same bytes
def seen(payload: bytes) -> Seen:
    """Return what matters of ``payload``."""
    response = DeltaDiscoveryResponse.FromString(payload)
    return Seen(response.type_url, response.nonce, frozenset(each.name for each in response.resources))


class Sidecar:
    """One simulated sidecar."""

    def __init__(self, number: int, size: Size, swarm: Swarm) -> None:
        self.number = number
        self.namespace = namespace_of(number, size)
        self.held: dict[str, frozenset[str]] = {}  # type -> names
        self._configured = False
        self._swarm = swarm
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] | None = None
        self._channel: grpc.aio.Channel | None = None

    async def run(self, address: str) -> None:
        """Speak until the stream ends."""
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        call = self._call = self._channel.stream_stream(METHOD, request_serializer=_unchanged, response_deserializer=_unchanged)()
        await call.write(self._first().SerializeToString())
        await self._ask(LDS)
        async for payload in call:
            await self._receive(payload)

    async def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            await self._channel.close()

    async def _receive(self, payload: bytes) -> None:
        found = seen(payload)
        self._swarm.count(found, len(payload), payload)
        assert self._call is not None
        await self._call.write(_ack(found.type_url, found.nonce))
        held = self.held.get(found.type_url)
        self.held[found.type_url] = found.names if held is None else held if found.names <= held else held | found.names
        if self._configured:
            self._swarm.changed(self.number, found, payload)
            return
        if found.type_url == CDS:
            await self._ask(EDS, _outbound(found.names))
        elif held is None and found.type_url == LDS:
            await self._ask(RDS, frozenset((str(PORT),)))
        elif held is None and found.type_url == RDS:
            await self._ask(VHDS)
        if self._complete():
            self._configured = True
            self._swarm.configured()

    def _complete(self) -> bool:
        everything = (CDS, EDS, VHDS)
        return {LDS, RDS} <= self.held.keys() and all(len(self.held.get(each, ())) >= self._swarm.size.services for each in everything)

    async def _ask(self, type_url: str, names: frozenset[str] = frozenset()) -> None:
        assert self._call is not None
        await self._call.write(_subscription(type_url, names))

    def _first(self) -> DeltaDiscoveryRequest:
        metadata = Struct()
        metadata.update({"NAMESPACE": self.namespace, "LABELS": {"app": f"p{self.number}"}, "INTERCEPTION_MODE": "REDIRECT"})
        address = f"10.250.{self.number // 250}.{self.number % 250 + 1}"
        node_id = f"sidecar~{address}~p{self.number}.{self.namespace}~{self.namespace}.svc.cluster.local"
        return DeltaDiscoveryRequest(type_url=CDS, node={"id": node_id, "metadata": metadata})


class Swarm:
    """All simulated sidecars, and what they are waited for."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.sidecars = [Sidecar(number, size, self) for number in range(size.proxies)]
        self.bytes: Counter[str] = Counter()
        self.samples: dict[str, bytes] = {}  # the first payload of each type
        self.changes: dict[str, bytes] = {}  # the latest small one
        self._left = size.proxies
        self._awaited = ("", "", b"")
        self._waiting: set[int] = set()
        self._done = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, address: str) -> float:
        """Connect all; return the seconds until the last has its whole configuration."""
        begun = time.perf_counter()
        self._left = self.size.proxies
        self._done.clear()
        self._tasks = [asyncio.create_task(sidecar.run(address)) for sidecar in self.sidecars]
        await self._wait(120)
        return time.perf_counter() - begun

    async def change(self) -> float:
        """Wait until the last has been sent what is expected; return when (perf_counter)."""
        await self._wait(20)
        return time.perf_counter()

    def expect(self, type_url: str, name: str, mark: bytes) -> None:
        """Wait from now on until each sidecar has a response of ``type_url`` that brings ``name`` and has ``mark`` in its bytes."""
        self._awaited = (type_url, name, mark)
        self._waiting = set(range(self.size.proxies))
        self._left = self.size.proxies
        self._done.clear()
        self.bytes.clear()

    def count(self, found: Seen, size: int, payload: bytes) -> None:
        """Count a response."""
        self.bytes[found.type_url] += size
        self.samples.setdefault(found.type_url, payload)

    def configured(self) -> None:
        """Note that one more sidecar has its whole configuration."""
        self._one_less()

    def changed(self, number: int, found: Seen, payload: bytes) -> None:
        """Note a response to the configured sidecar ``number``: it counts once a change, and an earlier change's not at all."""
        type_url, name, mark = self._awaited
        if found.type_url == type_url and name in found.names and mark in payload and number in self._waiting:
            self._waiting.remove(number)
            self.changes[found.type_url] = payload
            self._one_less()

    async def close(self) -> None:
        """Hang up, all."""
        await asyncio.gather(*(sidecar.close() for sidecar in self.sidecars))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _one_less(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()

    async def _wait(self, seconds: float) -> None:
        done = asyncio.create_task(self._done.wait())
        ended, _ = await asyncio.wait([done, *self._tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done not in ended:
            done.cancel()
            for task in ended:
                task.result()
            raise TimeoutError(f"{self._left} of {self.size.proxies} sidecars are still waiting for {self._awaited} after {seconds:g} s")


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
