"""Which discovery services there are, by their gRPC names (XP-01)."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS, SRDS, VHDS

LEDS = "type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint"


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service: its name, the one type it serves (``None``: all), and its methods for each protocol."""

    name: str
    only: str | None
    sotw: str | None
    delta: str


SERVICES = (
    Service("envoy.service.discovery.v3.AggregatedDiscoveryService", None, "StreamAggregatedResources", "DeltaAggregatedResources"),
    Service("envoy.service.cluster.v3.ClusterDiscoveryService", CDS, "StreamClusters", "DeltaClusters"),
    Service("envoy.service.endpoint.v3.EndpointDiscoveryService", EDS, "StreamEndpoints", "DeltaEndpoints"),
    Service("envoy.service.endpoint.v3.LocalityEndpointDiscoveryService", LEDS, None, "DeltaLocalityEndpoints"),
    Service("envoy.service.listener.v3.ListenerDiscoveryService", LDS, "StreamListeners", "DeltaListeners"),
    Service("envoy.service.route.v3.RouteDiscoveryService", RDS, "StreamRoutes", "DeltaRoutes"),
    Service("envoy.service.route.v3.ScopedRoutesDiscoveryService", SRDS, "StreamScopedRoutes", "DeltaScopedRoutes"),
    Service("envoy.service.route.v3.VirtualHostDiscoveryService", VHDS, None, "DeltaVirtualHosts"),
    Service("envoy.service.secret.v3.SecretDiscoveryService", SDS, "StreamSecrets", "DeltaSecrets"),
    Service("envoy.service.runtime.v3.RuntimeDiscoveryService", RTDS, "StreamRuntime", "DeltaRuntime"),
    Service("envoy.service.extension.v3.ExtensionConfigDiscoveryService", ECDS, "StreamExtensionConfigs", "DeltaExtensionConfigs"),
)
