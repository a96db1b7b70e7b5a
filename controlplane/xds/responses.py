"""The bytes of responses: frames that are ready, joined with what differs from one stream to the next.

Protobuf lets fields stand in any order, so what is shared comes first and the nonce last.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from controlplane.xds.resource import Resource, field, heartbeat

IDENTIFIER = "navarch"


@lru_cache(maxsize=64)
def _delta_tail(type_url: str) -> bytes:
    return field(4, type_url.encode()) + field(7, field(1, IDENTIFIER.encode()))


@lru_cache(maxsize=64)
def _sotw_tail(type_url: str) -> bytes:
    return field(4, type_url.encode()) + field(6, field(1, IDENTIFIER.encode()))


def delta_response(type_url: str, nonce: str, resources: Iterable[Resource], removed: Iterable[str]) -> bytes:
    """Return an encoded DeltaDiscoveryResponse with the ``resources`` of ``type_url`` and the names that were ``removed``."""
    frames = [resource.frame for resource in resources]
    frames += [field(6, name.encode()) for name in removed]
    frames += (_delta_tail(type_url), field(5, nonce.encode()))
    return b"".join(frames)


def heartbeats(type_url: str, nonce: str, leases: Iterable[Resource]) -> bytes:
    """Return an encoded DeltaDiscoveryResponse that renews ``leases``, resources of ``type_url`` that the client has."""
    return b"".join((*map(heartbeat, leases), _delta_tail(type_url), field(5, nonce.encode())))


def sotw_response(type_url: str, nonce: str, version: str, resources: Iterable[Resource]) -> bytes:
    """Return an encoded DiscoveryResponse with the ``resources`` of ``type_url`` in ``version``."""
    frames = [resource.sotw_frame for resource in resources]
    frames += (_sotw_tail(type_url), field(1, version.encode()), field(5, nonce.encode()))
    return b"".join(frames)
