"""What a scope sees: the root that everything outbound hangs from, and its listeners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.envoy.type_urls import LDS
from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import OutboundListener, TcpChain
from controlplane.mesh.destinations.clusters import black_hole_cluster, passthrough_cluster, service_clusters
from controlplane.mesh.destinations.destination_rules import client_namespace_for_rules, rule_audience
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, PartGroup, ResourcePart
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, service
from controlplane.mesh.routing.route_tables import has_address, route_tables
from controlplane.mesh.routing.scopes import (
    EgressListenerScope,
    OutboundScope,
    client_namespace_for_routes,
    egress_listeners,
    imported_services,
    outbound_policy,
)
from controlplane.mesh.routing.virtual_hosts import route_table_parts
from controlplane.model.cluster_names import OUTBOUND, cluster_name
from controlplane.model.endpoint_policy import STATUS_PORTS
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.services import Resolution, Service, ServicePort
from controlplane.translate.addresses import wildcard
from controlplane.translate.clusters import clusters
from controlplane.translate.listeners import outbound as listeners
from controlplane.translate.listeners.outbound import LOOPBACK
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Variant


@query
def outbound_parts(db: Database, scope: OutboundScope, variant: Variant) -> Members:
    """Return what ``scope`` sees on a stream of ``variant``: clusters with their endpoints, listeners, and route tables."""
    client_namespace = client_namespace_for_routes(db, scope.namespace)
    found: set[ResourcePart | PartGroup] = {
        ResourcePart(black_hole_cluster, ()),
        ResourcePart(passthrough_cluster, ()),
        PartGroup(outbound_listeners, (scope,)),
    }
    for each in egress_listeners(db, scope):
        for owner in service_owners(db, client_namespace, each.hosts):
            rule_client_namespace = (
                scope.namespace if scope.namespace in rule_client_namespaces(db, client_namespace, each.hosts, owner) else PUBLIC
            )
            found.add(PartGroup(clusters_of_owner, (client_namespace, each.hosts, owner, rule_client_namespace, scope.identified)))
    found |= {PartGroup(route_table_parts, (scope, table, variant)) for table in route_tables(db, scope)}
    return frozenset(found)


@query
def service_owners(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> frozenset[str]:
    """Return the namespaces whose services ``client_namespace`` sees through ``hosts``."""
    return frozenset(ref.key.namespace for ref in imported_services(db, client_namespace, hosts))


@query
def services_of_owner(db: Database, client_namespace: str, hosts: tuple[str, ...], owner: str) -> tuple[ServiceRef, ...]:
    """Return the services of the namespace ``owner`` that ``client_namespace`` sees through ``hosts``."""
    return tuple(ref for ref in imported_services(db, client_namespace, hosts) if ref.key.namespace == owner)


@query
def rule_client_namespaces(db: Database, client_namespace: str, hosts: tuple[str, ...], owner: str) -> frozenset[str]:
    """Return the namespaces whose DestinationRules for some service of ``owner`` differ from everybody's."""
    return frozenset(namespace for ref in services_of_owner(db, client_namespace, hosts, owner) for namespace in rule_audience(db, ref))


@query
def clusters_of_owner(
    db: Database,
    client_namespace: str,
    hosts: tuple[str, ...],
    owner: str,
    rule_client_namespace: str,
    identified: bool,  # noqa: FBT001 - a part of the key
) -> Members:
    """Return the clusters of the services of ``owner`` by the rules that ``rule_client_namespace`` sees.

    ``identified``: for proxies that have a certificate.
    """
    return frozenset(
        PartGroup(service_clusters, (ref, client_namespace_for_rules(db, ref, rule_client_namespace), identified))
        for ref in services_of_owner(db, client_namespace, hosts, owner)
    )


@query
def outbound_listeners(db: Database, scope: OutboundScope) -> Members:
    """Return the outbound listeners of ``scope``."""
    client_namespace, families = client_namespace_for_routes(db, scope.namespace), scope.families
    found: list[OutboundListener] = []
    for each in egress_listeners(db, scope):
        explicit = each.port is not None
        own = (
            explicit_listeners(db, client_namespace, each, families)
            if explicit
            else captured_listeners(db, client_namespace, each.hosts, families)
        )
        found.extend(value for value in own if scope.captured or value.binds)
    mesh = mesh_settings(db)
    ports = (mesh.outbound_port, mesh.inbound_port, *STATUS_PORTS) if scope.captured else ()
    ours = ((bind, port) for bind in wildcard(families) for port in ports)
    leaves = {ResourcePart(outbound_listener, (value,)) for value in _apart(found, ours)}
    if scope.captured:
        leaves.add(ResourcePart(virtual_outbound, (outbound_policy(db, scope.sidecar), families)))
        if (port := mesh.http_proxy_port) is not None:
            leaves.add(ResourcePart(http_proxy_listener, (port,)))
    return frozenset(leaves)


def _apart(found: Iterable[OutboundListener], ours: Iterable[tuple[str, int]]) -> Iterator[OutboundListener]:
    """Yield the listeners of ``found`` less the addresses that an earlier one has: Envoy refuses a second for the same.

    ``ours`` are those that a proxy listens on itself: a service with such a port would stop the traffic of all who see it.
    """
    taken = {(bind.strip("[]"), port) for bind, port in ours}
    for value in found:
        also = tuple(each for each in value.also if (each.strip("[]"), value.port) not in taken)
        if (value.bind.strip("[]"), value.port) not in taken:
            yield replace(value, also=also)
            taken.update((each.strip("[]"), value.port) for each in (value.bind, *also))


@query
def explicit_listeners(
    db: Database, client_namespace: str, each: EgressListenerScope, families: IpFamilies
) -> tuple[OutboundListener, ...]:
    """Return the listener of an egress listener that names its port."""
    port = each.port or 0
    protocol = parse_protocol(each.protocol)
    bind, *also = (each.bind,) if each.bind else (LOOPBACK,) if each.binds else wildcard(families)
    if protocol.is_http or protocol is Protocol.HTTP_PROXY:
        return (OutboundListener(bind=bind, also=tuple(also), port=port, binds=each.binds, route=str(port)),)
    chains = tuple(
        TcpChain(cluster=cluster_name(OUTBOUND, port, "", ref.host))
        for ref in imported_services(db, client_namespace, each.hosts)
        if (known := service(db, ref)) and known.port(port)
    )
    return (OutboundListener(bind=bind, also=tuple(also), port=port, binds=each.binds, chains=chains[:1]),) if chains else ()


@query
def captured_listeners(db: Database, client_namespace: str, hosts: tuple[str, ...], families: IpFamilies) -> tuple[OutboundListener, ...]:
    """Return the listeners for every port of what is seen through ``hosts``.

    HTTP shares a listener a port; other protocols are told apart by the service's addresses. Where both share a port without an
    address, HTTP is told from the rest by its first bytes.
    """
    http: set[int] = set()
    shared: dict[int, list[TcpChain]] = {}
    found: dict[str, OutboundListener] = {}
    for ref in imported_services(db, client_namespace, hosts):
        known = service(db, ref)
        for port in known.ports if known else ():
            if port.protocol.is_http:
                http.add(port.number)
            elif known and port.protocol != Protocol.UDP:
                for value in _own_listeners(db, ref, known, port):
                    if families.includes(value.bind):
                        found.setdefault(value.name, value)
                if not has_address(known):
                    shared.setdefault(port.number, []).extend(_on_wildcard(known, port))
                    http |= {port.number} if port.protocol == Protocol.UNSUPPORTED else set()
    for number in sorted(http | shared.keys()):
        chains = _distinct(shared.get(number, []))
        if number in http or chains:
            route = str(number) if number in http else ""
            bind, *also = wildcard(families)
            value = OutboundListener(bind=bind, also=tuple(also), port=number, binds=False, route=route, chains=chains)
            found[value.name] = value
    return tuple(found[name] for name in sorted(found))


def _own_listeners(db: Database, ref: ServiceRef, known: Service, port: ServicePort) -> Iterator[OutboundListener]:
    """Yield the listeners at the service's addresses; at its endpoints', where clients look these up themselves."""
    if has_address(known):
        yield from _at_addresses(known, port)
    elif known.headless and known.resolution is Resolution.ENDPOINTS and port.protocol != Protocol.UNSUPPORTED:
        cluster = cluster_name(OUTBOUND, port.number, "", known.host)
        for each in endpoints(db, ref, port.number):
            yield OutboundListener(bind=each.address, port=port.number, binds=False, chains=(TcpChain(cluster=cluster),))


def _at_addresses(known: Service, port: ServicePort) -> Iterator[OutboundListener]:
    cluster = cluster_name(OUTBOUND, port.number, "", known.host)
    route = f"{known.host}:{port.number}" if port.protocol == Protocol.UNSUPPORTED else ""
    for address in known.addresses:
        if "/" not in address:
            yield OutboundListener(bind=address, port=port.number, binds=False, route=route, chains=(TcpChain(cluster=cluster),))


def _on_wildcard(known: Service, port: ServicePort) -> Iterator[TcpChain]:
    cluster = cluster_name(OUTBOUND, port.number, "", known.host)
    blocks = [address for address in known.addresses if "/" in address]
    if blocks:
        yield from (TcpChain(cluster=cluster, cidr=block) for block in blocks)
    elif not known.headless or port.protocol == Protocol.UNSUPPORTED:
        target = clusters.PASSTHROUGH if port.protocol == Protocol.UNSUPPORTED else cluster
        yield TcpChain(cluster=target)


def _distinct(chains: list[TcpChain]) -> tuple[TcpChain, ...]:
    """Return ``chains`` less those that Envoy could not tell from an earlier one."""
    found: dict[str, TcpChain] = {}
    for chain in chains:
        found.setdefault(chain.cidr, chain)
    return tuple(sorted(found.values(), key=lambda chain: (chain.cidr == "", chain.cidr)))


@query
def outbound_listener(db: Database, value: OutboundListener) -> Resource | None:
    """Return the listener of ``value``."""
    del db
    return checked_resource(LDS, value.name, listeners.outbound_listener(value))


@query
def virtual_outbound(db: Database, policy: OutboundPolicy, families: IpFamilies) -> Resource | None:
    """Return the listener that iptables send every outbound connection to."""
    catch_all = clusters.PASSTHROUGH if policy is OutboundPolicy.ALLOW_ANY else clusters.BLACK_HOLE
    message = listeners.virtual_outbound(mesh_settings(db).outbound_port, catch_all, families)
    return checked_resource(LDS, message.name, message)


@query
def http_proxy_listener(db: Database, port: int) -> Resource | None:
    """Return the listener that applications name as their HTTP proxy."""
    del db
    message = listeners.http_proxy(port)
    return checked_resource(LDS, message.name, message)
