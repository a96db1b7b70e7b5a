"""Route tables of gateways: which virtual hosts are in which, and which VirtualServices route their requests.

A VirtualService applies where it is bound to a Gateway of the proxy, is exported to the proxy's namespace, and shares
a host with a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import bound_to
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_servers, namespaced_name, server_at
from controlplane.mesh.gateway.server_merge import (
    MergedPort,
    MergedServer,
    PortKind,
    ServerRef,
    passes_to_clusters,
    server_hosts,
    serves_http,
)
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.services import is_exported
from controlplane.mesh.routing.virtual_services import VirtualServiceHead, virtual_service_head
from controlplane.model.hosts import common_hosts, hosts_for_namespace
from controlplane.model.keys import Key
from controlplane.objects.networking.gateway import GatewayServer
from controlplane.objects.networking.virtual_service import VirtualService


class BoundVirtualService(NamedTuple):
    """A VirtualService that routes requests to a host, and through which Gateways it does."""

    key: Key
    gateways: tuple[str, ...]


class GatewayHost(NamedTuple):
    """One virtual host of a table: the VirtualServices that route it, sorted, and what its server itself sets.

    ``tls``: the server ends TLS. ``redirects``: plaintext requests are redirected to HTTPS.
    ``endpoint``: the cluster of requests that no VirtualService routes.
    """

    host: str
    port: int
    tls: bool
    virtual_services: tuple[BoundVirtualService, ...]
    redirects: bool
    endpoint: str


@query
def gateway_route_tables(db: Database, scope: GatewayScope) -> Mapping[str, tuple[ServerRef, ...]]:
    """Return the servers of each route table of ``scope``, by its name: one a plaintext port, one a server that terminates TLS."""
    tables: dict[str, tuple[ServerRef, ...]] = {}
    for port in gateway_servers(db, scope).ports:
        by_name: dict[str, list[ServerRef]] = {}
        for merged_server in port.servers:
            if serves_http(merged_server.server):
                by_name.setdefault(table_name(port, merged_server), []).append(merged_server.server_ref)
        for name, server_refs in by_name.items():
            tables[name] = (*tables.get(name, ()), *server_refs)
    return tables


@query
def servers_of_table(db: Database, scope: GatewayScope, table: str) -> tuple[ServerRef, ...]:
    """Return the servers of the route table ``table`` of ``scope``."""
    return gateway_route_tables(db, scope).get(table, ())


def table_name(port: MergedPort, merged_server: MergedServer) -> str:
    """Return the name of the RouteConfiguration for ``merged_server`` on ``port``."""
    if port.kind is PortKind.HTTP:
        return f"http.{port.number}{'.' if port.bind else ''}{port.bind}"
    server_port, key = merged_server.server.port, merged_server.server_ref.gateway
    return f"https.{server_port.number}.{server_port.name}.{key.name}.{key.namespace}"


@query
def bound_virtual_services(db: Database, gateway_key: Key, namespace: str) -> tuple[VirtualServiceHead, ...]:
    """Return the VirtualServices that are bound to a Gateway and exported to ``namespace``, oldest first."""
    heads = (virtual_service_head(db, key) for key in index(db, bound_to(namespaced_name(gateway_key))))
    exported = [head for head in heads if head and is_exported(head.export_to, namespace)]
    return tuple(sorted(exported, key=lambda head: (head.created, head.key)))


def shared_hosts(head: VirtualServiceHead, server_ref: ServerRef, server: GatewayServer) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``head`` and the ``server`` that ``server_ref`` names both have.

    None where no route counts, as server names say the clusters.
    """
    if passes_to_clusters(server):
        return ()
    offered = hosts_for_namespace(server_hosts(server, server_ref.gateway.namespace), head.key.namespace)
    return common_hosts(head.hosts, offered)


@query
def gateway_hosts(db: Database, scope: GatewayScope, table: str) -> tuple[GatewayHost, ...]:
    """Return the virtual hosts of the route table ``table`` of ``scope``, sorted."""
    by_name: dict[str, GatewayHost] = {}
    for server_ref in servers_of_table(db, scope, table):
        server = server_at(db, server_ref)
        if server is None:
            continue
        routed: list[str] = []
        for head in bound_virtual_services(db, server_ref.gateway, scope.namespace):
            for name in shared_hosts(head, server_ref, server) if routes_http(db, head.key) else ():
                routed.append(name)
                gateway_host = by_name.get(name) or _gateway_host(name, server)
                by_name[name] = gateway_host._replace(
                    virtual_services=_with_gateway(gateway_host.virtual_services, head.key, namespaced_name(server_ref.gateway))
                )
        if (server.tls and server.tls.https_redirect) or server.default_endpoint:
            _put_server_settings(by_name, server, server_ref, routed)
    return tuple(by_name[name]._replace(virtual_services=tuple(sorted(by_name[name].virtual_services))) for name in sorted(by_name))


@eager_query
def routes_http(db: Database, key: Key) -> bool:
    """Return whether the VirtualService ``key`` has HTTP routes."""
    obj = objects(db, key)
    return isinstance(obj, VirtualService) and bool(obj.spec.http)


def _gateway_host(name: str, server: GatewayServer) -> GatewayHost:
    """Return the virtual host ``name`` of ``server`` without any routes."""
    return GatewayHost(name, server.port.number, tls=server.tls is not None, virtual_services=(), redirects=False, endpoint="")


def _with_gateway(routing: tuple[BoundVirtualService, ...], key: Key, gateway: str) -> tuple[BoundVirtualService, ...]:
    bound = next((other for other in routing if other.key == key), None)
    if bound is None:
        return (*routing, BoundVirtualService(key, (gateway,)))
    widened = BoundVirtualService(key, (*dict.fromkeys((*bound.gateways, gateway)),))
    return tuple(widened if other is bound else other for other in routing)


def _put_server_settings(by_name: dict[str, GatewayHost], server: GatewayServer, server_ref: ServerRef, routed: Sequence[str]) -> None:
    """Put into ``by_name`` what ``server`` itself sets for its hosts, and for those that it has ``routed``.

    It sets a redirect to HTTPS, or an endpoint beside the proxy; not for hosts that only another server has routed.
    """
    redirects = bool(server.tls and server.tls.https_redirect)
    endpoint = default_endpoint_name(server_ref, server) if server.default_endpoint else ""
    offered = [host.rpartition("/")[2] for host in server_hosts(server, server_ref.gateway.namespace)]
    for name in dict.fromkeys((*offered, *routed)):
        gateway_host = by_name.get(name) or _gateway_host(name, server)
        by_name[name] = gateway_host._replace(redirects=gateway_host.redirects or redirects, endpoint=gateway_host.endpoint or endpoint)


def default_endpoint_name(server_ref: ServerRef, server: GatewayServer) -> str:
    """Return the name of the cluster for the default endpoint of ``server``."""
    return f"inbound|{server.port.number}|{server.port.name}|{server_ref.gateway.name}.{server_ref.gateway.namespace}"
