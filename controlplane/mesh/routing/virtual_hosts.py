"""Virtual hosts and the RouteConfigurations around them, in both encodings: inline, and one resource a host."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from controlplane.envoy.type_urls import RDS
from controlplane.incremental.database import Database, query
from controlplane.ir.actions import Forward
from controlplane.ir.backends import ServiceBackend
from controlplane.ir.rules import HttpRule, RequestPort
from controlplane.mesh.destinations.destination_rules import rule_client, subset_labels
from controlplane.mesh.destinations.traffic_policies import hash_policy
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, PartGroup, ResourcePart, Stopgap
from controlplane.mesh.publish.virtual_host_bytes import (
    EncodedVirtualHost,
    as_own_resource,
    encoded_routes,
    encoded_virtual_host,
    unless_failed,
    with_virtual_hosts,
)
from controlplane.mesh.registry.endpoints import subset_endpoints
from controlplane.mesh.registry.services import ServiceRef, find_services, service, service_ports
from controlplane.mesh.routing.domains import EgressHosts, claimants_of_host, entry_domains, is_any_domain_claimed, table_shards
from controlplane.mesh.routing.istio_routes import default_rule
from controlplane.mesh.routing.route_tables import RouteClient, RouteTable, TableEntry, route_client, table_entries
from controlplane.mesh.routing.scopes import OutboundScope, outbound_policy
from controlplane.mesh.routing.virtual_services import RouteContext, routes_of_virtual_service, rules_of_virtual_service
from controlplane.mesh.shards import Shard
from controlplane.model.keys import Key
from controlplane.model.mesh import OutboundPolicy
from controlplane.translate.routes.virtual_hosts import route_configuration
from controlplane.xds.resource import Resource
from controlplane.xds.stream import VirtualHostsBy

ANY_DOMAIN = "*"


class RouteConfigurationHead(NamedTuple):
    """A RouteConfiguration without its virtual hosts."""

    name: str
    catch_all: OutboundPolicy | None  # None: a host of the table matches everything
    ports_in_domains: bool
    vhds: bool  # Envoy waits 15 s for virtual hosts: only where there is at least one


@query
def virtual_host_body(
    db: Database, host: str, port: int, ref: ServiceRef | None, route: Key | None, client: RouteClient, address: str
) -> EncodedVirtualHost | None:
    """Return what requests to ``port`` of ``host`` from proxies of ``client`` go through, by the VirtualService ``route`` if any.

    With ``address`` those to that endpoint of the host, as its clients choose one themselves. ``None``: there is no such host.
    """
    context = RouteContext(port, client.namespace, client.labels)
    routes = routes_of_virtual_service(db, route, context, RequestPort(port)) if route else None
    if routes is not None and not address:
        return encoded_virtual_host(host, port, routes)
    rules = rules_of_virtual_service(db, route, context) if route and routes is not None else None
    if rules is None:
        target = _target(db, ref, port, client.namespace) if ref else None
        if target is None:
            return None
        hashed_by = hash_policy(db, target, rule_client(db, target, client.namespace, client.labels), port, "")
        rules = (default_rule(ServiceBackend(target.host, port), hashed_by.key if hashed_by else None),)
    if address and ref:
        rules = tuple(_to_endpoint(db, rule, ref, client, address) for rule in rules)
    return encoded_virtual_host(host, port, encoded_routes(rules, RequestPort(port)))


def _target(db: Database, ref: ServiceRef, port: int, client_namespace: str) -> ServiceRef | None:
    """Return the service that ``port`` of ``ref`` leads to: another one where ``ref`` is another name, none where that has no such port."""
    mesh_service = service(db, ref)
    if not mesh_service or not mesh_service.other_name:
        return ref
    return service_ports(db, find_services(db, ref.host, client_namespace)).get(port)


def _to_endpoint(db: Database, rule: HttpRule, ref: ServiceRef, client: RouteClient, address: str) -> HttpRule:
    """Return ``rule`` with what it sends to ``ref`` going to the endpoint at ``address``, whose subsets are the ones that it is in."""
    action = rule.action
    if not isinstance(action, Forward):
        return rule
    chosen = []
    for weighted in action.backends:
        backend = weighted.backend
        if isinstance(backend, ServiceBackend) and backend.host == ref.host:
            subset = backend.subset if _is_in(db, ref, client, backend, address) else ""
            backend = replace(backend, endpoint=address, subset=subset)
        chosen.append(replace(weighted, backend=backend))
    return replace(rule, action=replace(action, backends=tuple(chosen)))


def _is_in(db: Database, ref: ServiceRef, client: RouteClient, backend: ServiceBackend, address: str) -> bool:
    """Return whether the endpoint at ``address`` is in the subset of ``backend``."""
    labels = subset_labels(db, ref, rule_client(db, ref, client.namespace, client.labels), backend.subset)
    return labels is not None and any(endpoint.address == address for endpoint in subset_endpoints(db, ref, backend.port, labels))


@query
def route_table_parts(db: Database, scope: OutboundScope, table: RouteTable, hosts_by: VirtualHostsBy) -> Members:
    """Return the RouteConfiguration of ``table`` and, where they come so, its virtual hosts as resources of their own."""
    if hosts_by is VirtualHostsBy.RDS:
        return frozenset({ResourcePart(inline_route_configuration, (scope, table))})
    egress_hosts = table.egress_hosts
    head = RouteConfigurationHead(
        table.name, _catch_all(db, scope, egress_hosts), egress_hosts.port is None, vhds=is_any_domain_claimed(db, egress_hosts)
    )
    groups = {
        PartGroup(virtual_hosts_of_shard, (table, shard, route_client(db, scope, egress_hosts, shard)))
        for shard in table_shards(db, egress_hosts)
    }
    return frozenset({ResourcePart(vhds_route_configuration, (head,)), *groups})


@query
def virtual_hosts_of_shard(db: Database, table: RouteTable, shard: Shard, client: RouteClient) -> Members:
    """Return the virtual hosts of ``table`` that are of objects of ``shard``, as ``client`` sees them."""
    return frozenset(
        ResourcePart(virtual_host_resource, (table.name, entry)) for entry in table_entries(db, table.egress_hosts, shard, client)
    )


@query
def virtual_host_resource(db: Database, table: str, entry: TableEntry) -> Resource | Stopgap | None:
    """Return the virtual host ``entry`` of the RouteConfiguration ``table`` as a resource of its own."""
    body = db.attempt(virtual_host_body, *_body_of(entry))
    return None if body is None else as_own_resource(table, entry.name, _entry_domains(db, entry), body)


@query
def vhds_route_configuration(db: Database, head: RouteConfigurationHead) -> Resource | None:
    """Return the RouteConfiguration whose virtual hosts come as resources of their own."""
    del db
    return checked_resource(
        RDS,
        head.name,
        route_configuration(head.name, catch_all=head.catch_all, vhds=head.vhds, ports_in_domains=head.ports_in_domains),
    )


@query
def inline_route_configuration(db: Database, scope: OutboundScope, table: RouteTable) -> Resource | None:
    """Return the RouteConfiguration of ``table`` with all its virtual hosts in it."""
    egress_hosts = table.egress_hosts
    entries = [
        entry
        for shard in table_shards(db, egress_hosts)
        for entry in table_entries(db, egress_hosts, shard, route_client(db, scope, egress_hosts, shard))
    ]
    entries.sort(key=lambda entry: entry.name)
    hosts = [
        (entry.name, _entry_domains(db, entry), unless_failed(body))
        for entry in entries
        if (body := db.attempt(virtual_host_body, *_body_of(entry))) is not None
    ]
    message = route_configuration(
        table.name, catch_all=_catch_all(db, scope, egress_hosts), vhds=False, ports_in_domains=egress_hosts.port is None
    )
    return with_virtual_hosts(message, hosts)


def _body_of(entry: TableEntry) -> tuple[str, int, ServiceRef | None, Key | None, RouteClient, str]:
    """Return what the routes of ``entry`` are asked for by."""
    named = entry.named
    address = named.endpoint.address if named.endpoint else ""
    return named.host, named.port, named.ref, entry.route, RouteClient(entry.client_namespace, entry.labels), address


def _entry_domains(db: Database, entry: TableEntry) -> tuple[str, ...]:
    domains = entry_domains(db, entry.named)
    return tuple(domain for domain in domains if domain not in entry.denied) if entry.denied else domains


def _catch_all(db: Database, scope: OutboundScope, egress_hosts: EgressHosts) -> OutboundPolicy | None:
    """Return the policy for requests that no host matches; ``None`` where a host matches every request."""
    if claimants_of_host(db, egress_hosts, ANY_DOMAIN):
        return None
    return outbound_policy(db, scope.sidecar)
