"""Which hosts claim which domains in a table of virtual hosts, and which of them owns one that several claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import EXTERNAL_NAMES
from controlplane.mesh.inputs import index
from controlplane.mesh.registry.endpoints import NamedEndpoint, named_endpoints
from controlplane.mesh.registry.services import (
    PUBLIC,
    ServiceRef,
    declared_services,
    other_names,
    resolved_host,
    service,
    shard_of_object,
)
from controlplane.mesh.routing.scopes import imported_by_name, imported_services, imported_shards, routing_head
from controlplane.mesh.routing.virtual_services import VirtualServiceHead, sidecar_head
from controlplane.mesh.shards import CLUSTER_DOMAIN, NO_NAMESPACE, Shard, claiming, in_shard
from controlplane.model.keys import SERVICE, VIRTUAL_SERVICE, Key
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


def table_shards(db: Database, egress_hosts: EgressHosts) -> tuple[Shard, ...]:
    """Return the shards in which there may be claimants of domains in the tables of ``egress_hosts``."""
    if egress_hosts.only:
        return (shard_of_object(db, egress_hosts.only.key),)
    return imported_shards(db, egress_hosts.client_namespace, egress_hosts.hosts)


@query
def domain_claimants(db: Database, egress_hosts: EgressHosts, shard: Shard) -> tuple[DomainClaimant, ...]:
    """Return the claimants from ``shard`` of domains in the tables of ``egress_hosts``, oldest first."""
    client_namespace, hosts = egress_hosts.client_namespace, egress_hosts.hosts
    refs = (egress_hosts.only,) if egress_hosts.only else imported_services(db, client_namespace, hosts, shard)
    claimants = [claimant for ref in refs for claimant in _claimants_of_service(db, egress_hosts, ref)]
    if egress_hosts.only is None:
        heads = (sidecar_head(db, key) for key in index(db, in_shard(VIRTUAL_SERVICE, shard)))
        routed = {(head.key, host) for head in heads if head for host in head.hosts}
        found = ((key, _claimant_of_routes(db, egress_hosts, host)) for key, host in routed)
        claimants += [claimed[1] for key, claimed in found if claimed and claimed[0] == key]
    return tuple(sorted(claimants, key=_by_age))


def _by_age(claimant: DomainClaimant) -> tuple[str, str, int]:
    return claimant.created, claimant.host, claimant.port


def _claimants_of_service(db: Database, egress_hosts: EgressHosts, ref: ServiceRef) -> Iterator[DomainClaimant]:
    """Yield the claimants that the ports of ``ref`` are."""
    mesh_service = service(db, ref)
    names = other_names(db, egress_hosts.client_namespace).get(ref.host, ())
    aliases = tuple(alias for alias in names if not _routes(db, egress_hosts, alias.host))  # those have routes of their own
    for port in mesh_service.ports if mesh_service else ():
        if mesh_service and may_carry_http(port) and egress_hosts.port in (None, port.number):
            yield DomainClaimant(mesh_service.created, ref.host, port.number, ref, ref.key.namespace, aliases)


def _routes(db: Database, egress_hosts: EgressHosts, host: str) -> VirtualServiceHead | None:
    return routing_head(db, egress_hosts.client_namespace, egress_hosts.hosts, host)


@query
def _claimant_of_routes(db: Database, egress_hosts: EgressHosts, host: str) -> tuple[Key, DomainClaimant] | None:
    """Return the claimant that ``host`` is by its VirtualService alone, and this; ``None`` where a service claims what there is.

    As in Istio, a host that only a VirtualService knows is one, and on the port of HTTP also one whose service lacks that port.
    """
    head = _routes(db, egress_hosts, host)
    if head is None:
        return None
    refs = imported_by_name(db, egress_hosts.client_namespace, egress_hosts.hosts, host)
    if any(True for ref in refs for _ in _claimants_of_service(db, egress_hosts, ref)) or (refs and egress_hosts.port != _HTTP_PORT):
        return None
    alias = next((ref for named in other_names(db, egress_hosts.client_namespace).values() for ref in named if ref.host == host), None)
    return head.key, DomainClaimant(head.created, host, egress_hosts.port or _HTTP_PORT, alias, head.key.namespace)


@query
def is_any_domain_claimed(db: Database, egress_hosts: EgressHosts) -> bool:
    """Return whether there is a virtual host at all in the tables of ``egress_hosts``."""
    return any(domain_claimants(db, egress_hosts, shard) for shard in table_shards(db, egress_hosts))


@query
def claimants_of_host(db: Database, egress_hosts: EgressHosts, host: str) -> tuple[DomainClaimant, ...]:
    """Return the claimants in the tables of ``egress_hosts`` that are called ``host``, or that it is another name of."""
    refs: Iterable[ServiceRef] = imported_by_name(db, egress_hosts.client_namespace, egress_hosts.hosts, host)
    if egress_hosts.only:
        refs = [ref for ref in refs if ref == egress_hosts.only]
    claimants = [claimant for ref in refs for claimant in _claimants_of_service(db, egress_hosts, ref)]
    if egress_hosts.only is None and (routed := _claimant_of_routes(db, egress_hosts, host)):
        claimants.append(routed[1])
    return tuple(claimants)


def owner_of_domain(db: Database, egress_hosts: EgressHosts, domain: str, port: int) -> tuple[str, int] | None:
    """Return by host and port who owns ``domain`` of requests to ``port``, if it is one for every namespace: the oldest claimant."""
    keys = _claiming_objects(db, egress_hosts, domain, port)
    claimants = (claimant for key in keys for claimant in _claims(db, egress_hosts, key).get(domain, ()))
    oldest = min(claimants, key=_by_age, default=None)
    return (oldest.host, oldest.port) if oldest else None


@query
def _claims(db: Database, egress_hosts: EgressHosts, key: Key) -> Mapping[str, tuple[DomainClaimant, ...]]:
    """Return who claims which domains for every namespace by the hosts of the object ``key``, of which there may be hundreds."""
    claims: dict[str, list[DomainClaimant]] = defaultdict(list)
    for host in _resolved_hosts(db, egress_hosts, key):
        for claimant in claimants_of_host(db, egress_hosts, host):
            for domain in entry_domains(db, claimant.domain_query(PUBLIC, egress_hosts)):
                claims[domain].append(claimant)
    return {domain: tuple(claimants) for domain, claimants in claims.items()}


def _claiming_objects(db: Database, egress_hosts: EgressHosts, domain: str, port: int) -> frozenset[Key]:
    """Return the objects whose virtual hosts claim ``domain``, which has ``port`` in it where the table is for every port."""
    return index(db, claiming(domain.removesuffix(f":{port}") if egress_hosts.port is None else domain))


def denied_domains(db: Database, egress_hosts: EgressHosts, claimant: DomainClaimant, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return those of the domains ``wanted`` by ``claimant`` that are another's."""
    own = (claimant.host, claimant.port)
    denied = []
    for domain in wanted:
        alone = all(_hosts_of(db, key) == (claimant.host,) for key in _claiming_objects(db, egress_hosts, domain, claimant.port))
        if not alone and owner_of_domain(db, egress_hosts, domain, claimant.port) not in (None, own):
            denied.append(domain)
    return tuple(denied)


def _hosts_of(db: Database, key: Key) -> tuple[str, ...]:
    """Return the hosts that the object ``key`` declares, or routes."""
    if key.group_kind == VIRTUAL_SERVICE:
        head = sidecar_head(db, key)
        return head.hosts if head else ()
    return tuple(declared.host for declared in declared_services(db, key))


def _resolved_hosts(db: Database, egress_hosts: EgressHosts, key: Key) -> Iterator[str]:
    """Yield the hosts that the object ``key`` declares or routes, and what they are other names of."""
    for host in _hosts_of(db, key):
        yield host
        if key in index(db, EXTERNAL_NAMES):
            resolved = resolved_host(db, host, egress_hosts.client_namespace)
            if resolved not in (None, host):
                yield resolved


@query
def endpoint_owners(db: Database, egress_hosts: EgressHosts) -> Mapping[str, tuple[str, int]]:
    """Return whose endpoint each address is: of a service whose clients choose one, the oldest."""
    choosing = [claimant for shard in table_shards(db, egress_hosts) for claimant in _chosen_claimants(db, egress_hosts, shard)]
    owners: dict[str, tuple[str, int]] = {}
    for claimant in sorted(choosing, key=_by_age):
        for endpoint in chosen_endpoints(db, claimant):
            owners.setdefault(endpoint.address, (claimant.host, claimant.port))
    return owners


@query
def _chosen_claimants(db: Database, egress_hosts: EgressHosts, shard: Shard) -> tuple[DomainClaimant, ...]:
    """Return the claimants from ``shard`` whose endpoints have names of their own."""
    return tuple(claimant for claimant in domain_claimants(db, egress_hosts, shard) if chosen_endpoints(db, claimant))


def chosen_endpoints(db: Database, claimant: DomainClaimant) -> tuple[NamedEndpoint, ...]:
    """Return the endpoints of ``claimant`` that have a name of their own, by which clients choose them."""
    mesh_service = service(db, claimant.ref) if claimant.ref else None
    return named_endpoints(db, claimant.ref, claimant.port) if claimant.ref and mesh_service and mesh_service.by_address else ()


@query
def entry_domains(db: Database, domain_query: DomainQuery) -> tuple[str, ...]:
    """Return the domains by which requests name the host of ``domain_query``: from its namespace ``local``, or from anywhere."""
    host = domain_query.full_name
    mesh_service = service(db, domain_query.ref) if domain_query.ref else None
    namespace = domain_query.local or NO_NAMESPACE
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
