"""What a gateway sees: the root that everything of it hangs from, and the clusters that its routes lead to."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.access.ext_authz import clusters_to
from controlplane.mesh.access.policies import authorizers, effective
from controlplane.mesh.destinations.clusters import black_hole, clusters_of
from controlplane.mesh.destinations.destination_rules import seer_of_rules
from controlplane.mesh.gateway.gateways import Edge, served, server
from controlplane.mesh.gateway.listeners import listeners_of, routers
from controlplane.mesh.gateway.route_tables import endpoint_cluster, hosts, tables
from controlplane.mesh.gateway.server_merge import Place, serves_http
from controlplane.mesh.gateway.virtual_hosts import table_of
from controlplane.mesh.publish.encode import checked
from controlplane.mesh.publish.parts import Group, Leaf, Members, Wire
from controlplane.mesh.registry.mesh_settings import settings
from controlplane.mesh.registry.services import find
from controlplane.mesh.routing.virtual_services import destinations
from controlplane.model.keys import Key
from controlplane.model.protocols import named
from controlplane.translate import clusters
from controlplane.xds.resource import Resource


@query
def at_edge(db: Database, edge: Edge, wire: Wire) -> Members:
    """Return what ``edge`` sees on a stream of ``wire``: listeners, route tables, and the clusters that these lead to."""
    found: set[Leaf | Group] = {Leaf(black_hole, ()), Group(listeners_of, (edge,)), Group(clusters_for, (edge,))}
    found |= {Group(table_of, (edge, name, wire)) for name in tables(db, edge)}
    return frozenset(found)


@query
def clusters_for(db: Database, edge: Edge) -> Members:
    """Return the clusters of what the VirtualServices of ``edge`` send anything to, of authorizers, and of what is beside the proxy."""
    found: set[Leaf | Group] = set()
    for each in authorizers(db, effective(db, edge.namespace, edge.labels)):
        found.update(clusters_to(db, each, edge.namespace, identified=edge.identified))
    refs = {find(db, host, edge.namespace) for key in routed_by(db, edge) for host in destinations(db, key)}
    for ref in refs:
        if ref:
            found.add(Group(clusters_of, (ref, seer_of_rules(db, ref, edge.namespace), edge.identified)))
    for port in served(db, edge).ports:
        found |= {Leaf(endpoint, (each.place,)) for each in port.servers if each.server.default_endpoint and serves_http(each.server)}
    return frozenset(found)


@query
def routed_by(db: Database, edge: Edge) -> frozenset[Key]:
    """Return the VirtualServices that take part on ``edge``."""
    found = {part.key for name in tables(db, edge) for each in hosts(db, edge, name) for part in each.parts}
    for port in served(db, edge).ports:
        for each in port.servers:
            if not serves_http(each.server):
                found.update(routers(db, each.place, each, edge.namespace))
    return frozenset(found)


@query
def endpoint(db: Database, place: Place) -> Resource | None:
    """Return the cluster for the default endpoint of the server at ``place``."""
    value = server(db, place)
    if value is None or not value.default_endpoint:
        return None
    timeout = settings(db).connect_timeout_ms
    name = endpoint_cluster(place, value)
    message = clusters.beside(name, value.default_endpoint, named(value.port.protocol), connect_timeout_ms=timeout)
    return checked(CDS, name, message)
