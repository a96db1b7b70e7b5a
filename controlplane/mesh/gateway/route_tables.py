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
    found: dict[str, tuple[ServerRef, ...]] = {}
    for port in gateway_servers(db, scope).ports:
        by_name: dict[str, list[ServerRef]] = {}
        for each in port.servers:
            if serves_http(each.server):
                by_name.setdefault(table_name(port, each), []).append(each.place)
        for name, places in by_name.items():
            found[name] = (*found.get(name, ()), *places)
    return found


@query
def servers_of_table(db: Database, scope: GatewayScope, table: str) -> tuple[ServerRef, ...]:
    """Return the servers of the route table ``table`` of ``scope``."""
    return gateway_route_tables(db, scope).get(table, ())


def table_name(port: MergedPort, served: MergedServer) -> str:
    """Return the name of the RouteConfiguration for ``served`` on ``port``."""
    if port.kind is PortKind.HTTP:
        return f"http.{port.number}{'.' if port.bind else ''}{port.bind}"
    said, key = served.server.port, served.place.gateway
    return f"https.{said.number}.{said.name}.{key.name}.{key.namespace}"


@query
def bound_virtual_services(db: Database, gateway_key: Key, namespace: str) -> tuple[VirtualServiceHead, ...]:
    """Return the VirtualServices that are bound to a Gateway and exported to ``namespace``, oldest first."""
    heads = (virtual_service_head(db, key) for key in index(db, bound_to(namespaced_name(gateway_key))))
    found = [each for each in heads if each and is_exported(each.export_to, namespace)]
    return tuple(sorted(found, key=lambda each: (each.created, each.key)))


def shared_hosts(each: VirtualServiceHead, place: ServerRef, value: GatewayServer) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``each`` and the server ``value`` at ``place`` have in common."""
    offered = hosts_for_namespace(server_hosts(value, place.gateway.namespace), each.key.namespace)
    return common_hosts((host.lower() for host in each.hosts), offered)


@query
def gateway_hosts(db: Database, scope: GatewayScope, table: str) -> tuple[GatewayHost, ...]:
    """Return the virtual hosts of the route table ``table`` of ``scope``, sorted."""
    found: dict[str, GatewayHost] = {}
    for place in servers_of_table(db, scope, table):
        value = server_at(db, place)
        if value is None:
            continue
        routed: list[str] = []
        for each in bound_virtual_services(db, place.gateway, scope.namespace):
            for name in shared_hosts(each, place, value) if routes_http(db, each.key) else ():
                routed.append(name)
                known = found.get(name) or GatewayHost(name, value.port.number, (), redirects=False, endpoint="")
                found[name] = known._replace(parts=_with(known.parts, each.key, namespaced_name(place.gateway)))
        if (value.tls and value.tls.https_redirect) or value.default_endpoint:
            _of_server(found, value, place, routed)
    return tuple(found[name]._replace(parts=tuple(sorted(found[name].parts))) for name in sorted(found))


@query
def routes_http(db: Database, key: Key) -> bool:
    """Return whether the VirtualService ``key`` says anything of requests."""
    value = objects(db, key)
    return isinstance(value, VirtualService) and bool(value.spec.http)


def _with(parts: tuple[BoundVirtualService, ...], key: Key, own: str) -> tuple[BoundVirtualService, ...]:
    known = next((part for part in parts if part.key == key), None)
    if known is None:
        return (*parts, BoundVirtualService(key, (own,)))
    return tuple(BoundVirtualService(key, (*dict.fromkeys((*part.gateways, own)),)) if part is known else part for part in parts)


def _of_server(found: dict[str, GatewayHost], value: GatewayServer, place: ServerRef, routed: Sequence[str]) -> None:
    """Put what ``value`` itself says of its hosts, and of those that it has ``routed``.

    That is that they are to be asked by HTTPS, or an endpoint beside the proxy. What another server has routed is not for it to redirect.
    """
    redirects = bool(value.tls and value.tls.https_redirect)
    endpoint = default_endpoint_name(place, value) if value.default_endpoint else ""
    offered = [each.rpartition("/")[2] for each in server_hosts(value, place.gateway.namespace)]
    for name in dict.fromkeys((*offered, *routed)):
        known = found.get(name) or GatewayHost(name, value.port.number, (), redirects=False, endpoint="")
        found[name] = known._replace(redirects=known.redirects or redirects, endpoint=known.endpoint or endpoint)


def default_endpoint_name(place: ServerRef, value: GatewayServer) -> str:
    """Return the name of the cluster for the default endpoint of ``value``."""
    return f"inbound|{value.port.number}|{value.port.name}|{place.gateway.name}.{place.gateway.namespace}"
