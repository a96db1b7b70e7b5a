"""What one request costs: how many names it has, and the same in pieces that hold the event loop only shortly each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

PIECE = 1000  # names: some 5 ms

AnyRequest = TypeVar("AnyRequest", DiscoveryRequest, DeltaDiscoveryRequest)


def names_in(request: DiscoveryRequest | DeltaDiscoveryRequest) -> int:
    """Return how many names ``request`` asks for and no more asks for, or has versions of if these are more."""
    if isinstance(request, DiscoveryRequest):
        return len(request.resource_names) + len(request.resource_locators)
    subscribed = len(request.resource_names_subscribe) + len(request.resource_locators_subscribe)
    unsubscribed = len(request.resource_names_unsubscribe) + len(request.resource_locators_unsubscribe)
    return max(subscribed + unsubscribed, len(request.initial_resource_versions))


def pieces(request: AnyRequest) -> Iterator[AnyRequest]:
    """Yield requests that together mean what ``request`` means; one of SotW, which says all that is asked for, is whole."""
    if isinstance(request, DiscoveryRequest) or names_in(request) <= PIECE:
        yield request
    else:
        yield from _delta_pieces(request)


def _delta_pieces(request: DeltaDiscoveryRequest) -> Iterator[DeltaDiscoveryRequest]:
    subscribe = [*request.resource_names_subscribe, *(each.name for each in request.resource_locators_subscribe)]
    kept = set(subscribe)
    unsubscribe = [*request.resource_names_unsubscribe, *(each.name for each in request.resource_locators_unsubscribe)]
    unsubscribe = [name for name in unsubscribe if name not in kept]
    versions = dict(request.initial_resource_versions)
    node = request.node if request.HasField("node") else None
    piece = DeltaDiscoveryRequest(node=node, type_url=request.type_url, response_nonce=request.response_nonce)
    if request.HasField("error_detail"):
        piece.error_detail.CopyFrom(request.error_detail)
    for start in range(0, len(subscribe), PIECE):
        piece.resource_names_subscribe.extend(names := subscribe[start : start + PIECE])
        piece.initial_resource_versions.update({name: versions.pop(name) for name in names if name in versions})
        yield piece
        piece = DeltaDiscoveryRequest(type_url=request.type_url)
    # What is named here is part of everything, which is asked for by now.
    rest = list(versions.items())
    for start in range(0, len(rest), PIECE):
        piece.initial_resource_versions.update(rest[start : start + PIECE])
        yield piece
        piece = DeltaDiscoveryRequest(type_url=request.type_url)
    for start in range(0, len(unsubscribe), PIECE):
        piece.resource_names_unsubscribe.extend(unsubscribe[start : start + PIECE])
        yield piece
        piece = DeltaDiscoveryRequest(type_url=request.type_url)
