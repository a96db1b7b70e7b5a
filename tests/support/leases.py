"""Candidates for the lease of the leader."""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from tests.support.control_plane import DeltaCall, delta_request, next_delta


async def take(call: DeltaCall, type_url: str, node: str, versions: dict[str, str]) -> DeltaDiscoveryResponse:
    """Ask for everything of ``type_url`` as a proxy that has ``versions`` already, and return the answer."""
    request = delta_request(type_url, node=node)
    request.initial_resource_versions.update(versions)
    await call.write(request)
    response = await next_delta(call)
    await call.write(delta_request(type_url, nonce=response.nonce))
    return response
