"""Filters that only Istio's own build of Envoy has, and what there is instead."""

from __future__ import annotations

from collections.abc import Mapping

_STATS = "its metrics come from the Telemetry API and the access logger envoy.access_loggers.stats"
_PEERS = "the peer is known by its certificate, and nothing need be exchanged"
_INSTEAD: Mapping[str, str] = {
    "istio.stats": _STATS,
    "istio.metadata_exchange": _PEERS,
    "istio.peer_metadata": _PEERS,
    "istio.alpn": "clusters announce what the mesh speaks by themselves",
    "istio.workload_discovery": _PEERS,
    "istio.authenticate": "RequestAuthentication and AuthorizationPolicy are the filters jwt_authn and rbac",
    "istio_authn": "RequestAuthentication and AuthorizationPolicy are the filters jwt_authn and rbac",
    "istio.mixer": "the Telemetry API, and AuthorizationPolicies of the action CUSTOM",
    "mixer": "the Telemetry API, and AuthorizationPolicies of the action CUSTOM",
    "istio.stackdriver": "the Telemetry API with an OpenTelemetry provider",
    "envoy.filters.network.metadata_exchange": _PEERS,
    "envoy.filters.network.upstream.metadata_exchange": _PEERS,
    "envoy.filters.network.tcp_cluster_rewrite": "a VirtualService says where connections go",
    "envoy.filters.network.forward_downstream_sni": "a VirtualService with tls routes says where connections go",
    "envoy.filters.network.sni_verifier": "a VirtualService with tls routes says where connections go",
    "envoy.filters.http.peer_metadata": _PEERS,
    "envoy.filters.http.alpn": "clusters announce what the mesh speaks by themselves",
    "envoy.filters.http.istio_stats": _STATS,
}
# Of the names of their messages; what is to be said is found by the end of the name.
_PACKAGES = ("istio.envoy.config.", "io.istio.", "envoy.tcp.metadataexchange.", "stats.PluginConfig", "istio.mixer.")
_BY_TYPE: Mapping[str, str] = {"PluginConfig": _STATS, "IoPeerMetadataConfig": _PEERS, "MetadataExchange": _PEERS}
# What filters were called in Istio's older examples, and are not any more.
RENAMED: Mapping[str, str] = {
    "envoy.http_connection_manager": "envoy.filters.network.http_connection_manager",
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.filters.http.rbac.istio": "envoy.filters.http.rbac",
}


def instead_of(name: str) -> str | None:
    """Return what there is instead of the filter, or of the message, ``name``; ``None`` where it is not one of Istio's."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name.startswith(_PACKAGES) or name in _PACKAGES:
        return _BY_TYPE.get(name.rpartition(".")[2], "a stock Envoy has nothing of the kind")
    return None
