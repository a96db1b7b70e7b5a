"""Which hosts claim which domains in a table of virtual hosts, and which of them owns one that several claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import CLUSTER_DOMAIN
from controlplane.mesh.registry.endpoints import NamedEndpoint, named_endpoints
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, other_names, service
from controlplane.mesh.routing.scopes import hosts_with_routes, imported_services
from controlplane.model.keys import SERVICE
from controlplane.model.protocols import Protocol
from controlplane.model.services import Service, ServicePort
from controlplane.model.virtual_host_domains import virtual_host_domains

_HTTP_PORT = 80  # what a URL without a port means


class EgressHosts(NamedTuple):
    """What is seen through an egress listener on a port: the same for every scope that sees the same."""

    client_namespace: str
    hosts: tuple[str, ...]
    port: int | None  # None: every port (a proxy that applications address explicitly)
    only: ServiceRef | None = None  # a listener of this service alone


class DomainQuery(NamedTuple):
    """A host whose domains are looked up. In a table for every port the domains carry the port; port 80 may be left out."""

    host: str
    port: int
    ref: ServiceRef | None
    local: str  # the namespace where its short name means it, else empty
    aliases: tuple[str, ...]  # other names of its service
    with_port: bool  # the port is part of the domains
    endpoint: NamedEndpoint | None = None  # it is this one's own domains that are looked up

    @property
    def full_name(self) -> str:
        """Return the name that the virtual host is called by."""
        return f"{self.endpoint.hostname}.{self.host}" if self.endpoint else self.host


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


def may_carry_http(port: ServicePort) -> bool:
    """Return whether ``port`` may carry HTTP: it is declared so, or its protocol is not declared."""
    return port.protocol.is_http or port.protocol == Protocol.UNSUPPORTED


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
def endpoint_owners(db: Database, egress_hosts: EgressHosts) -> Mapping[str, tuple[str, int]]:
    """Return whose endpoint each address is: of a service whose clients choose one, the oldest."""
    owners: dict[str, tuple[str, int]] = {}
    for claimant in domain_claimants(db, egress_hosts):
        for endpoint in chosen_endpoints(db, claimant):
            owners.setdefault(endpoint.address, (claimant.host, claimant.port))
    return owners


def chosen_endpoints(db: Database, claimant: DomainClaimant) -> tuple[NamedEndpoint, ...]:
    """Return the endpoints of ``claimant`` that have a name of their own, by which clients choose them."""
    mesh_service = service(db, claimant.ref) if claimant.ref else None
    return named_endpoints(db, claimant.ref, claimant.port) if claimant.ref and mesh_service and mesh_service.by_address else ()


@query
def entry_domains(db: Database, domain_query: DomainQuery) -> tuple[str, ...]:
    """Return the domains by which requests name the host of ``domain_query``: from its namespace ``local``, or from anywhere."""
    host = domain_query.full_name
    mesh_service = service(db, domain_query.ref) if domain_query.ref else None
    namespace = domain_query.local or "~"  # no namespace has this name
    if mesh_service is None:
        domains = virtual_host_domains(host, dns_domain="")
    elif endpoint := domain_query.endpoint:
        vips = (endpoint.address,) if endpoint.address else ()
        domains = virtual_host_domains(host, dns_domain=f"{namespace}.svc.{CLUSTER_DOMAIN}", vips=vips)
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
