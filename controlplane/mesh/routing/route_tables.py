"""Route tables: which virtual hosts are in which RouteConfiguration of a scope, and which of them owns a domain."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import rule_audience, rule_client, selected_label_names
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, service
from controlplane.mesh.routing.domains import (
    DomainClaimant,
    DomainQuery,
    EgressHosts,
    chosen_endpoints,
    denied_domains,
    domain_claimants,
    endpoint_owners,
    entry_domains,
    has_address,
    owner_of_domain,
)
from controlplane.mesh.routing.scopes import (
    EgressListenerScope,
    OutboundScope,
    client_namespace_for_routes,
    egress_listeners,
    imported_services,
    imported_shards,
)
from controlplane.mesh.routing.virtual_services import Audience, route_audience, virtual_service_for
from controlplane.mesh.shards import Shard
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.model.services import Labels

HTTP_PROXY = "http_proxy"


class RouteTable(NamedTuple):
    """One RouteConfiguration: its name, and the hosts in it."""

    name: str
    egress_hosts: EgressHosts


class RouteClient(NamedTuple):
    """The client of virtual hosts: a namespace, or ``PUBLIC``, and those of its labels that some route matches on."""

    namespace: str
    labels: Labels


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
        return f"{self.named.full_name}:{self.named.port}"


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


@query
def http_ports(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the port numbers on which some visible service may carry HTTP and shares its listener with others."""
    shards = imported_shards(db, client_namespace, hosts)
    return tuple(sorted({number for shard in shards for number in _http_ports_of_shard(db, client_namespace, hosts, shard)}))


@query
def _http_ports_of_shard(db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard) -> frozenset[int]:
    return frozenset(
        port.number
        for ref in imported_services(db, client_namespace, hosts, shard)
        if (mesh_service := service(db, ref))
        for port in mesh_service.ports
        if port.protocol.is_http or (port.protocol == Protocol.UNSUPPORTED and not has_address(mesh_service))
    )


@query
def sniffed_ports(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[tuple[ServiceRef, int], ...]:
    """Return the ports, with their services, that have a listener and a route table of their own: their protocol is not declared."""
    shards = imported_shards(db, client_namespace, hosts)
    return tuple(sorted(pair for shard in shards for pair in _sniffed_ports_of_shard(db, client_namespace, hosts, shard)))


@query
def _sniffed_ports_of_shard(
    db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard
) -> tuple[tuple[ServiceRef, int], ...]:
    return tuple(
        (ref, port.number)
        for ref in imported_services(db, client_namespace, hosts, shard)
        if (mesh_service := service(db, ref)) and has_address(mesh_service)
        for port in mesh_service.ports
        if port.protocol == Protocol.UNSUPPORTED
    )


@query
def special_audience(db: Database, egress_hosts: EgressHosts, shard: Shard) -> Audience:
    """Return the clients that see other virtual hosts from ``shard`` than the public.

    That is its namespace itself, where short names mean its services, and those whose routes differ.
    """
    namespaces = {shard.namespace}
    label_keys: set[str] = set()
    for claimant in domain_claimants(db, egress_hosts, shard):
        namespaces.update(alias.key.namespace for alias in claimant.aliases)
        audience = route_audience(db, claimant.host)
        namespaces |= audience.namespaces
        label_keys |= audience.label_keys
        if claimant.ref:
            namespaces |= rule_audience(db, claimant.ref)
            label_keys |= selected_label_names(db, claimant.ref)
    return Audience(frozenset(namespaces), frozenset(label_keys))


def route_client(db: Database, scope: OutboundScope, egress_hosts: EgressHosts, shard: Shard) -> RouteClient:
    """Return the client by which to look up the virtual hosts from ``shard`` for ``scope``."""
    audience = special_audience(db, egress_hosts, shard)
    is_special = egress_hosts.client_namespace != PUBLIC or scope.namespace in audience.namespaces
    labels = tuple(pair for pair in scope.labels if pair[0] in audience.label_keys)
    return RouteClient(scope.namespace if is_special else PUBLIC, labels)


@query
def table_entries(db: Database, egress_hosts: EgressHosts, shard: Shard, client: RouteClient) -> tuple[TableEntry, ...]:
    """Return the virtual hosts from ``shard`` as ``client`` sees them, sorted; one that owns none of its domains is left out.

    Short names, which mean a service in its own namespace only, yield to the full names that everyone uses.
    """
    entries = []
    for claimant in domain_claimants(db, egress_hosts, shard):
        named = claimant.domain_query(claimant.local_to(client.namespace), egress_hosts)
        wanted = entry_domains(db, named)
        denied = denied_domains(db, egress_hosts, claimant, wanted)
        if len(denied) < len(wanted):
            client_namespace, labels = _client_of_entry(db, client, claimant.host, claimant.ref)
            route = virtual_service_for(db, claimant.host, client_namespace, egress_hosts.hosts)
            entry = TableEntry(named, client_namespace, labels, route, denied)
            entries += [entry, *_entries_of_endpoints(db, egress_hosts, claimant, entry)]
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _entries_of_endpoints(db: Database, egress_hosts: EgressHosts, claimant: DomainClaimant, of_service: TableEntry) -> list[TableEntry]:
    """Return the virtual hosts of the endpoints that have a name of their own; a host of that name goes before."""
    endpoints = chosen_endpoints(db, claimant)
    if not endpoints:
        return []
    owners_of_addresses = endpoint_owners(db, egress_hosts)
    entries = []
    for endpoint in endpoints:
        named = of_service.named._replace(endpoint=endpoint, aliases=())
        wanted = entry_domains(db, named)
        own = owners_of_addresses[endpoint.address] == (claimant.host, claimant.port)
        allowed = wanted if own else entry_domains(db, named._replace(endpoint=endpoint._replace(address="")))
        denied = tuple(
            domain for domain in wanted if domain not in allowed or owner_of_domain(db, egress_hosts, domain, claimant.port) is not None
        )
        if len(denied) < len(wanted):
            entries.append(of_service._replace(named=named, denied=denied))
    return entries


def _client_of_entry(db: Database, client: RouteClient, host: str, ref: ServiceRef | None) -> tuple[str, Labels]:
    namespace = client.namespace
    audience = route_audience(db, host)
    if namespace != PUBLIC and (namespace in audience.namespaces or client_namespace_for_routes(db, namespace) != PUBLIC):
        client_namespace = namespace
    else:
        client_namespace = rule_client(db, ref, namespace).namespace if ref else PUBLIC
    label_keys = audience.label_keys | selected_label_names(db, ref) if ref else audience.label_keys
    return client_namespace, tuple(pair for pair in client.labels if pair[0] in label_keys)
