"""A whole control plane on free ports, inside the test's own event loop, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
from envoy.config.core.v3.base_pb2 import BuildVersion, Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse
from envoy.type.v3.semantic_version_pb2 import SemanticVersion

from controlplane.app.control_plane import Addresses, ControlPlane
from controlplane.model.envoy_versions import NEWEST
from controlplane.settings import JwksSettings, Settings
from tests.support.waiting import DEADLINE_S, until

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
BUILD = BuildVersion(version=SemanticVersion(major_number=NEWEST.major, minor_number=NEWEST.minor))
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService"

DeltaMethod = grpc.aio.StreamStreamMultiCallable[DeltaDiscoveryRequest, DeltaDiscoveryResponse]
SotwMethod = grpc.aio.StreamStreamMultiCallable[DiscoveryRequest, DiscoveryResponse]
DeltaCall = grpc.aio.StreamStreamCall[DeltaDiscoveryRequest, DeltaDiscoveryResponse]
SotwCall = grpc.aio.StreamStreamCall[DiscoveryRequest, DiscoveryResponse]


class Running:
    """A control plane that serves."""

    def __init__(self, plane: ControlPlane, at: Addresses, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.plane = plane
        self.at = at
        self.stop = stop
        self.task = task

    async def get(self, path: str, *, health: bool = False, **headers: str) -> tuple[int, str]:
        """Return status and body of a GET of ``path``."""
        where = self.at.health if health else self.at.admin
        return await asyncio.to_thread(_get, f"http://{where}{path}", headers)

    async def ready(self) -> bool:
        status, _ = await self.get("/readyz")
        return status == 200

    async def json(self, path: str) -> object:
        """Return the JSON at ``path``."""
        status, body = await self.get(path)
        assert status == 200, body
        found: object = json.loads(body)
        return found


@contextlib.asynccontextmanager
async def control_plane(
    folder: Path, *, grace_s: float = 1.0, jwks: JwksSettings | None = None, hold_unknown_s: float = 10.0
) -> AsyncIterator[Running]:
    """Serve ``folder`` until the block ends."""
    anywhere = "127.0.0.1:0"
    settings = Settings(
        files=(str(folder),),
        xds=anywhere,
        admin=anywhere,
        health=anywhere,
        grace_s=grace_s,
        jwks=jwks or JwksSettings(),
        hold_unknown_s=hold_unknown_s,
    )
    async with run_until_ready(ControlPlane(settings)) as running:
        yield running


@contextlib.asynccontextmanager
async def run_until_ready(plane: ControlPlane) -> AsyncIterator[Running]:
    """Run ``plane`` until the block ends; it is ready when the block begins."""
    async with run_until_open(plane) as running:
        await until(running.ready)
        yield running


@contextlib.asynccontextmanager
async def run_until_open(plane: ControlPlane) -> AsyncIterator[Running]:
    """Run ``plane`` until the block ends; its ports are open when the block begins."""
    stop = asyncio.Event()
    open_at: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(plane.run(stop, open_at.set_result))
    await asyncio.wait((task, open_at), return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    try:
        yield Running(plane, open_at.result(), stop, task)
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await task


@contextlib.asynccontextmanager
async def delta(address: str, method: str = f"{ADS}/DeltaAggregatedResources") -> AsyncIterator[DeltaCall]:
    """Open a Delta stream to ``address``."""
    async with grpc.aio.insecure_channel(address) as channel:
        opened: DeltaMethod = channel.stream_stream(
            method, request_serializer=DeltaDiscoveryRequest.SerializeToString, response_deserializer=DeltaDiscoveryResponse.FromString
        )
        call = opened()
        yield call
        call.cancel()


@contextlib.asynccontextmanager
async def sotw(address: str, method: str = f"{ADS}/StreamAggregatedResources") -> AsyncIterator[SotwCall]:
    """Open a SotW stream to ``address``."""
    async with grpc.aio.insecure_channel(address) as channel:
        opened: SotwMethod = channel.stream_stream(
            method, request_serializer=DiscoveryRequest.SerializeToString, response_deserializer=DiscoveryResponse.FromString
        )
        call = opened()
        yield call
        call.cancel()


def delta_request(type_url: str, *, node: str = "", nonce: str = "", names: tuple[str, ...] = ()) -> DeltaDiscoveryRequest:
    request = DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce, resource_names_subscribe=names)
    if node:
        request.node.CopyFrom(Node(id=node, user_agent_name="envoy", user_agent_build_version=BUILD))
    return request


def sotw_request(type_url: str, *, node: str = "", nonce: str = "", version: str = "", names: tuple[str, ...] = ()) -> DiscoveryRequest:
    request = DiscoveryRequest(type_url=type_url, response_nonce=nonce, version_info=version, resource_names=names)
    if node:
        request.node.CopyFrom(Node(id=node, user_agent_name="envoy", user_agent_build_version=BUILD))
    return request


async def next_delta(call: DeltaCall, timeout_s: float = DEADLINE_S) -> DeltaDiscoveryResponse:
    """Return the next response of ``call``."""
    async with asyncio.timeout(timeout_s):
        response = await call.read()
    assert isinstance(response, DeltaDiscoveryResponse)
    return response


async def next_sotw(call: SotwCall, timeout_s: float = DEADLINE_S) -> DiscoveryResponse:
    """Return the next response of ``call``."""
    async with asyncio.timeout(timeout_s):
        response = await call.read()
    assert isinstance(response, DiscoveryResponse)
    return response


async def status_of(call: DeltaCall | SotwCall, timeout_s: float = DEADLINE_S) -> tuple[grpc.StatusCode, str]:
    """Return how ``call`` ends."""
    async with asyncio.timeout(timeout_s):
        return await call.code(), await call.details() or ""


def _get(url: str, headers: dict[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
