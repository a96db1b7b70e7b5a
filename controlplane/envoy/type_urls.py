"""The type URLs of what Envoy asks for, in the order in which a change may reach it."""

from __future__ import annotations

PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SRDS = PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
VHDS = PREFIX + "envoy.config.route.v3.VirtualHost"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
RTDS = PREFIX + "envoy.service.runtime.v3.Runtime"
ECDS = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"

RATE_LIMIT_CONFIG = PREFIX + "ratelimit.config.ratelimit.v3.RateLimitConfig"  # of Envoy's rate limit service

# What Istio's agent asks for itself, besides what the Envoy behind it does: names for its DNS proxy, and settings of the proxy. The
# answer is that there are none.
NDS = PREFIX + "istio.networking.nds.v1.NameTable"
PCDS = PREFIX + "istio.mesh.v1alpha1.ProxyConfig"
ISTIO_AGENT_TYPES = (NDS, PCDS)

# Make before break: what is used comes before what uses it.
# https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
PUSH_ORDER = (CDS, EDS, LDS, RDS, SRDS, VHDS, SDS, ECDS, RTDS)
