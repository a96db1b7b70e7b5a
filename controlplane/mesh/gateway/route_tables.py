"""Route tables of gateways: which virtual hosts stand in which, and who says what becomes of their requests.

A VirtualService takes part where it is bound to a Gateway of the proxy, is exported to the proxy's namespace, and shares a host with a
server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_servers, namespaced_name, server_at
from controlplane.mesh.gateway.server_merge import MergedPort, MergedServer, PortKind, ServerRef, server_hosts, serves_http
from controlplane.mesh.inputs import bound_to, index, objects
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
    """One virtual host of a table: its parts, sorted, whether it sends plaintext to HTTPS, and where requests go without a part."""

    host: str
    port: int
    parts: tuple[BoundVirtualService, ...]
    redirects: bool
    endpoint: str


@query
def gateway_route_tables(db: Database, scope: GatewayScope) -> Mapping[str, tuple[ServerRef, ...]]:
    """Return the servers of each route table of ``scope``, by its name: one a plaintext port, one a server that terminates TLS."""
    tables: dict[str, tuple[ServerRef, ...]] = {}
    for port in gateway_servers(db, scope).ports:
        by_name: dict[str, list[ServerRef]] = {}
        for served in port.servers:
            if serves_http(served.server):
                by_name.setdefault(table_name(port, served), []).append(served.place)
        for name, places in by_name.items():
            tables[name] = (*tables.get(name, ()), *places)
    return tables


@query
def servers_of_table(db: Database, scope: GatewayScope, table: str) -> tuple[ServerRef, ...]:
    """Return the servers of the route table ``table`` of ``scope``."""
    return gateway_route_tables(db, scope).get(table, ())


def table_name(port: MergedPort, served: MergedServer) -> str:
    """Return the name of the RouteConfiguration for ``served`` on ``port``."""
    if port.kind is PortKind.HTTP:
        return f"http.{port.number}{'.' if port.bind else ''}{port.bind}"
    server_port, key = served.server.port, served.place.gateway
    return f"https.{server_port.number}.{server_port.name}.{key.name}.{key.namespace}"


@query
def bound_virtual_services(db: Database, gateway_key: Key, namespace: str) -> tuple[VirtualServiceHead, ...]:
    """Return the VirtualServices that are bound to a Gateway and exported to ``namespace``, oldest first."""
    heads = (virtual_service_head(db, key) for key in index(db, bound_to(namespaced_name(gateway_key))))
    exported = [head for head in heads if head and is_exported(head.export_to, namespace)]
    return tuple(sorted(exported, key=lambda head: (head.created, head.key)))


def shared_hosts(head: VirtualServiceHead, place: ServerRef, server: GatewayServer) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``head`` and the server ``server`` at ``place`` have in common."""
    offered = hosts_for_namespace(server_hosts(server, place.gateway.namespace), head.key.namespace)
    return common_hosts((host.lower() for host in head.hosts), offered)


@query
def gateway_hosts(db: Database, scope: GatewayScope, table: str) -> tuple[GatewayHost, ...]:
    """Return the virtual hosts of the route table ``table`` of ``scope``, sorted."""
    by_name: dict[str, GatewayHost] = {}
    for place in servers_of_table(db, scope, table):
        server = server_at(db, place)
        if server is None:
            continue
        routed: list[str] = []
        for head in bound_virtual_services(db, place.gateway, scope.namespace):
            for name in shared_hosts(head, place, server) if routes_http(db, head.key) else ():
                routed.append(name)
                gateway_host = by_name.get(name) or GatewayHost(name, server.port.number, (), redirects=False, endpoint="")
                by_name[name] = gateway_host._replace(parts=_with_gateway(gateway_host.parts, head.key, namespaced_name(place.gateway)))
        if (server.tls and server.tls.https_redirect) or server.default_endpoint:
            _put_server_settings(by_name, server, place, routed)
    return tuple(by_name[name]._replace(parts=tuple(sorted(by_name[name].parts))) for name in sorted(by_name))


@query
def routes_http(db: Database, key: Key) -> bool:
    """Return whether the VirtualService ``key`` says anything of requests."""
    obj = objects(db, key)
    return isinstance(obj, VirtualService) and bool(obj.spec.http)


def _with_gateway(parts: tuple[BoundVirtualService, ...], key: Key, gateway: str) -> tuple[BoundVirtualService, ...]:
    bound = next((part for part in parts if part.key == key), None)
    if bound is None:
        return (*parts, BoundVirtualService(key, (gateway,)))
    return tuple(BoundVirtualService(key, (*dict.fromkeys((*part.gateways, gateway)),)) if part is bound else part for part in parts)


def _put_server_settings(by_name: dict[str, GatewayHost], server: GatewayServer, place: ServerRef, routed: Sequence[str]) -> None:
    """Put what ``server`` itself says of its hosts, and of those that it has ``routed``.

    That is that they are to be asked by HTTPS, or an endpoint beside the proxy. What another server has routed is not for it to redirect.
    """
    redirects = bool(server.tls and server.tls.https_redirect)
    endpoint = default_endpoint_name(place, server) if server.default_endpoint else ""
    offered = [host.rpartition("/")[2] for host in server_hosts(server, place.gateway.namespace)]
    for name in dict.fromkeys((*offered, *routed)):
        gateway_host = by_name.get(name) or GatewayHost(name, server.port.number, (), redirects=False, endpoint="")
        by_name[name] = gateway_host._replace(redirects=gateway_host.redirects or redirects, endpoint=gateway_host.endpoint or endpoint)


def default_endpoint_name(place: ServerRef, server: GatewayServer) -> str:
    """Return the name of the cluster for the default endpoint of ``server``."""
    return f"inbound|{server.port.number}|{server.port.name}|{place.gateway.name}.{place.gateway.namespace}"
