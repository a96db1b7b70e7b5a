"""Virtual hosts and the RouteConfigurations around them, in both encodings: inline for SotW, one resource a host for Delta."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy.type_urls import RDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import seer_of_rules
from controlplane.mesh.publish.encode import checked
from controlplane.mesh.publish.parts import Group, Leaf, Members, Wire
from controlplane.mesh.publish.virtual_host_bytes import Body, alone, bare, together
from controlplane.mesh.registry.services import Ref
from controlplane.mesh.routing.route_tables import Asking, Entry, Hosts, RouteTable, Viewer, claims, domains, entries, owners, viewer_of
from controlplane.mesh.routing.scopes import Scope, outbound_policy
from controlplane.mesh.routing.virtual_services import hash_policy, rules
from controlplane.model.cluster_names import cluster_name
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.services import Labels
from controlplane.translate.routes import Host, route_configuration, virtual_host
from controlplane.xds.resource import Resource

ANY_DOMAIN = "*"


class Shell(NamedTuple):
    """A RouteConfiguration without its virtual hosts."""

    name: str
    catch_all: OutboundPolicy | None  # None: a host of the table matches everything
    ports_in_domains: bool
    vhds: bool  # Envoy waits 15 s for virtual hosts: only where there is at least one


@query
def body(db: Database, host: str, port: int, ref: Ref | None, seer: str, labels: Labels) -> Body | None:
    """Return what requests to ``port`` of ``host`` from proxies of ``seer`` with ``labels`` go through; ``None``: nowhere."""
    applying = rules(db, host, port, seer, labels)
    if ref is None and not applying:
        return None
    rule_seer = seer_of_rules(db, ref, seer) if ref else ""
    value = Host(
        port=port,
        host=host,
        rules=applying,
        cluster=cluster_name("outbound", port, "", host) if ref else "",
        hash_policy=hash_policy(db, ref, rule_seer, port, "") if ref else None,
    )
    return bare(host, virtual_host(value))


@query
def hosts_of(db: Database, scope: Scope, table: RouteTable, wire: Wire) -> Members:
    """Return the RouteConfiguration of ``table`` and, on Delta streams, its virtual hosts as resources of their own."""
    if wire is Wire.SOTW:
        return frozenset({Leaf(inline, (scope, table))})
    asked = table.asked
    shell = Shell(table.name, _catch_all(db, scope, asked), asked.port is None, vhds=bool(claims(db, asked)))
    groups = {Group(hosts_from, (table, owner, viewer_of(db, scope, asked, owner))) for owner in owners(db, asked)}
    return frozenset({Leaf(on_demand, (shell,)), *groups})


@query
def hosts_from(db: Database, table: RouteTable, owner: str, viewer: Viewer) -> Members:
    """Return the virtual hosts of ``table`` that are of objects of the namespace ``owner``, as ``viewer`` sees them."""
    return frozenset(Leaf(virtual_host_resource, (table.name, entry)) for entry in entries(db, table.asked, owner, viewer))


@query
def virtual_host_resource(db: Database, table: str, entry: Entry) -> Resource | None:
    """Return the virtual host ``entry`` of the RouteConfiguration ``table`` as a resource of its own."""
    made = _body(db, entry)
    return alone(table, f"{entry.host}:{entry.port}", _domains(db, entry), made) if made else None


@query
def on_demand(db: Database, shell: Shell) -> Resource | None:
    """Return the RouteConfiguration whose virtual hosts come as resources of their own."""
    del db
    return checked(
        RDS,
        shell.name,
        route_configuration(shell.name, catch_all=shell.catch_all, vhds=shell.vhds, ports_in_domains=shell.ports_in_domains),
    )


@query
def inline(db: Database, scope: Scope, table: RouteTable) -> Resource | None:
    """Return the RouteConfiguration of ``table`` with all its virtual hosts in it."""
    asked = table.asked
    found = [entry for owner in owners(db, asked) for entry in entries(db, asked, owner, viewer_of(db, scope, asked, owner))]
    found.sort(key=lambda entry: (entry.host, entry.port))
    hosts = [(f"{entry.host}:{entry.port}", _domains(db, entry), made) for entry in found if (made := _body(db, entry))]
    message = route_configuration(table.name, catch_all=_catch_all(db, scope, asked), vhds=False, ports_in_domains=asked.port is None)
    return together(message, hosts)


def _body(db: Database, entry: Entry) -> Body | None:
    return body(db, entry.host, entry.port, entry.ref, entry.seer, entry.labels)


def _domains(db: Database, entry: Entry) -> tuple[str, ...]:
    asked = domains(db, Asking(entry.host, entry.port, entry.ref, entry.local, entry.with_port))
    return tuple(domain for domain in asked if domain not in entry.denied) if entry.denied else asked


def _catch_all(db: Database, scope: Scope, asked: Hosts) -> OutboundPolicy | None:
    """Return what becomes of requests that no host takes; ``None`` where a host takes every request."""
    if any(claim.host == ANY_DOMAIN for claim in claims(db, asked)):
        return None
    return outbound_policy(db, scope.sidecar)
