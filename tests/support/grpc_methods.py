"""Every method of every gRPC service, and how a call of it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import grpc
import grpc.aio

from controlplane.envoy.type_urls import SDS
from controlplane.serve.csr.service import SERVICE
from controlplane.serve.xds.services import SERVICES
from tests.support.control_plane import DeltaCall, status_of
from tests.support.secure_control_plane import asking, node
from tests.support.waiting import DEADLINE_S

# What is served to those alone who have an identity.
OF_THE_KNOWN = (
    f"/{SERVICE}/CreateCertificate",
    "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck",
    "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
)

_OF_ONE_MESSAGE = (f"/{SERVICE}/CreateCertificate",)  # which is read before anything else


def methods() -> Iterator[str]:
    """Yield every method of every service that is registered."""
    for service in SERVICES:
        for name in (service.sotw, service.delta):
            if name:
                yield f"/{service.name}/{name}"
    yield from OF_THE_KNOWN


async def ending(call: DeltaCall, method: str = "") -> tuple[grpc.StatusCode, str]:
    """Return how ``call`` of ``method`` ends, one that takes a single message too; without a name it is a stream.

    A stream that is refused ends as it begins. Whoever writes to it just then is told of an internal error by gRPC's own client.
    """
    code = asyncio.ensure_future(call.code())
    await asyncio.wait({code}, timeout=0.5 if method in _OF_ONE_MESSAGE else DEADLINE_S / 4)
    if code.done():
        return await status_of(call)
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(asking(SDS, node(), "default"))
        await call.done_writing()
    return await status_of(call)
