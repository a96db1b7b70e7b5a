"""An Envoy that leads to the control plane whoever cannot show a token that is renewed, as Envoy's rate limit service.

It stands beside that client and listens for it alone, reads token and roots from files, and shows the token for it.
"""

from __future__ import annotations

from controlplane.bootstrap.xds_cluster import CLUSTER, XdsServer, socket_address, xds_cluster
from controlplane.untyped import Json

_TYPES = "type.googleapis.com/envoy.extensions.filters"
_ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}


def xds_relay(listen: str, control_plane: XdsServer) -> Json:
    """Return the configuration of an Envoy that takes calls at ``listen``, ``host:port``, and sends them to ``control_plane``."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": CLUSTER, "timeout": "0s"}}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "xds",
        "codec_type": "HTTP2",
        "stream_idle_timeout": "0s",
        "http_filters": [_ROUTER],
        "route_config": {"virtual_hosts": [{"name": "xds", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "xds", "address": socket_address(listen), "filter_chains": [chain]}
    node = {"id": "xds-relay", "cluster": "xds-relay"}  # without them it takes no secret by SDS
    return {"node": node, "static_resources": {"listeners": [listener], "clusters": [xds_cluster(control_plane)]}}
