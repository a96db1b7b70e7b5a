"""The listeners of gateways, and the clusters of connections that are not routed request by request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.envoy.type_urls import LDS
from controlplane.incremental.database import Database, query
from controlplane.ir.gateway import GatewayChain, GatewayListener
from controlplane.ir.listeners import ChainMatch, HttpRouting, unclaimed
from controlplane.ir.tls import Termination
from controlplane.mesh.access.istio_server_tls import needs_identity, termination
from controlplane.mesh.access.policies import effective_policies, gateway_filters
from controlplane.mesh.extensions.attached import TrafficSide
from controlplane.mesh.gateway.gateways import GatewayRouteClient, GatewayScope, gateway_route_client, gateway_servers, namespaced_name
from controlplane.mesh.gateway.passed_clusters import passing_chains
from controlplane.mesh.gateway.route_tables import bound_virtual_services, shared_hosts, table_name
from controlplane.mesh.gateway.server_merge import (
    OPAQUE,
    MergedPort,
    MergedServer,
    PortKind,
    ServerRef,
    passes_to_clusters,
    server_hosts,
    serves_http,
)
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart
from controlplane.mesh.routing.connection_routes import connection_rules
from controlplane.mesh.routing.virtual_services import RouteContext
from controlplane.mesh.sidecar.inbound import any_peer
from controlplane.mesh.telemetry.connections import gateway_connection_settings
from controlplane.model.hosts import common_hosts, hosts_for_namespace
from controlplane.model.keys import Key
from controlplane.translate.listeners.gateway import gateway_listener
from controlplane.xds.resource import Resource


@query
def gateway_listeners(db: Database, scope: GatewayScope) -> Members:
    """Return the listeners of ``scope``, one a port."""
    return frozenset(ResourcePart(gateway_listener_resource, (scope, port.bind, port.number)) for port in gateway_servers(db, scope).ports)


@query
def merged_port(db: Database, scope: GatewayScope, bind: str, number: int) -> MergedPort | None:
    """Return the port ``number`` of ``bind`` on ``scope``."""
    return next((port for port in gateway_servers(db, scope).ports if (port.bind, port.number) == (bind, number)), None)


@query
def gateway_listener_resource(db: Database, scope: GatewayScope, bind: str, number: int) -> Resource | None:
    """Return the listener on port ``number`` of ``bind`` with the policies of ``scope``; ``None`` where it would be empty."""
    port = merged_port(db, scope, bind, number)
    listener = _listener_on(db, scope, port) if port else None
    if listener is None:
        return None
    filters = gateway_filters(db, effective_policies(db, scope.namespace, scope.labels, TrafficSide.CLIENT))
    return checked_resource(
        LDS, listener.name, gateway_listener(listener, filters, gateway_connection_settings(db, scope.connections)), listener.missing
    )


@query
def connection_virtual_services(db: Database, server_ref: ServerRef, merged_server: MergedServer, namespace: str) -> tuple[Key, ...]:
    """Return the VirtualServices, oldest first, that route whole connections to ``merged_server``.

    ``server_ref`` says where that server is written; the proxies are of ``namespace``.
    """
    heads = bound_virtual_services(db, server_ref.gateway, namespace)
    return tuple(head.key for head in heads if shared_hosts(head, server_ref, merged_server.server))


def _listener_on(db: Database, scope: GatewayScope, port: MergedPort) -> GatewayListener | None:
    """Return the listener on ``port``; ``None`` where it would have no filter chain."""
    chains: list[GatewayChain] = []
    for merged_server in port.servers:
        route = table_name(port, merged_server) if serves_http(merged_server.server) else ""
        terminated = _termination(db, merged_server) if port.kind is PortKind.TLS else None
        if terminated and not scope.identified and merged_server.server.tls and needs_identity(merged_server.server.tls):
            continue  # a proxy without an identity gets no secrets
        if route:
            named = ChainMatch(server_names=merged_server.names)
            stat_prefix = merged_server.server.name if terminated else ""  # servers of plaintext share their chain
            chains.append(GatewayChain(match=named, termination=terminated, handling=HttpRouting(route), stat_prefix=stat_prefix))
        elif passes_to_clusters(merged_server.server):
            chains.extend(passing_chains(db, scope, merged_server))
        else:
            chains.extend(_connection_chains(db, merged_server, terminated, gateway_route_client(db, scope)))
    if port.kind is PortKind.HTTP:
        chains = chains[:1]
    distinct = tuple(_distinct(chains))
    return GatewayListener(bind=port.bind, port=port.number, chains=distinct, topology=scope.topology) if distinct else None


def _termination(db: Database, merged_server: MergedServer) -> Termination | None:
    settings = merged_server.server.tls
    if settings is None or settings.mode in OPAQUE:
        return None
    return termination(settings, any_peer(db))


def _connection_chains(
    db: Database, merged_server: MergedServer, terminated: Termination | None, client: GatewayRouteClient
) -> Iterator[GatewayChain]:
    server_ref = merged_server.server_ref
    context = RouteContext(merged_server.server.port.number, client.namespace, client.labels, (namespaced_name(server_ref.gateway),))
    opaque = bool(merged_server.names) and terminated is None
    for key in connection_virtual_services(db, server_ref, merged_server, client.namespace):
        for match, forwarding in connection_rules(db, key, context, tls=opaque):
            names = _server_names(match, merged_server, key.namespace) if opaque else merged_server.names
            if names or not merged_server.names:
                yield GatewayChain(match=replace(match, server_names=names), termination=terminated, handling=forwarding)


def _server_names(match: ChainMatch, merged_server: MergedServer, namespace: str) -> tuple[str, ...]:
    """Return the server names of ``match``, in an object of ``namespace``, that ``merged_server`` has."""
    offered = hosts_for_namespace(server_hosts(merged_server.server, merged_server.server_ref.gateway.namespace), namespace)
    return common_hosts(common_hosts(match.server_names, offered), merged_server.names)


def _distinct(chains: Iterable[GatewayChain]) -> Iterator[GatewayChain]:
    """Yield ``chains`` without what an earlier one of them is for."""
    claimed: set[tuple[str, str]] = set()
    for chain in chains:
        yield from (replace(chain, match=match) for match in unclaimed(chain.match, claimed))
