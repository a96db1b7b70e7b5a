"""The root of a scope's outbound resources, and its listeners."""

from __future__ import annotations

from controlplane.envoy.type_urls import LDS
from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import OutboundListener
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.destinations.clusters import black_hole_cluster, passthrough_cluster, service_clusters
from controlplane.mesh.destinations.destination_rules import (
    EVERY_CLIENT,
    RuleClient,
    rule_audience,
    rule_client,
    selected_labels_of_namespace,
)
from controlplane.mesh.destinations.provider_clusters import provider_clusters
from controlplane.mesh.extensions.attached import TrafficSide, chain_extensions
from controlplane.mesh.extensions.programs import extension_parts
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, PartGroup, ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.routing.route_tables import route_tables
from controlplane.mesh.routing.scopes import (
    OutboundScope,
    client_namespace_for_routes,
    egress_listeners,
    imported_services,
    imported_shards,
    outbound_policy,
)
from controlplane.mesh.routing.virtual_hosts import route_table_parts
from controlplane.mesh.shards import Shard
from controlplane.mesh.sidecar.outbound_listeners import egress_client, listeners_of_egress, without_conflicts
from controlplane.mesh.telemetry.connections import ConnectionScope, outbound_connection_settings, telemetry_targets
from controlplane.model.endpoint_policy import STATUS_PORTS
from controlplane.model.keys import Key
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.proxies import IpFamilies
from controlplane.translate.addresses import wildcard
from controlplane.translate.clusters import clusters
from controlplane.translate.listeners import outbound as listeners
from controlplane.xds.resource import Resource
from controlplane.xds.stream import VirtualHostsBy


@query
def outbound_parts(db: Database, scope: OutboundScope, hosts_by: VirtualHostsBy) -> Members:
    """Return what ``scope`` sees: clusters with their endpoints, and route tables, whose virtual hosts come ``hosts_by``."""
    client_namespace = client_namespace_for_routes(db, scope.namespace)
    parts: set[ResourcePart | PartGroup] = {
        ResourcePart(black_hole_cluster, ()),
        ResourcePart(passthrough_cluster, ()),
    }
    selected = selected_labels_of_namespace(db, scope.namespace)
    own_client = RuleClient(scope.namespace, tuple(pair for pair in scope.labels if pair in selected))
    for egress in egress_listeners(db, scope):
        for shard in imported_shards(db, client_namespace, egress.hosts):
            client = own_client if scope.namespace in rule_client_namespaces(db, client_namespace, egress.hosts, shard) else EVERY_CLIENT
            parts.add(PartGroup(clusters_of_shard, (client_namespace, egress.hosts, shard, client, scope.identified)))
    parts |= {PartGroup(route_table_parts, (scope, table, hosts_by)) for table in route_tables(db, scope)}
    return frozenset(parts)


@query
def outbound_connection_parts(db: Database, scope: OutboundScope) -> Members:
    """Return how ``scope`` handles connections: its outbound listeners, and the clusters of whom it tells of them.

    This differs from one workload to the next once they are counted, and what they see does not.
    """
    parts: set[ResourcePart | PartGroup] = {PartGroup(outbound_listeners, (scope,))}
    parts |= extension_parts(db, scope.extensions, identified=scope.identified)
    for target in telemetry_targets(db, scope.connections.telemetry, Side.CLIENT):
        parts.update(provider_clusters(db, target, scope.namespace, scope.labels, identified=scope.identified))
    return frozenset(parts)


@query
def rule_client_namespaces(db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard) -> frozenset[str]:
    """Return the namespaces whose DestinationRules for some service of ``shard`` differ from the public ones."""
    return frozenset(namespace for ref in imported_services(db, client_namespace, hosts, shard) for namespace in rule_audience(db, ref))


@query
def clusters_of_shard(
    db: Database,
    client_namespace: str,
    hosts: tuple[str, ...],
    shard: Shard,
    client: RuleClient,
    identified: bool,  # noqa: FBT001 - a part of the key
) -> Members:
    """Return the clusters of the services of ``shard`` by the rules for ``client``.

    ``identified``: for proxies that have a certificate.
    """
    return frozenset(
        PartGroup(service_clusters, (ref, rule_client(db, ref, client.namespace, client.labels), identified))
        for ref in imported_services(db, client_namespace, hosts, shard)
    )


@query
def outbound_listeners(db: Database, scope: OutboundScope) -> Members:
    """Return the outbound listeners of ``scope``."""
    candidates = [
        listener
        for egress in egress_listeners(db, scope)
        for listener in listeners_of_egress(db, egress, egress_client(db, scope, egress.hosts), outbound_policy(db, scope.sidecar))
        if scope.captured or listener.binds
    ]
    settings = mesh_settings(db)
    ports = (settings.outbound_port, settings.inbound_port, *STATUS_PORTS) if scope.captured else ()
    own_addresses = ((bind, port) for bind in wildcard(scope.families) for port in ports)
    parts = {
        ResourcePart(outbound_listener, (listener, scope.connections, scope.extensions))
        for listener in without_conflicts(candidates, own_addresses)
    }
    if scope.captured:
        policy = outbound_policy(db, scope.sidecar)
        parts.add(ResourcePart(virtual_outbound, (policy, scope.families, scope.connections, scope.extensions)))
        if (port := settings.http_proxy_port) is not None:
            parts.add(ResourcePart(http_proxy_listener, (port, scope.connections, scope.extensions)))
    return frozenset(parts)


@query
def outbound_listener(
    db: Database, listener: OutboundListener, connections: ConnectionScope, extensions: tuple[Key, ...]
) -> Resource | None:
    """Return the listener of ``listener``, where connections pass ``extensions``."""
    passed = chain_extensions(db, extensions, TrafficSide.CLIENT)
    message = listeners.outbound_listener(listener, outbound_connection_settings(db, connections), passed)
    return checked_resource(LDS, listener.name, message, listener.missing)


@query
def virtual_outbound(
    db: Database, policy: OutboundPolicy, families: IpFamilies, connections: ConnectionScope, extensions: tuple[Key, ...]
) -> Resource | None:
    """Return the listener that iptables send every outbound connection to; they pass ``extensions``."""
    catch_all = clusters.PASSTHROUGH if policy is OutboundPolicy.ALLOW_ANY else clusters.BLACK_HOLE
    settings, passed = outbound_connection_settings(db, connections), chain_extensions(db, extensions, TrafficSide.CLIENT)
    message = listeners.virtual_outbound(mesh_settings(db).outbound_port, catch_all, settings, families, passed)
    return checked_resource(LDS, message.name, message)


@query
def http_proxy_listener(db: Database, port: int, connections: ConnectionScope, extensions: tuple[Key, ...]) -> Resource | None:
    """Return the listener that applications name as their HTTP proxy; ``extensions`` are passed on the way."""
    passed = chain_extensions(db, extensions, TrafficSide.CLIENT)
    message = listeners.http_proxy(port, outbound_connection_settings(db, connections), passed)
    return checked_resource(LDS, message.name, message)
