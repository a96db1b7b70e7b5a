"""The root of a scope's outbound resources, and its listeners."""

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
from controlplane.mesh.registry.mesh_settings import mesh_settings, outbound_connection_settings
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
    parts: set[ResourcePart | PartGroup] = {
        ResourcePart(black_hole_cluster, ()),
        ResourcePart(passthrough_cluster, ()),
        PartGroup(outbound_listeners, (scope,)),
    }
    for egress in egress_listeners(db, scope):
        for owner in service_owners(db, client_namespace, egress.hosts):
            rule_client_namespace = (
                scope.namespace if scope.namespace in rule_client_namespaces(db, client_namespace, egress.hosts, owner) else PUBLIC
            )
            parts.add(PartGroup(clusters_of_owner, (client_namespace, egress.hosts, owner, rule_client_namespace, scope.identified)))
    parts |= {PartGroup(route_table_parts, (scope, table, variant)) for table in route_tables(db, scope)}
    return frozenset(parts)


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
    """Return the namespaces whose DestinationRules for some service of ``owner`` differ from the public ones."""
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
    candidates: list[OutboundListener] = []
    for egress in egress_listeners(db, scope):
        explicit = egress.port is not None
        listening = (
            explicit_listeners(db, client_namespace, egress, families)
            if explicit
            else captured_listeners(db, client_namespace, egress.hosts, families)
        )
        candidates.extend(listener for listener in listening if scope.captured or listener.binds)
    settings = mesh_settings(db)
    ports = (settings.outbound_port, settings.inbound_port, *STATUS_PORTS) if scope.captured else ()
    own_addresses = ((bind, port) for bind in wildcard(families) for port in ports)
    parts = {ResourcePart(outbound_listener, (listener,)) for listener in _without_conflicts(candidates, own_addresses)}
    if scope.captured:
        parts.add(ResourcePart(virtual_outbound, (outbound_policy(db, scope.sidecar), families)))
        if (port := settings.http_proxy_port) is not None:
            parts.add(ResourcePart(http_proxy_listener, (port,)))
    return frozenset(parts)


def _without_conflicts(candidates: Iterable[OutboundListener], own_addresses: Iterable[tuple[str, int]]) -> Iterator[OutboundListener]:
    """Yield the listeners of ``candidates`` without the addresses that an earlier one has: Envoy refuses a second for the same.

    ``own_addresses`` are those that a proxy listens on itself: a service with such a port would stop the traffic of all who see it.
    """
    taken = {(bind.strip("[]"), port) for bind, port in own_addresses}
    for listener in candidates:
        also = tuple(address for address in listener.also if (address.strip("[]"), listener.port) not in taken)
        if (listener.bind.strip("[]"), listener.port) not in taken:
            yield replace(listener, also=also)
            taken.update((address.strip("[]"), listener.port) for address in (listener.bind, *also))


@query
def explicit_listeners(
    db: Database, client_namespace: str, egress: EgressListenerScope, families: IpFamilies
) -> tuple[OutboundListener, ...]:
    """Return the listener of an egress listener that names its port."""
    port = egress.port or 0
    protocol = parse_protocol(egress.protocol)
    bind, *also = (egress.bind,) if egress.bind else (LOOPBACK,) if egress.binds else wildcard(families)
    if protocol.is_http or protocol is Protocol.HTTP_PROXY:
        return (OutboundListener(bind=bind, also=tuple(also), port=port, binds=egress.binds, route=str(port)),)
    chains = tuple(
        TcpChain(cluster=cluster_name(OUTBOUND, port, "", ref.host))
        for ref in imported_services(db, client_namespace, egress.hosts)
        if (mesh_service := service(db, ref)) and mesh_service.port(port)
    )
    return (OutboundListener(bind=bind, also=tuple(also), port=port, binds=egress.binds, chains=chains[:1]),) if chains else ()


@query
def captured_listeners(db: Database, client_namespace: str, hosts: tuple[str, ...], families: IpFamilies) -> tuple[OutboundListener, ...]:
    """Return the listeners for every port of what is seen through ``hosts``.

    HTTP shares a listener a port; other protocols have one at each of the service's addresses. Where both share a port without
    an address, HTTP is recognized by its first bytes.
    """
    http: set[int] = set()
    shared_chains: dict[int, list[TcpChain]] = {}
    by_name: dict[str, OutboundListener] = {}
    for ref in imported_services(db, client_namespace, hosts):
        mesh_service = service(db, ref)
        for port in mesh_service.ports if mesh_service else ():
            if port.protocol.is_http:
                http.add(port.number)
            elif mesh_service and port.protocol != Protocol.UDP:
                for listener in _own_listeners(db, ref, mesh_service, port):
                    if families.includes(listener.bind):
                        by_name.setdefault(listener.name, listener)
                if not has_address(mesh_service):
                    shared_chains.setdefault(port.number, []).extend(_wildcard_chains(mesh_service, port))
                    http |= {port.number} if port.protocol == Protocol.UNSUPPORTED else set()
    for number in sorted(http | shared_chains.keys()):
        chains = _distinct(shared_chains.get(number, []))
        if number in http or chains:
            route = str(number) if number in http else ""
            bind, *also = wildcard(families)
            listener = OutboundListener(bind=bind, also=tuple(also), port=number, binds=False, route=route, chains=chains)
            by_name[listener.name] = listener
    return tuple(by_name[name] for name in sorted(by_name))


def _own_listeners(db: Database, ref: ServiceRef, mesh_service: Service, port: ServicePort) -> Iterator[OutboundListener]:
    """Yield the listeners at the service's addresses; at its endpoints', where clients look these up themselves."""
    if has_address(mesh_service):
        yield from _address_listeners(mesh_service, port)
    elif mesh_service.headless and mesh_service.resolution is Resolution.ENDPOINTS and port.protocol != Protocol.UNSUPPORTED:
        cluster = cluster_name(OUTBOUND, port.number, "", mesh_service.host)
        for endpoint in endpoints(db, ref, port.number):
            yield OutboundListener(bind=endpoint.address, port=port.number, binds=False, chains=(TcpChain(cluster=cluster),))


def _address_listeners(mesh_service: Service, port: ServicePort) -> Iterator[OutboundListener]:
    cluster = cluster_name(OUTBOUND, port.number, "", mesh_service.host)
    route = f"{mesh_service.host}:{port.number}" if port.protocol == Protocol.UNSUPPORTED else ""
    for address in mesh_service.addresses:
        if "/" not in address:
            yield OutboundListener(bind=address, port=port.number, binds=False, route=route, chains=(TcpChain(cluster=cluster),))


def _wildcard_chains(mesh_service: Service, port: ServicePort) -> Iterator[TcpChain]:
    cluster = cluster_name(OUTBOUND, port.number, "", mesh_service.host)
    blocks = [address for address in mesh_service.addresses if "/" in address]
    if blocks:
        yield from (TcpChain(cluster=cluster, cidr=block) for block in blocks)
    elif not mesh_service.headless or port.protocol == Protocol.UNSUPPORTED:
        target = clusters.PASSTHROUGH if port.protocol == Protocol.UNSUPPORTED else cluster
        yield TcpChain(cluster=target)


def _distinct(chains: list[TcpChain]) -> tuple[TcpChain, ...]:
    """Return ``chains`` without those that match the same as an earlier one."""
    by_cidr: dict[str, TcpChain] = {}
    for chain in chains:
        by_cidr.setdefault(chain.cidr, chain)
    return tuple(sorted(by_cidr.values(), key=lambda chain: (chain.cidr == "", chain.cidr)))


@query
def outbound_listener(db: Database, listener: OutboundListener) -> Resource | None:
    """Return the listener of ``listener``."""
    return checked_resource(LDS, listener.name, listeners.outbound_listener(listener, outbound_connection_settings(db)))


@query
def virtual_outbound(db: Database, policy: OutboundPolicy, families: IpFamilies) -> Resource | None:
    """Return the listener that iptables send every outbound connection to."""
    catch_all = clusters.PASSTHROUGH if policy is OutboundPolicy.ALLOW_ANY else clusters.BLACK_HOLE
    message = listeners.virtual_outbound(mesh_settings(db).outbound_port, catch_all, outbound_connection_settings(db), families)
    return checked_resource(LDS, message.name, message)


@query
def http_proxy_listener(db: Database, port: int) -> Resource | None:
    """Return the listener that applications name as their HTTP proxy."""
    message = listeners.http_proxy(port, outbound_connection_settings(db))
    return checked_resource(LDS, message.name, message)
