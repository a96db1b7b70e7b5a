"""The scope of a proxy and the roots of its tables, by its type."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_scope
from controlplane.mesh.gateway.resources import gateway_parts
from controlplane.mesh.publish.parts import PartGroup
from controlplane.mesh.routing.scopes import ProxyScope, proxy_scope
from controlplane.mesh.sidecar.inbound import inbound_parts
from controlplane.mesh.sidecar.outbound import outbound_parts
from controlplane.model.proxies import Proxy, ProxyType
from controlplane.xds.stream import Variant


@query
def scope_of(db: Database, proxy: Proxy) -> ProxyScope | GatewayScope:
    """Return the scope of ``proxy``: of a workload, or of a gateway."""
    return gateway_scope(db, proxy) if proxy.type is ProxyType.ROUTER else proxy_scope(db, proxy)


def table_roots(scope: ProxyScope | GatewayScope, variant: Variant) -> tuple[PartGroup, ...]:
    """Return the roots of the tables of ``scope``, on a stream of ``variant``."""
    match scope:
        case ProxyScope():
            return (PartGroup(outbound_parts, (scope.outbound, variant)), PartGroup(inbound_parts, (scope.workload,)))
        case GatewayScope():
            return (PartGroup(gateway_parts, (scope, variant)),)
