"""The type URLs of what Envoy asks for, in the order in which a change may reach it."""

from __future__ import annotations

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
RDS = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
SRDS = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
VHDS = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
SDS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
RTDS = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
ECDS = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

# Make before break: what is used comes before what uses it.
# https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
PUSH_ORDER = (CDS, EDS, LDS, RDS, SRDS, VHDS, SDS, ECDS, RTDS)
