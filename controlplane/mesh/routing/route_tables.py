"""Route tables: which virtual hosts stand in which RouteConfiguration of a scope, and who owns a domain there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import rule_seers, seer_of_rules
from controlplane.mesh.inputs import CLUSTER_DOMAIN
from controlplane.mesh.registry.mesh_settings import settings
from controlplane.mesh.registry.services import PUBLIC, Ref, service
from controlplane.mesh.routing.scopes import EVERYTHING, Egress, Scope, egress, imported, imported_routes, seer_of
from controlplane.mesh.routing.virtual_services import Seers, route_seers
from controlplane.model.protocols import Protocol, named
from controlplane.model.services import Labels, Service, ServicePort
from controlplane.model.virtual_host_domains import virtual_host_domains

HTTP_PROXY = "http_proxy"
_HTTP_PORT = 80  # what a URL without a port means


class Hosts(NamedTuple):
    """What is seen through an egress listener on a port: the same for every scope that sees the same."""

    seer: str
    hosts: tuple[str, ...]
    port: int | None  # None: every port (a proxy that applications address explicitly)
    only: Ref | None = None  # a listener of this service alone


class RouteTable(NamedTuple):
    """One RouteConfiguration: its name, and the hosts in it."""

    name: str
    asked: Hosts


class Viewer(NamedTuple):
    """Who looks at virtual hosts: a namespace, or ``PUBLIC``, and those of its labels that some route looks at."""

    namespace: str
    labels: Labels


class Entry(NamedTuple):
    """One virtual host of a table, by what its routes and its domains depend on."""

    host: str
    port: int
    ref: Ref | None
    local: str  # the namespace where its short name means it, else empty
    seer: str
    labels: Labels
    denied: tuple[str, ...]  # domains that an older host of the table has
    with_port: bool  # the port stands in the domains


class Asking(NamedTuple):
    """A host whose domains are asked for. In a table for every port the port tells the hosts apart; port 80 may be left out."""

    host: str
    port: int
    ref: Ref | None
    local: str
    with_port: bool


class Claim(NamedTuple):
    """A virtual host that asks for domains in a table, oldest first."""

    created: str
    host: str
    port: int
    ref: Ref | None  # None: only a VirtualService knows the host
    owner: str  # the namespace of the object


@query
def tables(db: Database, scope: Scope) -> tuple[RouteTable, ...]:
    """Return the route tables of ``scope``, sorted by name."""
    seer = seer_of(db, scope.namespace)
    found: dict[str, RouteTable] = {}
    for each in egress(db, scope):
        for table in _tables_of(db, scope, seer, each):
            found.setdefault(table.name, table)
    return tuple(found[name] for name in sorted(found))


def _tables_of(db: Database, scope: Scope, seer: str, each: Egress) -> list[RouteTable]:
    if not scope.captured and not each.binds:
        return []
    if each.port is not None:
        if each.protocol == Protocol.HTTP_PROXY:
            return [RouteTable(str(each.port), Hosts(seer, each.hosts, None))]
        return [RouteTable(str(each.port), Hosts(seer, each.hosts, each.port))] if named(each.protocol).is_http else []
    found = [RouteTable(str(port), Hosts(seer, each.hosts, port)) for port in http_ports(db, seer, each.hosts)]
    found += [RouteTable(f"{ref.host}:{port}", Hosts(seer, EVERYTHING, port, ref)) for ref, port in sniffed(db, seer, each.hosts)]
    if settings(db).http_proxy_port is not None:
        found.append(RouteTable(HTTP_PROXY, Hosts(seer, each.hosts, None)))
    return found


def in_tables(port: ServicePort) -> bool:
    """Return whether ``port`` may carry HTTP: it says so, or does not say what it carries."""
    return port.protocol.is_http or port.protocol == Protocol.UNSUPPORTED


@query
def http_ports(db: Database, seer: str, hosts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the port numbers on which some service seen may carry HTTP without being told apart by its address."""
    found = set()
    for ref in imported(db, seer, hosts):
        known = service(db, ref)
        for port in known.ports if known else ():
            if port.protocol.is_http or (port.protocol == Protocol.UNSUPPORTED and known and not has_address(known)):
                found.add(port.number)
    return tuple(sorted(found))


@query
def sniffed(db: Database, seer: str, hosts: tuple[str, ...]) -> tuple[tuple[Ref, int], ...]:
    """Return the ports, with their services, that have a listener and a route table of their own, as they do not say what they carry."""
    return tuple(
        (ref, port.number)
        for ref in imported(db, seer, hosts)
        if (known := service(db, ref)) and has_address(known)
        for port in known.ports
        if port.protocol == Protocol.UNSUPPORTED
    )


def has_address(known: Service) -> bool:
    """Return whether a listener can be told from others by an address of ``known``."""
    return any("/" not in address for address in known.addresses)


@query
def claims(db: Database, asked: Hosts) -> tuple[Claim, ...]:
    """Return who asks for domains in the tables of ``asked``, oldest first."""
    found = []
    refs = (asked.only,) if asked.only else imported(db, asked.seer, asked.hosts)
    for ref in refs:
        known = service(db, ref)
        found += [
            Claim(known.created, ref.host, each.number, ref, ref.key.namespace)
            for each in (known.ports if known else ())
            if known and in_tables(each) and asked.port in (None, each.number)
        ]
    if asked.only is None:
        services = {ref.host for ref in refs}
        for host, head in imported_routes(db, asked.seer, asked.hosts):
            if host not in services:
                services.add(host)
                found.append(Claim(head.created, host, asked.port or _HTTP_PORT, None, head.key.namespace))
    return tuple(sorted(found, key=lambda claim: (claim.created, claim.host, claim.port)))


@query
def owned(db: Database, asked: Hosts) -> Mapping[str, tuple[str, int]]:
    """Return who owns each domain that is the same for every namespace: the oldest that asks for it."""
    owner: dict[str, tuple[str, int]] = {}
    for claim in claims(db, asked):
        for domain in domains(db, Asking(claim.host, claim.port, claim.ref, PUBLIC, with_port=asked.port is None)):
            owner.setdefault(domain, (claim.host, claim.port))
    return owner


@query
def owners(db: Database, asked: Hosts) -> frozenset[str]:
    """Return the namespaces whose objects ask for domains."""
    return frozenset(claim.owner for claim in claims(db, asked))


@query
def claims_of(db: Database, asked: Hosts, owner: str) -> tuple[Claim, ...]:
    """Return which of the claims are of objects of the namespace ``owner``."""
    return tuple(claim for claim in claims(db, asked) if claim.owner == owner)


@query
def special(db: Database, asked: Hosts, owner: str) -> Seers:
    """Return whose virtual hosts from ``owner`` differ from everybody's: its own, as short names mean them there, and route readers'."""
    namespaces = {owner}
    label_keys: set[str] = set()
    for claim in claims_of(db, asked, owner):
        readers = route_seers(db, claim.host)
        namespaces |= readers.namespaces
        label_keys |= readers.label_keys
        if claim.ref:
            namespaces |= rule_seers(db, claim.ref)
    return Seers(frozenset(namespaces), frozenset(label_keys))


def viewer_of(db: Database, scope: Scope, asked: Hosts, owner: str) -> Viewer:
    """Return whom to ask for the virtual hosts from ``owner`` on behalf of ``scope``."""
    differs = special(db, asked, owner)
    own = asked.seer != PUBLIC or scope.namespace in differs.namespaces
    labels = tuple(pair for pair in scope.labels if pair[0] in differs.label_keys)
    return Viewer(scope.namespace if own else PUBLIC, labels)


@query
def entries(db: Database, asked: Hosts, owner: str, viewer: Viewer) -> tuple[Entry, ...]:
    """Return the virtual hosts from ``owner`` as ``viewer`` sees them, sorted; one that owns none of its domains is left out.

    Short names, which mean a service in its own namespace only, yield to the full names that everyone uses.
    """
    owner_of = owned(db, asked)
    everywhere = asked.port is None
    found = []
    for claim in claims_of(db, asked, owner):
        ref = claim.ref
        local = viewer.namespace if ref and ref.key.kind == "Service" and ref.key.namespace == viewer.namespace else PUBLIC
        wanted = domains(db, Asking(claim.host, claim.port, ref, local, everywhere))
        own = (claim.host, claim.port)
        denied = tuple(domain for domain in wanted if owner_of.get(domain, own) != own)
        if len(denied) < len(wanted):
            seer, labels = _reader(db, viewer, claim.host, ref)
            found.append(Entry(claim.host, claim.port, ref, local, seer, labels, denied, everywhere))
    return tuple(sorted(found, key=lambda entry: (entry.host, entry.port)))


def _reader(db: Database, viewer: Viewer, host: str, ref: Ref | None) -> tuple[str, Labels]:
    namespace = viewer.namespace
    readers = route_seers(db, host)
    if namespace != PUBLIC and (namespace in readers.namespaces or seer_of(db, namespace) != PUBLIC):
        seer = namespace
    else:
        seer = seer_of_rules(db, ref, namespace) if ref else PUBLIC
    return seer, tuple(pair for pair in viewer.labels if pair[0] in readers.label_keys)


@query
def domains(db: Database, asking: Asking) -> tuple[str, ...]:
    """Return the domains by which requests name the host of ``asking``, from its namespace ``local`` or (``PUBLIC``) from anywhere."""
    host = asking.host
    known = service(db, asking.ref) if asking.ref else None
    namespace = asking.local or "~"  # no namespace has this name
    if known is None:
        found = virtual_host_domains(host, dns_domain="")
    else:
        found = virtual_host_domains(
            host,
            dns_domain=f"{namespace}.svc.{CLUSTER_DOMAIN}",
            vips=tuple(address for address in known.addresses if "/" not in address),
            wildcard=known.headless,
        )
    if not asking.with_port:
        return found
    with_port = tuple(f"{domain}:{asking.port}" for domain in found if domain != "*")
    bare = tuple(domain for domain in found if asking.port == _HTTP_PORT or domain == "*")
    return with_port + bare
