"""The RouteConfigurations of gateways and their virtual hosts, in both encodings: inline for SotW, one resource a host for Delta."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import RDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.gateways import Edge, Viewer, server, viewer
from controlplane.mesh.gateway.route_tables import Host, hosts, places_of
from controlplane.mesh.publish.encode import checked
from controlplane.mesh.publish.parts import Leaf, Members, Wire
from controlplane.mesh.publish.virtual_host_bytes import Body, alone, bare, together
from controlplane.mesh.routing.virtual_services import Asker, rules_of
from controlplane.translate import routes
from controlplane.translate.routes import merged_host, route_configuration
from controlplane.xds.resource import Resource


@query
def table_of(db: Database, edge: Edge, table: str, wire: Wire) -> Members:
    """Return the RouteConfiguration ``table`` of ``edge`` and, on Delta streams, its virtual hosts as resources of their own."""
    if wire is Wire.SOTW:
        return frozenset({Leaf(inline, (edge, table))})
    found, seer = hosts(db, edge, table), viewer(db, edge)
    port = None if found else _port(db, edge, table)
    return frozenset({Leaf(shell, (table, port)), *(Leaf(virtual_host, (table, each, seer)) for each in found)})


@query
def virtual_host(db: Database, table: str, value: Host, seer: Viewer) -> Resource | None:
    """Return the virtual host ``value`` of the RouteConfiguration ``table`` as a resource of its own."""
    return alone(table, _name(value), (value.host,), body(db, value, seer))


@query
def shell(db: Database, table: str, port: int | None) -> Resource | None:
    """Return the RouteConfiguration ``table``, whose virtual hosts come as resources of their own; with a ``port`` there is none."""
    del db
    message = route_configuration(table, catch_all=None, vhds=port is None)
    if port is not None:
        message.virtual_hosts.append(_black_hole(port))
    return checked(RDS, table, message)


@query
def inline(db: Database, edge: Edge, table: str) -> Resource | None:
    """Return the RouteConfiguration ``table`` of ``edge`` with all its virtual hosts in it."""
    seer = viewer(db, edge)
    found = [(_name(each), (each.host,), body(db, each, seer)) for each in hosts(db, edge, table)]
    message = route_configuration(table, catch_all=None, vhds=False)
    if not found:
        message.virtual_hosts.append(_black_hole(_port(db, edge, table)))
    return together(message, found)


@query
def body(db: Database, value: Host, seer: Viewer) -> Body:
    """Return what requests to the host of ``value`` go through: the rules of all its parts."""
    parts = [
        routes.Host(
            port=value.port,
            host=value.host,
            rules=rules_of(db, part.key, Asker(value.port, seer.namespace, seer.labels, part.gateways)),
            cluster="",
            hash_policy=None,
        )
        for part in value.parts
    ]
    if value.endpoint and not parts:
        parts.append(routes.Host(port=value.port, host=value.host, rules=(), cluster=value.endpoint, hash_policy=None))
    return bare(value.host, merged_host(parts, redirects=value.redirects))


def _name(value: Host) -> str:
    return f"{value.host}:{value.port}"


def _port(db: Database, edge: Edge, table: str) -> int:
    places = places_of(db, edge, table)
    value = server(db, places[0]) if places else None
    return value.port.number if value else 0


def _black_hole(port: int) -> VirtualHost:
    """Return the virtual host of a table without any: Envoy answers 404 where no route matches."""
    return VirtualHost(name=f"blackhole:{port}", domains=["*"])
