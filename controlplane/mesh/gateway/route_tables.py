"""Route tables of gateways: which virtual hosts stand in which, and who says what becomes of their requests.

A VirtualService takes part where it is bound to a Gateway of the proxy, is exported to the proxy's namespace, and shares a host with a
server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.gateways import Edge, served, server, written
from controlplane.mesh.gateway.server_merge import Kind, Place, Port, Served, hosts_of, serves_http
from controlplane.mesh.inputs import bound_to, index, objects
from controlplane.mesh.registry.services import exported
from controlplane.mesh.routing.virtual_services import Head, head
from controlplane.model.hosts import for_namespace, intersection
from controlplane.model.keys import Key
from controlplane.objects.networking.gateway import Server
from controlplane.objects.networking.virtual_service import VirtualService


class Part(NamedTuple):
    """A VirtualService that routes requests to a host, and through which Gateways it does."""

    key: Key
    gateways: tuple[str, ...]


class Host(NamedTuple):
    """One virtual host of a table: its parts, oldest first, whether it sends plaintext to HTTPS, and where requests go without a part."""

    host: str
    port: int
    parts: tuple[Part, ...]
    redirects: bool
    endpoint: str


@query
def tables(db: Database, edge: Edge) -> Mapping[str, tuple[Place, ...]]:
    """Return the servers of each route table of ``edge``, by its name: one a plaintext port, one a server that terminates TLS."""
    found: dict[str, tuple[Place, ...]] = {}
    for port in served(db, edge).ports:
        by_name: dict[str, list[Place]] = {}
        for each in port.servers:
            if serves_http(each.server):
                by_name.setdefault(table_name(port, each), []).append(each.place)
        for name, places in by_name.items():
            found[name] = (*found.get(name, ()), *places)
    return found


@query
def places_of(db: Database, edge: Edge, table: str) -> tuple[Place, ...]:
    """Return the servers of the route table ``table`` of ``edge``."""
    return tables(db, edge).get(table, ())


def table_name(port: Port, served: Served) -> str:
    """Return the name of the RouteConfiguration for ``served`` on ``port``."""
    if port.kind is Kind.HTTP:
        return f"http.{port.number}{'.' if port.bind else ''}{port.bind}"
    said, key = served.server.port, served.place.gateway
    return f"https.{said.number}.{said.name}.{key.name}.{key.namespace}"


@query
def bound(db: Database, gateway_key: Key, namespace: str) -> tuple[Head, ...]:
    """Return the VirtualServices that are bound to a Gateway and exported to ``namespace``, oldest first."""
    heads = (head(db, key) for key in index(db, bound_to(written(gateway_key))))
    found = [each for each in heads if each and exported(each.export_to, namespace)]
    return tuple(sorted(found, key=lambda each: (each.created, each.key)))


def shared_hosts(each: Head, place: Place, value: Server) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``each`` and the server ``value`` at ``place`` have in common."""
    offered = for_namespace(hosts_of(value, place.gateway.namespace), each.key.namespace)
    return intersection((host.lower() for host in each.hosts), offered)


@query
def hosts(db: Database, edge: Edge, table: str) -> tuple[Host, ...]:
    """Return the virtual hosts of the route table ``table`` of ``edge``, sorted."""
    found: dict[str, Host] = {}
    for place in places_of(db, edge, table):
        value = server(db, place)
        if value is None:
            continue
        routed: list[str] = []
        for each in bound(db, place.gateway, edge.namespace):
            for name in shared_hosts(each, place, value) if routes_http(db, each.key) else ():
                routed.append(name)
                known = found.get(name) or Host(name, value.port.number, (), redirects=False, endpoint="")
                found[name] = known._replace(parts=_with(known.parts, each.key, written(place.gateway)))
        if (value.tls and value.tls.https_redirect) or value.default_endpoint:
            _of_server(found, value, place, routed)
    return tuple(_in_order(db, found[name]) for name in sorted(found))


@query
def routes_http(db: Database, key: Key) -> bool:
    """Return whether the VirtualService ``key`` says anything of requests."""
    value = objects(db, key)
    return isinstance(value, VirtualService) and bool(value.spec.http)


def _with(parts: tuple[Part, ...], key: Key, own: str) -> tuple[Part, ...]:
    known = next((part for part in parts if part.key == key), None)
    if known is None:
        return (*parts, Part(key, (own,)))
    return tuple(Part(key, (*dict.fromkeys((*part.gateways, own)),)) if part is known else part for part in parts)


def _of_server(found: dict[str, Host], value: Server, place: Place, routed: Sequence[str]) -> None:
    """Put what ``value`` itself says of its hosts, and of those that it has ``routed``.

    That is that they are to be asked by HTTPS, or an endpoint beside the proxy. What another server has routed is not for it to redirect.
    """
    redirects = bool(value.tls and value.tls.https_redirect)
    endpoint = endpoint_cluster(place, value) if value.default_endpoint else ""
    offered = [each.rpartition("/")[2] for each in hosts_of(value, place.gateway.namespace)]
    for name in dict.fromkeys((*offered, *routed)):
        known = found.get(name) or Host(name, value.port.number, (), redirects=False, endpoint="")
        found[name] = known._replace(redirects=known.redirects or redirects, endpoint=known.endpoint or endpoint)


def endpoint_cluster(place: Place, value: Server) -> str:
    """Return the name of the cluster for the default endpoint of ``value``."""
    return f"inbound|{value.port.number}|{value.port.name}|{place.gateway.name}.{place.gateway.namespace}"


def _in_order(db: Database, value: Host) -> Host:
    """Return ``value`` with its parts oldest first, whichever server brought them."""
    if len(value.parts) < 2:
        return value

    def age(part: Part) -> tuple[str, Key]:
        known = head(db, part.key)
        return (known.created if known else "", part.key)

    return value._replace(parts=tuple(sorted(value.parts, key=age)))
