"""Route tables: which virtual hosts stand in which RouteConfiguration of a scope, and who owns a domain there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import CLUSTER_DOMAIN
from controlplane.mesh.policies import seer_of_rules
from controlplane.mesh.routing import route_seers
from controlplane.mesh.scopes import EVERYTHING, Egress, Scope, egress, imported, imported_routes, seer_of
from controlplane.mesh.services import PUBLIC, Ref, service
from controlplane.mesh.settings import settings
from controlplane.model.domains import virtual_host_domains
from controlplane.model.protocols import Protocol, named
from controlplane.model.services import Labels, Service, ServicePort

HTTP_PROXY = "http_proxy"
_HTTP_PORT = 80  # what a URL without a port means


class RouteTable(NamedTuple):
    """One RouteConfiguration of a scope: its name, whose ports it is for, and what is seen through it."""

    name: str
    port: int | None  # None: every port (a proxy that applications address explicitly)
    seer: str
    hosts: tuple[str, ...]  # of the egress listener
    only: Ref | None = None  # a listener of this service alone


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
            return [RouteTable(str(each.port), None, seer, each.hosts)]
        return [RouteTable(str(each.port), each.port, seer, each.hosts)] if named(each.protocol).is_http else []
    found = [RouteTable(str(port), port, seer, each.hosts) for port in http_ports(db, seer, each.hosts)]
    found += [
        RouteTable(f"{ref.host}:{port}", port, seer, EVERYTHING, ref) for ref, port in sniffed(db, seer, each.hosts)
    ]
    if settings(db).http_proxy_port is not None:
        found.append(RouteTable(HTTP_PROXY, None, seer, each.hosts))
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
def claims(db: Database, seer: str, hosts: tuple[str, ...], port: int | None, only: Ref | None) -> tuple[Claim, ...]:
    """Return who asks for domains in the table for ``port`` of what is seen, oldest first."""
    found = []
    refs = (only,) if only else imported(db, seer, hosts)
    for ref in refs:
        known = service(db, ref)
        found += [
            Claim(known.created, ref.host, each.number, ref)
            for each in (known.ports if known else ())
            if in_tables(each) and (port is None or each.number == port)
        ]
    if only is None:
        services = {claim.host for claim in found} | {ref.host for ref in refs}
        for host, head in imported_routes(db, seer, hosts):
            if host not in services:
                services.add(host)
                found.append(Claim(head.created, host, port or _HTTP_PORT, None))
    return tuple(sorted(found, key=lambda claim: (claim.created, claim.host, claim.port)))


@query
def owned(db: Database, seer: str, hosts: tuple[str, ...], port: int | None, only: Ref | None) -> Mapping[str, tuple[str, int]]:
    """Return who owns each domain that is the same for every namespace, in the table of ``claims``: the oldest that asks for it."""
    owner: dict[str, tuple[str, int]] = {}
    for claim in claims(db, seer, hosts, port, only):
        for domain in domains(db, Asking(claim.host, claim.port, claim.ref, PUBLIC, with_port=port is None)):
            owner.setdefault(domain, (claim.host, claim.port))
    return owner


@query
def entries(db: Database, scope: Scope, table: RouteTable) -> tuple[Entry, ...]:
    """Return the virtual hosts of ``table``, sorted; one that owns none of its domains is left out.

    Short names, which mean a service in its own namespace only, yield to the full names that everyone uses.
    """
    about = (table.seer, table.hosts, table.port, table.only)
    owner = owned(db, *about)
    everywhere = table.port is None
    found = []
    for claim in claims(db, *about):
        ref = claim.ref
        local = scope.namespace if ref and ref.key.kind == "Service" and ref.key.namespace == scope.namespace else PUBLIC
        asked = domains(db, Asking(claim.host, claim.port, ref, local, everywhere))
        denied = tuple(domain for domain in asked if owner.get(domain, (claim.host, claim.port)) != (claim.host, claim.port))
        if len(denied) < len(asked):
            seer, labels = _reader(db, scope, claim.host, ref)
            found.append(Entry(claim.host, claim.port, ref, local, seer, labels, denied, everywhere))
    return tuple(sorted(found, key=lambda entry: (entry.host, entry.port)))


def _reader(db: Database, scope: Scope, host: str, ref: Ref | None) -> tuple[str, Labels]:
    special = route_seers(db, host)
    namespace = scope.namespace
    if namespace in special.namespaces or seer_of(db, namespace) != PUBLIC:
        seer = namespace
    else:
        seer = seer_of_rules(db, ref, namespace) if ref else PUBLIC
    return seer, tuple(pair for pair in scope.labels if pair[0] in special.label_keys)


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
