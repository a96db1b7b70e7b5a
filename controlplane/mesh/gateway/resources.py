"""What a gateway sees: the root that everything of it hangs from, and the clusters that its routes lead to."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.access.ext_authz import authorizer_clusters
from controlplane.mesh.access.policies import effective_policies, external_authorizers
from controlplane.mesh.destinations.clusters import black_hole_cluster, service_clusters
from controlplane.mesh.destinations.destination_rules import client_namespace_for_rules
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_servers, server_at
from controlplane.mesh.gateway.listeners import connection_virtual_services, gateway_listeners
from controlplane.mesh.gateway.route_tables import default_endpoint_name, gateway_hosts, gateway_route_tables
from controlplane.mesh.gateway.server_merge import ServerRef, serves_http
from controlplane.mesh.gateway.virtual_hosts import gateway_table_parts
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, PartGroup, ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import find_service
from controlplane.mesh.routing.virtual_services import destinations
from controlplane.model.keys import Key
from controlplane.model.protocols import parse_protocol
from controlplane.translate.clusters import clusters
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Variant


@query
def gateway_parts(db: Database, scope: GatewayScope, variant: Variant) -> Members:
    """Return what ``scope`` sees on a stream of ``variant``: listeners, route tables, and the clusters that these lead to."""
    found: set[ResourcePart | PartGroup] = {
        ResourcePart(black_hole_cluster, ()),
        PartGroup(gateway_listeners, (scope,)),
        PartGroup(gateway_clusters, (scope,)),
    }
    found |= {PartGroup(gateway_table_parts, (scope, name, variant)) for name in gateway_route_tables(db, scope)}
    return frozenset(found)


@query
def gateway_clusters(db: Database, scope: GatewayScope) -> Members:
    """Return the clusters of what the VirtualServices of ``scope`` send anything to, of authorizers, and of what is beside the proxy."""
    found: set[ResourcePart | PartGroup] = set()
    for each in external_authorizers(db, effective_policies(db, scope.namespace, scope.labels)):
        found.update(authorizer_clusters(db, each, scope.namespace, identified=scope.identified))
    refs = {find_service(db, host, scope.namespace) for key in gateway_virtual_services(db, scope) for host in destinations(db, key)}
    for ref in refs:
        if ref:
            found.add(PartGroup(service_clusters, (ref, client_namespace_for_rules(db, ref, scope.namespace), scope.identified)))
    for port in gateway_servers(db, scope).ports:
        found |= {
            ResourcePart(default_endpoint_cluster, (each.place,))
            for each in port.servers
            if each.server.default_endpoint and serves_http(each.server)
        }
    return frozenset(found)


@query
def gateway_virtual_services(db: Database, scope: GatewayScope) -> frozenset[Key]:
    """Return the VirtualServices that take part on ``scope``."""
    found = {part.key for name in gateway_route_tables(db, scope) for each in gateway_hosts(db, scope, name) for part in each.parts}
    for port in gateway_servers(db, scope).ports:
        for each in port.servers:
            if not serves_http(each.server):
                found.update(connection_virtual_services(db, each.place, each, scope.namespace))
    return frozenset(found)


@query
def default_endpoint_cluster(db: Database, place: ServerRef) -> Resource | None:
    """Return the cluster for the default endpoint of the server at ``place``."""
    value = server_at(db, place)
    if value is None or not value.default_endpoint:
        return None
    timeout = mesh_settings(db).connect_timeout_ms
    name = default_endpoint_name(place, value)
    message = clusters.beside(name, value.default_endpoint, parse_protocol(value.port.protocol), connect_timeout_ms=timeout)
    return checked_resource(CDS, name, message)
