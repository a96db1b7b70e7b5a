"""Route tables: which virtual hosts are in which RouteConfiguration of a scope, and which of them owns a domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import rule_audience, rule_client, selected_label_names
from controlplane.mesh.inputs import CLUSTER_DOMAIN
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, other_names, service
from controlplane.mesh.routing.scopes import (
    EgressListenerScope,
    OutboundScope,
    client_namespace_for_routes,
    egress_listeners,
    hosts_with_routes,
    imported_services,
)
from controlplane.mesh.routing.virtual_services import Audience, route_audience, virtual_service_for
from controlplane.model.keys import SERVICE, Key
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.model.services import Labels, Service, ServicePort
from controlplane.model.virtual_host_domains import virtual_host_domains

HTTP_PROXY = "http_proxy"
_HTTP_PORT = 80  # what a URL without a port means


class EgressHosts(NamedTuple):
    """What is seen through an egress listener on a port: the same for every scope that sees the same."""

    client_namespace: str
    hosts: tuple[str, ...]
    port: int | None  # None: every port (a proxy that applications address explicitly)
    only: ServiceRef | None = None  # a listener of this service alone


class RouteTable(NamedTuple):
    """One RouteConfiguration: its name, and the hosts in it."""

    name: str
    egress_hosts: EgressHosts


class RouteClient(NamedTuple):
    """The client of virtual hosts: a namespace, or ``PUBLIC``, and those of its labels that some route matches on."""

    namespace: str
    labels: Labels


class DomainQuery(NamedTuple):
    """A host whose domains are looked up. In a table for every port the domains carry the port; port 80 may be left out."""

    host: str
    port: int
    ref: ServiceRef | None
    local: str  # the namespace where its short name means it, else empty
    aliases: tuple[str, ...]  # other names of its service
    with_port: bool  # the port is part of the domains


class TableEntry(NamedTuple):
    """One virtual host of a table, by what its routes and its domains depend on."""

    named: DomainQuery  # its host, and its domains but for those denied
    client_namespace: str
    labels: Labels
    route: Key | None  # the VirtualService that routes its requests
    denied: tuple[str, ...]  # domains that an older host of the table has

    @property
    def name(self) -> str:
        """Return the name of the virtual host."""
        return f"{self.named.host}:{self.named.port}"


class DomainClaimant(NamedTuple):
    """A virtual host that claims domains in a table; the oldest sorts first."""

    created: str
    host: str
    port: int
    ref: ServiceRef | None  # None: only a VirtualService knows the host
    owner: str  # the namespace of the object
    aliases: tuple[ServiceRef, ...] = ()  # Services that are other names of it

    def domain_query(self, local: str, egress_hosts: EgressHosts) -> DomainQuery:
        """Return the query for its domains where ``local`` is the namespace of short names."""
        aliases = tuple(alias.host for alias in self.aliases)
        return DomainQuery(self.host, self.port, self.ref, local, aliases, with_port=egress_hosts.port is None)

    def local_to(self, namespace: str) -> str:
        """Return ``namespace`` where a short name means it there, else nothing."""
        own = (self.ref, *self.aliases)
        return namespace if any(ref and ref.key.group_kind == SERVICE and ref.key.namespace == namespace for ref in own) else PUBLIC


@query
def route_tables(db: Database, scope: OutboundScope) -> tuple[RouteTable, ...]:
    """Return the route tables of ``scope``, sorted by name."""
    client_namespace = client_namespace_for_routes(db, scope.namespace)
    by_name: dict[str, RouteTable] = {}
    for listener in egress_listeners(db, scope):
        for table in _tables_of(db, scope, client_namespace, listener):
            by_name.setdefault(table.name, table)
    return tuple(by_name[name] for name in sorted(by_name))


def _tables_of(db: Database, scope: OutboundScope, client_namespace: str, listener: EgressListenerScope) -> list[RouteTable]:
    if not scope.captured and not listener.binds:
        return []
    if listener.port is not None:
        if listener.protocol == Protocol.HTTP_PROXY:
            return [RouteTable(str(listener.port), EgressHosts(client_namespace, listener.hosts, None))]
        return (
            [RouteTable(str(listener.port), EgressHosts(client_namespace, listener.hosts, listener.port))]
            if parse_protocol(listener.protocol).is_http
            else []
        )
    tables = [
        RouteTable(str(port), EgressHosts(client_namespace, listener.hosts, port))
        for port in http_ports(db, client_namespace, listener.hosts)
    ]
    tables += [
        RouteTable(f"{ref.host}:{port}", EgressHosts(client_namespace, listener.hosts, port, ref))
        for ref, port in sniffed_ports(db, client_namespace, listener.hosts)
    ]
    if mesh_settings(db).http_proxy_port is not None:
        tables.append(RouteTable(HTTP_PROXY, EgressHosts(client_namespace, listener.hosts, None)))
    return tables


def may_carry_http(port: ServicePort) -> bool:
    """Return whether ``port`` may carry HTTP: it is declared so, or its protocol is not declared."""
    return port.protocol.is_http or port.protocol == Protocol.UNSUPPORTED


@query
def http_ports(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the port numbers on which some visible service may carry HTTP and shares its listener with others."""
    numbers = set()
    for ref in imported_services(db, client_namespace, hosts):
        mesh_service = service(db, ref)
        for port in mesh_service.ports if mesh_service else ():
            if port.protocol.is_http or (port.protocol == Protocol.UNSUPPORTED and mesh_service and not has_address(mesh_service)):
                numbers.add(port.number)
    return tuple(sorted(numbers))


@query
def sniffed_ports(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[tuple[ServiceRef, int], ...]:
    """Return the ports, with their services, that have a listener and a route table of their own: their protocol is not declared."""
    return tuple(
        (ref, port.number)
        for ref in imported_services(db, client_namespace, hosts)
        if (mesh_service := service(db, ref)) and has_address(mesh_service)
        for port in mesh_service.ports
        if port.protocol == Protocol.UNSUPPORTED
    )


def has_address(mesh_service: Service) -> bool:
    """Return whether ``mesh_service`` has an address at which a listener of its own can be."""
    return any("/" not in address for address in mesh_service.addresses)


@query
def domain_claimants(db: Database, egress_hosts: EgressHosts) -> tuple[DomainClaimant, ...]:
    """Return the claimants of domains in the tables of ``egress_hosts``, oldest first.

    As in Istio, a host that only a VirtualService knows is one, and on the port of HTTP also one whose service lacks that port.
    """
    claimants = []
    refs = (egress_hosts.only,) if egress_hosts.only else imported_services(db, egress_hosts.client_namespace, egress_hosts.hosts)
    names = other_names(db, egress_hosts.client_namespace)
    routes = hosts_with_routes(db, egress_hosts.client_namespace, egress_hosts.hosts) if names or egress_hosts.only is None else {}
    for ref in refs:
        mesh_service = service(db, ref)
        aliases = tuple(alias for alias in names.get(ref.host, ()) if alias.host not in routes)  # those have routes of their own
        claimants += [
            DomainClaimant(mesh_service.created, ref.host, service_port.number, ref, ref.key.namespace, aliases)
            for service_port in (mesh_service.ports if mesh_service else ())
            if mesh_service and may_carry_http(service_port) and egress_hosts.port in (None, service_port.number)
        ]
    if egress_hosts.only is None:
        known = {claimant.host for claimant in claimants} if egress_hosts.port == _HTTP_PORT else {ref.host for ref in refs}
        aliases_by_host = {alias.host: alias for of_service in names.values() for alias in of_service}
        claimants += [
            DomainClaimant(head.created, host, egress_hosts.port or _HTTP_PORT, aliases_by_host.get(host), head.key.namespace)
            for host, head in routes.items()
            if host not in known
        ]
    return tuple(sorted(claimants, key=lambda claimant: (claimant.created, claimant.host, claimant.port)))


@query
def domain_owners(db: Database, egress_hosts: EgressHosts) -> Mapping[str, tuple[str, int]]:
    """Return the owner of each domain that is the same for every namespace: the oldest claimant."""
    owners: dict[str, tuple[str, int]] = {}
    for claimant in domain_claimants(db, egress_hosts):
        for domain in entry_domains(db, claimant.domain_query(PUBLIC, egress_hosts)):
            owners.setdefault(domain, (claimant.host, claimant.port))
    return owners


@query
def owner_namespaces(db: Database, egress_hosts: EgressHosts) -> frozenset[str]:
    """Return the namespaces whose objects claim domains."""
    return frozenset(claimant.owner for claimant in domain_claimants(db, egress_hosts))


@query
def claimants_of_owner(db: Database, egress_hosts: EgressHosts, owner: str) -> tuple[DomainClaimant, ...]:
    """Return the claimants from objects of the namespace ``owner``."""
    return tuple(claimant for claimant in domain_claimants(db, egress_hosts) if claimant.owner == owner)


@query
def special_audience(db: Database, egress_hosts: EgressHosts, owner: str) -> Audience:
    """Return the clients that see other virtual hosts from ``owner`` than the public.

    That is ``owner`` itself, where short names mean its services, and those whose routes differ.
    """
    namespaces = {owner}
    label_keys: set[str] = set()
    for claimant in claimants_of_owner(db, egress_hosts, owner):
        namespaces.update(alias.key.namespace for alias in claimant.aliases)
        audience = route_audience(db, claimant.host)
        namespaces |= audience.namespaces
        label_keys |= audience.label_keys
        if claimant.ref:
            namespaces |= rule_audience(db, claimant.ref)
            label_keys |= selected_label_names(db, claimant.ref)
    return Audience(frozenset(namespaces), frozenset(label_keys))


def route_client(db: Database, scope: OutboundScope, egress_hosts: EgressHosts, owner: str) -> RouteClient:
    """Return the client by which to look up the virtual hosts from ``owner`` for ``scope``."""
    audience = special_audience(db, egress_hosts, owner)
    is_special = egress_hosts.client_namespace != PUBLIC or scope.namespace in audience.namespaces
    labels = tuple(pair for pair in scope.labels if pair[0] in audience.label_keys)
    return RouteClient(scope.namespace if is_special else PUBLIC, labels)


@query
def table_entries(db: Database, egress_hosts: EgressHosts, owner: str, client: RouteClient) -> tuple[TableEntry, ...]:
    """Return the virtual hosts from ``owner`` as ``client`` sees them, sorted; one that owns none of its domains is left out.

    Short names, which mean a service in its own namespace only, yield to the full names that everyone uses.
    """
    owners = domain_owners(db, egress_hosts)
    entries = []
    for claimant in claimants_of_owner(db, egress_hosts, owner):
        named = claimant.domain_query(claimant.local_to(client.namespace), egress_hosts)
        wanted = entry_domains(db, named)
        host_and_port = (claimant.host, claimant.port)
        denied = tuple(domain for domain in wanted if owners.get(domain, host_and_port) != host_and_port)
        if len(denied) < len(wanted):
            client_namespace, labels = _client_of_entry(db, client, claimant.host, claimant.ref)
            route = virtual_service_for(db, claimant.host, client_namespace, egress_hosts.hosts)
            entries.append(TableEntry(named, client_namespace, labels, route, denied))
    return tuple(sorted(entries, key=lambda entry: (entry.named.host, entry.named.port)))


def _client_of_entry(db: Database, client: RouteClient, host: str, ref: ServiceRef | None) -> tuple[str, Labels]:
    namespace = client.namespace
    audience = route_audience(db, host)
    if namespace != PUBLIC and (namespace in audience.namespaces or client_namespace_for_routes(db, namespace) != PUBLIC):
        client_namespace = namespace
    else:
        client_namespace = rule_client(db, ref, namespace).namespace if ref else PUBLIC
    label_keys = audience.label_keys | selected_label_names(db, ref) if ref else audience.label_keys
    return client_namespace, tuple(pair for pair in client.labels if pair[0] in label_keys)


@query
def entry_domains(db: Database, domain_query: DomainQuery) -> tuple[str, ...]:
    """Return the domains by which requests name the host of ``domain_query``: from its namespace ``local``, or from anywhere."""
    host = domain_query.host
    mesh_service = service(db, domain_query.ref) if domain_query.ref else None
    namespace = domain_query.local or "~"  # no namespace has this name
    if mesh_service is None:
        domains = virtual_host_domains(host, dns_domain="")
    else:
        domains = virtual_host_domains(
            host,
            dns_domain=f"{namespace}.svc.{CLUSTER_DOMAIN}",
            vips=tuple(address for address in mesh_service.addresses if "/" not in address),
            aliases=domain_query.aliases,
            wildcard=mesh_service.headless,
        )
    if not domain_query.with_port:
        return domains
    with_port = tuple(f"{domain}:{domain_query.port}" for domain in domains if domain != "*")
    bare = tuple(domain for domain in domains if domain_query.port == _HTTP_PORT or domain == "*")
    return with_port + bare
