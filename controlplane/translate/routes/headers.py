"""Changes of headers."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import Route, WeightedCluster

from controlplane.ir.extras import HeaderChanges


def change_headers(message: Route | WeightedCluster.ClusterWeight, request: HeaderChanges, response: HeaderChanges) -> None:
    """Have ``message`` make the changes of ``request`` and ``response`` too, after those that it has already."""
    message.request_headers_to_add.extend(_options(request))
    message.request_headers_to_remove.extend(request.remove)
    message.response_headers_to_add.extend(_options(response))
    message.response_headers_to_remove.extend(response.remove)


def _options(changes: HeaderChanges) -> list[HeaderValueOption]:
    added = [(name, value, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD) for name, value in changes.add]
    set_to = [(name, value, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD) for name, value in changes.set]
    return [
        HeaderValueOption(header={"key": name, "value": value}, append_action=append_action)
        for name, value, append_action in (*added, *set_to)
    ]
