"""What an Envoy has to be told before it can ask: who it is, and where the control plane is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ADMIN_PORT = 15000
HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
# Envoy's own back-off grows to 30 s: after an outage it would be that late. A silently dead control plane is noticed in 5 s.
_BACK_OFF = {"retry_back_off": {"base_interval": "0.25s", "max_interval": "3s"}}
_KEEPALIVE = {"interval": "5s", "timeout": "2s"}


def bootstrap(node_id: str, metadata: Mapping[str, object], *, xds: Sequence[str], admin: str, delta: bool = True) -> dict[str, object]:
    """Return the bootstrap of an Envoy ``node_id`` with Istio's ``metadata``, served by one of ``xds``; its admin API is at ``admin``."""
    return {
        "node": {"id": node_id, "cluster": str(metadata.get("NAME", "proxy")), "metadata": dict(metadata)},
        "admin": {"address": _address(admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc", "retry_policy": _BACK_OFF}}],
            },
            "cds_config": _ADS,
            "lds_config": _ADS,
        },
        "static_resources": {"clusters": [_control_plane(xds)]},
    }


def _control_plane(xds: Sequence[str]) -> dict[str, object]:
    options = {
        "@type": f"type.googleapis.com/{HTTP2}",
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": _KEEPALIVE}},
    }
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {HTTP2: options},
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(each)}} for each in xds]}],
        },
    }


def _address(text: str) -> dict[str, object]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
