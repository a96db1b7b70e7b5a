"""What a proxy sees as a whole: the roots of its tables, by its type."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.gateways import Edge, edge
from controlplane.mesh.gateway.resources import at_edge
from controlplane.mesh.publish.parts import Group, Wire
from controlplane.mesh.routing.scopes import ProxyScope, proxy_scope
from controlplane.mesh.sidecar.inbound import workload
from controlplane.mesh.sidecar.outbound import outbound
from controlplane.model.proxies import Proxy, ProxyType


@query
def seen_by(db: Database, proxy: Proxy) -> ProxyScope | Edge:
    """Return what ``proxy`` sees: what is around a workload, or at the edge of the mesh."""
    return edge(db, proxy) if proxy.type is ProxyType.ROUTER else proxy_scope(db, proxy)


def roots(seen: ProxyScope | Edge, wire: Wire) -> tuple[Group, ...]:
    """Return what the tables of a proxy that sees ``seen`` are made of, on a stream of ``wire``."""
    match seen:
        case ProxyScope():
            return (Group(outbound, (seen.outbound, wire)), Group(workload, (seen.workload,)))
        case Edge():
            return (Group(at_edge, (seen, wire)),)
