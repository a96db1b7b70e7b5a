"""What a proxy sees as a whole: the roots of its tables, by its type."""

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
    """Return what ``proxy`` sees: what is around a workload, or at the edge of the mesh."""
    return gateway_scope(db, proxy) if proxy.type is ProxyType.ROUTER else proxy_scope(db, proxy)


def table_roots(scope: ProxyScope | GatewayScope, variant: Variant) -> tuple[PartGroup, ...]:
    """Return what the tables of a proxy that sees ``scope`` are made of, on a stream of ``variant``."""
    match scope:
        case ProxyScope():
            return (PartGroup(outbound_parts, (scope.outbound, variant)), PartGroup(inbound_parts, (scope.workload,)))
        case GatewayScope():
            return (PartGroup(gateway_parts, (scope, variant)),)
