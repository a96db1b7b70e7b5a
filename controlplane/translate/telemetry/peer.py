"""What notes of a connection who its peer is, from the certificate: read once a connection, by every metric of it.

https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/set_filter_state
"""

from __future__ import annotations

from functools import cache

from envoy.config.listener.v3.listener_components_pb2 import Filter

from controlplane.envoy.packing import Fields, pack, typed_struct
from controlplane.translate.telemetry.names import peer_expressions

NAME = "envoy.filters.network.set_filter_state"
_CONFIG = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_CEL = "envoy.extensions.formatter.cel.v3.Cel"


@cache
def peer_filter() -> Filter:
    """Return the filter that notes the names of the peer once its certificate is known."""
    with_functions: Fields = {"@type": f"type.googleapis.com/{_CEL}", "cel_config": {"enable_string_functions": True}}
    formatter: Fields = {"name": "envoy.formatter.cel", "typed_config": with_functions}
    noted = [
        {
            "object_key": key,
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": expression}, "formatters": [formatter]},
        }
        for key, expression in peer_expressions().items()
    ]
    return Filter(name=NAME, typed_config=pack(typed_struct(_CONFIG, {"on_downstream_tls_handshake": noted})))
