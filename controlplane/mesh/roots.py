"""The scope of a proxy and the roots of its tables, by its type."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.access.rate_limit_service import RateLimitServiceScope, rate_limit_service_parts
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_scope
from controlplane.mesh.gateway.resources import gateway_parts
from controlplane.mesh.publish.parts import PartGroup
from controlplane.mesh.routing.scopes import ProxyScope, proxy_scope
from controlplane.mesh.sidecar.inbound import inbound_parts
from controlplane.mesh.sidecar.outbound import outbound_connection_parts, outbound_parts
from controlplane.mesh.telemetry.connections import ConnectionScope
from controlplane.model.envoy_versions import takes_vhds
from controlplane.model.proxies import Proxy, ProxyType
from controlplane.xds.stream import Variant, VirtualHostsBy

Scope = ProxyScope | GatewayScope | RateLimitServiceScope


@query
def scope_of(db: Database, proxy: Proxy) -> Scope:
    """Return the scope of ``proxy``: of a workload, a gateway, or a rate limit service."""
    match proxy.type:
        case ProxyType.SIDECAR:
            return proxy_scope(db, proxy)
        case ProxyType.ROUTER:
            return gateway_scope(db, proxy)
        case ProxyType.RATE_LIMIT_SERVICE:
            return RateLimitServiceScope(proxy.namespace)


def virtual_hosts_by(proxy: Proxy, variant: Variant) -> VirtualHostsBy:
    """Return how virtual hosts come to a stream of ``proxy`` that speaks ``variant``: SotW has no VHDS, and old Envoys refuse it on ADS."""
    return VirtualHostsBy.VHDS if variant is Variant.DELTA and takes_vhds(proxy.envoy) else VirtualHostsBy.RDS


def table_roots(scope: Scope, hosts_by: VirtualHostsBy) -> tuple[PartGroup, ...]:
    """Return the roots of the tables of ``scope``, on a stream to which virtual hosts come ``hosts_by``."""
    match scope:
        case ProxyScope():
            seen = scope.outbound._replace(connections=ConnectionScope())
            return (
                PartGroup(outbound_parts, (seen, hosts_by)),
                PartGroup(outbound_connection_parts, (scope.outbound,)),
                PartGroup(inbound_parts, (scope.workload,)),
            )
        case GatewayScope():
            return (PartGroup(gateway_parts, (scope, hosts_by)),)
        case RateLimitServiceScope():
            return (PartGroup(rate_limit_service_parts, (scope,)),)
