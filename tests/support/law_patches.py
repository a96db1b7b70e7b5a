"""Patches of EnvoyFilters for the laws: some of each sort, of which some cannot be applied to all that they are for."""

from __future__ import annotations

MANAGER: dict[str, object] = {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": "envoy.filters.http.router"}}
LUA: dict[str, object] = {
    "name": "lua",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": "function envoy_on_request(handle) end"},
    },
}
ADDED_HOST: dict[str, object] = {
    "name": "added",
    "domains": ["added.example", "x.example"],
    "routes": [{"match": {"prefix": "/"}, "redirect": {}}],
}
# What is patched, by which match, how, and by which value; some of it cannot be applied to all that it is for.
PATCHES: list[tuple[str, dict[str, object], str, dict[str, object]]] = [
    ("HTTP_FILTER", {"listener": {"filterChain": {"filter": MANAGER}}}, "INSERT_BEFORE", LUA),
    ("HTTP_FILTER", {"context": "GATEWAY", "listener": {"filterChain": {"filter": MANAGER}}}, "INSERT_AFTER", LUA),
    ("LISTENER", {"context": "SIDECAR_INBOUND"}, "MERGE", {"per_connection_buffer_limit_bytes": 4096}),
    ("LISTENER", {"listener": {"portNumber": 80}}, "REMOVE", {}),
    ("LISTENER", {}, "ADD", {"name": "l", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}, "filter_chains": [{}]}),
    ("CLUSTER", {"cluster": {"service": "x.a.svc.cluster.local"}}, "MERGE", {"connect_timeout": "3s"}),
    ("CLUSTER", {"context": "SIDECAR_OUTBOUND", "cluster": {"service": "y.b.svc.cluster.local"}}, "REMOVE", {}),
    ("CLUSTER", {"cluster": {"portNumber": 80}}, "MERGE", {"type": "ORIGINAL_DST"}),
    ("CLUSTER", {}, "ADD", {"name": "added", "type": "STATIC"}),
    ("VIRTUAL_HOST", {"routeConfiguration": {"vhost": {"domainName": "x.example"}}}, "REMOVE", {}),
    ("VIRTUAL_HOST", {"context": "SIDECAR_OUTBOUND"}, "ADD", ADDED_HOST),
    ("VIRTUAL_HOST", {"routeConfiguration": {"gateway": "a/x"}}, "MERGE", {"domains": ["x.example"]}),
    (
        "HTTP_ROUTE",
        {"routeConfiguration": {"portNumber": 80, "vhost": {"route": {"action": "ROUTE"}}}},
        "MERGE",
        {"route": {"timeout": "7s"}},
    ),
    ("ROUTE_CONFIGURATION", {}, "MERGE", {"response_headers_to_remove": ["x-one"]}),
    ("EXTENSION_CONFIG", {}, "ADD", LUA),
]
