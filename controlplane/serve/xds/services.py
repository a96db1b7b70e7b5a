"""Which discovery services there are, by their gRPC names (XP-01)."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS, SRDS, VHDS

LEDS = "type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint"


@dataclass(frozen=True, slots=True)
class DiscoveryService:
    """One gRPC service: its name, the one type it serves (``None``: all), and its methods for each protocol."""

    name: str
    only: str | None
    sotw: str | None
    delta: str


SERVICES = (
    DiscoveryService(
        "envoy.service.discovery.v3.AggregatedDiscoveryService", None, "StreamAggregatedResources", "DeltaAggregatedResources"
    ),
    DiscoveryService("envoy.service.cluster.v3.ClusterDiscoveryService", CDS, "StreamClusters", "DeltaClusters"),
    DiscoveryService("envoy.service.endpoint.v3.EndpointDiscoveryService", EDS, "StreamEndpoints", "DeltaEndpoints"),
    DiscoveryService("envoy.service.endpoint.v3.LocalityEndpointDiscoveryService", LEDS, None, "DeltaLocalityEndpoints"),
    DiscoveryService("envoy.service.listener.v3.ListenerDiscoveryService", LDS, "StreamListeners", "DeltaListeners"),
    DiscoveryService("envoy.service.route.v3.RouteDiscoveryService", RDS, "StreamRoutes", "DeltaRoutes"),
    DiscoveryService("envoy.service.route.v3.ScopedRoutesDiscoveryService", SRDS, "StreamScopedRoutes", "DeltaScopedRoutes"),
    DiscoveryService("envoy.service.route.v3.VirtualHostDiscoveryService", VHDS, None, "DeltaVirtualHosts"),
    DiscoveryService("envoy.service.secret.v3.SecretDiscoveryService", SDS, "StreamSecrets", "DeltaSecrets"),
    DiscoveryService("envoy.service.runtime.v3.RuntimeDiscoveryService", RTDS, "StreamRuntime", "DeltaRuntime"),
    DiscoveryService("envoy.service.extension.v3.ExtensionConfigDiscoveryService", ECDS, "StreamExtensionConfigs", "DeltaExtensionConfigs"),
)
