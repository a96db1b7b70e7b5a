"""How a cluster speaks to one of its endpoints: in the clear or by TLS, and in which version of HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.struct_pb2 import Struct

from controlplane.simulation.extensions import unpacked

_MATCH = "envoy.transport_socket_match"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True)
class UpstreamTransport:
    """How connections to an endpoint begin: ``tls`` is what TLS they use, if they do, by the transport socket ``name``."""

    name: str
    tls: UpstreamTlsContext | None
    http2: bool


def transport_of(cluster: Cluster, endpoint: LbEndpoint | None) -> UpstreamTransport:
    """Return how ``cluster`` speaks to ``endpoint``; ``None``: to an address that it has no endpoint for."""
    name, socket = _socket(cluster, endpoint)
    return UpstreamTransport(name, unpacked(socket.typed_config, UpstreamTlsContext), _speaks_http2(cluster))


def _socket(cluster: Cluster, endpoint: LbEndpoint | None) -> tuple[str, TransportSocket]:
    own = endpoint.metadata.filter_metadata[_MATCH] if endpoint is not None and _MATCH in endpoint.metadata.filter_metadata else Struct()
    for each in cluster.transport_socket_matches:
        if all(key in own.fields and own.fields[key] == value for key, value in each.match.fields.items()):
            return each.name, each.transport_socket
    return cluster.transport_socket.name, cluster.transport_socket


def _speaks_http2(cluster: Cluster) -> bool:
    if _HTTP_OPTIONS not in cluster.typed_extension_protocol_options:
        return False
    options = HttpProtocolOptions.FromString(cluster.typed_extension_protocol_options[_HTTP_OPTIONS].value)
    return options.explicit_http_config.HasField("http2_protocol_options")
