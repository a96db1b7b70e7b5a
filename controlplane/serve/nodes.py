"""Who is at the other end: from the node of a stream's first request to a Proxy."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import MessageToDict

from controlplane.model.proxies import Proxy, proxy


def proxy_of(node: Node) -> Proxy:
    """Return the Proxy that ``node`` describes; raises BadNode."""
    locality = node.locality
    places = (locality.region, locality.zone, locality.sub_zone)
    return proxy(node.id, MessageToDict(node.metadata), "/".join(places).rstrip("/"))
