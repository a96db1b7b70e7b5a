"""The bootstrap of a gateway by hand: an Envoy that is told where its control plane is, and nothing else of ours."""

from __future__ import annotations

import json


def front_bootstrap(xds: str, api_type: str, expression_limit: int | None = None) -> str:
    """Return the bootstrap of a gateway that has nothing of ours but the address ``xds``, and perhaps the limit of expressions."""
    host, _, port = xds.rpartition(":")
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    cluster = {
        "name": "xds",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    ads = {"ads": {}, "resource_api_version": "V3"}
    runtime = {"name": "static", "static_layer": {"re2.max_program_size.error_level": expression_limit}}
    services = [{"envoy_grpc": {"cluster_name": "xds"}}]
    return json.dumps(
        {
            "node": {
                "id": "router~127.0.0.1~front-1.default~default.svc.cluster.local",
                "cluster": "front",
                "metadata": {"LABELS": {"app": "front"}, **({"RE2_MAX_PROGRAM_SIZE": expression_limit} if expression_limit else {})},
            },
            "dynamic_resources": {
                "ads_config": {"api_type": api_type, "transport_api_version": "V3", "grpc_services": services},
                "cds_config": ads,
                "lds_config": ads,
            },
            "static_resources": {"clusters": [cluster]},
            **({"layered_runtime": {"layers": [runtime]}} if expression_limit else {}),
        }
    )
