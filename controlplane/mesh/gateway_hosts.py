"""The RouteConfigurations of gateways and their virtual hosts, in both encodings: inline for SotW, one resource a host for Delta."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import RDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.fragments import Body, alone, bare, together
from controlplane.mesh.gateways import Host, Table, Viewer, hosts, server
from controlplane.mesh.nodes import Leaf, Members, Wire
from controlplane.mesh.resources import checked
from controlplane.mesh.routing import Asker, rules_of
from controlplane.translate import routes
from controlplane.translate.routes import merged_host, route_configuration
from controlplane.xds.resource import Resource


@query
def table_of(db: Database, table: Table, viewer: Viewer, wire: Wire) -> Members:
    """Return the RouteConfiguration of ``table`` and, on Delta streams, its virtual hosts as resources of their own."""
    if wire is Wire.SOTW:
        return frozenset({Leaf(inline, (table, viewer))})
    found = hosts(db, table, viewer.namespace)
    return frozenset({Leaf(shell, (table, bool(found))), *(Leaf(virtual_host, (table.name, each, viewer)) for each in found)})


@query
def virtual_host(db: Database, table: str, value: Host, viewer: Viewer) -> Resource | None:
    """Return the virtual host ``value`` of the RouteConfiguration ``table`` as a resource of its own."""
    return alone(table, _name(value), (value.host,), body(db, value, viewer))


@query
def shell(db: Database, table: Table, vhds: bool) -> Resource | None:  # noqa: FBT001 - a part of the key
    """Return the RouteConfiguration of ``table``, whose virtual hosts, where there are any (``vhds``), come as resources of their own."""
    message = route_configuration(table.name, catch_all=None, vhds=vhds)
    if not vhds:
        message.virtual_hosts.append(_black_hole(db, table))
    return checked(RDS, table.name, message)


@query
def inline(db: Database, table: Table, viewer: Viewer) -> Resource | None:
    """Return the RouteConfiguration of ``table`` with all its virtual hosts in it."""
    found = [(_name(each), (each.host,), body(db, each, viewer)) for each in hosts(db, table, viewer.namespace)]
    message = route_configuration(table.name, catch_all=None, vhds=False)
    if not found:
        message.virtual_hosts.append(_black_hole(db, table))
    return together(message, found)


@query
def body(db: Database, value: Host, viewer: Viewer) -> Body:
    """Return what requests to the host of ``value`` go through: the rules of all its parts."""
    parts = [
        routes.Host(
            port=value.port,
            host=value.host,
            rules=rules_of(db, part.key, Asker(value.port, viewer.namespace, viewer.labels, part.gateways)),
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


def _black_hole(db: Database, table: Table) -> VirtualHost:
    """Return the virtual host of a table without any: Envoy answers 404 where no route matches."""
    value = server(db, table.places[0])
    return VirtualHost(name=f"blackhole:{value.port.number if value else 0}", domains=["*"])
