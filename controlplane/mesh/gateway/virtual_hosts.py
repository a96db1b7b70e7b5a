"""The RouteConfigurations of gateways and their virtual hosts, in both encodings: inline, and one resource a host."""

from __future__ import annotations

from itertools import chain

from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import RDS
from controlplane.incremental.database import Database, query
from controlplane.ir.backends import LocalBackend
from controlplane.ir.rules import RequestPort, in_order
from controlplane.mesh.gateway.gateways import GatewayRouteClient, GatewayScope, gateway_route_client, server_at
from controlplane.mesh.gateway.route_tables import GatewayHost, gateway_hosts, servers_of_table
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart, Stopgap
from controlplane.mesh.publish.virtual_host_bytes import (
    EncodedVirtualHost,
    as_own_resource,
    encoded_routes,
    encoded_virtual_host,
    unless_failed,
    with_virtual_hosts,
)
from controlplane.mesh.routing.istio_routes import default_rule
from controlplane.mesh.routing.virtual_services import RouteContext, routes_of_virtual_service
from controlplane.translate.routes.virtual_hosts import route_configuration
from controlplane.xds.resource import Resource
from controlplane.xds.stream import VirtualHostsBy


@query
def gateway_table_parts(db: Database, scope: GatewayScope, table: str, hosts_by: VirtualHostsBy) -> Members:
    """Return the RouteConfiguration ``table`` of ``scope`` and, where they come so, its virtual hosts as resources of their own."""
    if hosts_by is VirtualHostsBy.RDS:
        return frozenset({ResourcePart(gateway_inline_route_configuration, (scope, table))})
    hosts, client = gateway_hosts(db, scope, table), gateway_route_client(db, scope)
    port = None if hosts else _table_port(db, scope, table)
    return frozenset(
        {
            ResourcePart(gateway_vhds_route_configuration, (table, port)),
            *(ResourcePart(gateway_virtual_host, (table, host, client)) for host in hosts),
        }
    )


@query
def gateway_virtual_host(db: Database, table: str, host: GatewayHost, client: GatewayRouteClient) -> Resource | Stopgap:
    """Return the virtual host ``host`` of the RouteConfiguration ``table`` as a resource of its own."""
    return as_own_resource(table, _virtual_host_name(host), (host.host,), db.attempt(gateway_virtual_host_body, host, client))


@query
def gateway_vhds_route_configuration(db: Database, table: str, port: int | None) -> Resource | None:
    """Return the RouteConfiguration ``table``, whose virtual hosts are resources of their own; with a ``port`` it has none."""
    del db
    message = route_configuration(table, catch_all=None, vhds=port is None)
    if port is not None:
        message.virtual_hosts.append(_black_hole(port))
    return checked_resource(RDS, table, message)


@query
def gateway_inline_route_configuration(db: Database, scope: GatewayScope, table: str) -> Resource | None:
    """Return the RouteConfiguration ``table`` of ``scope`` with all its virtual hosts in it."""
    client = gateway_route_client(db, scope)
    hosts = [
        (_virtual_host_name(host), (host.host,), unless_failed(db.attempt(gateway_virtual_host_body, host, client)))
        for host in gateway_hosts(db, scope, table)
    ]
    message = route_configuration(table, catch_all=None, vhds=False)
    if not hosts:
        message.virtual_hosts.append(_black_hole(_table_port(db, scope, table)))
    return with_virtual_hosts(message, hosts)


@query
def gateway_virtual_host_body(db: Database, host: GatewayHost, client: GatewayRouteClient) -> EncodedVirtualHost:
    """Return the virtual host of ``host`` without name and domains: the rules of all its VirtualServices."""
    arrived_at = RequestPort(host.port, host.tls)
    of_objects = (
        routes_of_virtual_service(db, bound.key, RouteContext(host.port, client.namespace, client.labels, bound.gateways), arrived_at) or ()
        for bound in host.virtual_services
    )
    routes = in_order(chain.from_iterable(of_objects))
    if host.endpoint and not host.virtual_services:
        routes = encoded_routes((default_rule(LocalBackend(host.endpoint)),), arrived_at)
    return encoded_virtual_host(host.host, host.port, routes, redirects=host.redirects)


def _virtual_host_name(host: GatewayHost) -> str:
    return f"{host.host}:{host.port}"


def _table_port(db: Database, scope: GatewayScope, table: str) -> int:
    server_refs = servers_of_table(db, scope, table)
    server = server_at(db, server_refs[0]) if server_refs else None
    return server.port.number if server else 0


def _black_hole(port: int) -> VirtualHost:
    """Return the virtual host of a table without any: Envoy answers 404 where no route matches."""
    return VirtualHost(name=f"blackhole:{port}", domains=["*"])
