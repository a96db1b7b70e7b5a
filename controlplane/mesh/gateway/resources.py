"""The root of a gateway's resources, and the clusters that its routes lead to."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS
from controlplane.incremental.database import Database, query
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.access.policies import effective_policies, external_authorizers
from controlplane.mesh.access.rate_limits import limit_targets
from controlplane.mesh.destinations.clusters import black_hole_cluster, service_clusters
from controlplane.mesh.destinations.destination_rules import rule_client
from controlplane.mesh.destinations.provider_clusters import provider_clusters
from controlplane.mesh.extensions.attached import TrafficSide, extensions_of
from controlplane.mesh.extensions.programs import extension_parts
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_servers, server_at
from controlplane.mesh.gateway.listeners import connection_virtual_services, gateway_listeners
from controlplane.mesh.gateway.passed_clusters import passed_clusters
from controlplane.mesh.gateway.route_tables import default_endpoint_name, gateway_hosts, gateway_route_tables
from controlplane.mesh.gateway.server_merge import ServerRef, passes_to_clusters, serves_http
from controlplane.mesh.gateway.virtual_hosts import gateway_table_parts
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, PartGroup, ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import find_services
from controlplane.mesh.routing.virtual_services import destinations
from controlplane.mesh.telemetry.connections import telemetry_targets
from controlplane.model.keys import Key
from controlplane.model.protocols import parse_protocol
from controlplane.translate.clusters import clusters
from controlplane.xds.resource import Resource
from controlplane.xds.stream import VirtualHostsBy


@query
def gateway_parts(db: Database, scope: GatewayScope, hosts_by: VirtualHostsBy) -> Members:
    """Return the parts of ``scope``: listeners, route tables, whose hosts come ``hosts_by``, and the clusters that these lead to."""
    parts: set[ResourcePart | PartGroup] = {
        ResourcePart(black_hole_cluster, ()),
        PartGroup(gateway_listeners, (scope,)),
        PartGroup(gateway_clusters, (scope,)),
    }
    parts |= {PartGroup(gateway_table_parts, (scope, name, hosts_by)) for name in gateway_route_tables(db, scope)}
    extensions = extensions_of(db, scope.namespace, scope.labels, TrafficSide.CLIENT)
    parts |= extension_parts(db, extensions, identified=scope.identified)
    return frozenset(parts)


@query
def gateway_clusters(db: Database, scope: GatewayScope) -> Members:
    """Return the clusters of ``scope``: its VirtualServices' destinations, authorizers, default endpoints, and what TLS passes to."""
    parts: set[ResourcePart | PartGroup] = set()
    policies = effective_policies(db, scope.namespace, scope.labels, TrafficSide.CLIENT)
    targets = [authorizer.target for authorizer in external_authorizers(db, policies)]
    for target in (*targets, *limit_targets(db, policies.rate_limits), *telemetry_targets(db, scope.connections.telemetry, Side.CLIENT)):
        parts.update(provider_clusters(db, target, scope.namespace, scope.labels, identified=scope.identified))
    hosts = {host for key in gateway_virtual_services(db, scope) for host in destinations(db, key)}
    for ref in {ref for host in hosts for ref in find_services(db, host, scope.namespace)}:
        parts.add(PartGroup(service_clusters, (ref, rule_client(db, ref, scope.namespace, scope.labels), scope.identified)))
    for port in gateway_servers(db, scope).ports:
        parts |= {
            ResourcePart(default_endpoint_cluster, (merged_server.server_ref,))
            for merged_server in port.servers
            if merged_server.server.default_endpoint and serves_http(merged_server.server)
        }
        for merged_server in port.servers:
            if passes_to_clusters(merged_server.server):
                parts.update(passed_clusters(db, scope, merged_server))
    return frozenset(parts)


@query
def gateway_virtual_services(db: Database, scope: GatewayScope) -> frozenset[Key]:
    """Return the VirtualServices that apply on ``scope``."""
    keys = {
        bound.key
        for name in gateway_route_tables(db, scope)
        for gateway_host in gateway_hosts(db, scope, name)
        for bound in gateway_host.virtual_services
    }
    for port in gateway_servers(db, scope).ports:
        for merged_server in port.servers:
            if not serves_http(merged_server.server):
                keys.update(connection_virtual_services(db, merged_server.server_ref, merged_server, scope.namespace))
    return frozenset(keys)


@query
def default_endpoint_cluster(db: Database, server_ref: ServerRef) -> Resource | None:
    """Return the cluster for the default endpoint of the server that ``server_ref`` names."""
    server = server_at(db, server_ref)
    if server is None or not server.default_endpoint:
        return None
    timeout = mesh_settings(db).connect_timeout_ms
    name = default_endpoint_name(server_ref, server)
    message = clusters.beside(name, server.default_endpoint, parse_protocol(server.port.protocol), connect_timeout_ms=timeout)
    return checked_resource(CDS, name, message)
