"""Which listeners a sidecar has for the connections of its workload, and which connections each takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import Handling, HttpRouting, OutboundListener, ProtocolDetection, TcpForwarding
from controlplane.mesh.destinations.destination_rules import rule_audience, selected_label_names
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, service
from controlplane.mesh.routing.connection_routes import ConnectionClient
from controlplane.mesh.routing.scopes import (
    EgressListenerScope,
    OutboundScope,
    all_imported_services,
    client_namespace_for_routes,
    imported_services,
    imported_shards,
)
from controlplane.mesh.routing.virtual_services import Audience, route_audience
from controlplane.mesh.shards import Shard
from controlplane.mesh.sidecar.connection_claims import ANYWHERE, Claim, anywhere, at_block, connection_claims, merge, with_fallthrough
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.services import Service
from controlplane.translate.addresses import wildcard
from controlplane.translate.clusters.clusters import BLACK_HOLE, PASSTHROUGH
from controlplane.translate.listeners.outbound import LOOPBACK


class EgressClient(NamedTuple):
    """Whose connections a listener takes, by what its chains depend on: equal proxies share them."""

    client_namespace: str  # by which services are looked up
    connections: ConnectionClient
    families: IpFamilies


class ServiceClaim(NamedTuple):
    """A claim of connections to a port, and whose it is.

    ``None``: all services that carry HTTP there claim its requests alike, so that one more of them makes no difference.
    """

    created: str
    ref: ServiceRef | None
    number: int
    claim: Claim


def egress_client(db: Database, scope: OutboundScope, hosts: tuple[str, ...]) -> EgressClient:
    """Return the client by which to look up what ``scope`` listens on for what it sees through the egress ``hosts``."""
    client_namespace = client_namespace_for_routes(db, scope.namespace)
    audience = connection_audience(db, client_namespace, hosts)
    special = client_namespace != PUBLIC or scope.namespace in audience.namespaces
    labels = tuple(pair for pair in scope.labels if pair[0] in audience.label_keys)
    return EgressClient(client_namespace, ConnectionClient(scope.namespace if special else PUBLIC, labels, hosts), scope.families)


@query
def connection_audience(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> Audience:
    """Return the clients whose connections, of what is seen through ``hosts``, are not handled as everybody's."""
    audiences = [_audience_of_shard(db, client_namespace, hosts, shard) for shard in imported_shards(db, client_namespace, hosts)]
    return Audience(
        frozenset().union(*(audience.namespaces for audience in audiences)),
        frozenset().union(*(audience.label_keys for audience in audiences)),
    )


@query
def _audience_of_shard(db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard) -> Audience:
    namespaces: set[str] = set()
    label_keys: set[str] = set()
    for ref in imported_services(db, client_namespace, hosts, shard):
        mesh_service = service(db, ref)
        if mesh_service and not all(port.protocol.is_http for port in mesh_service.ports):
            audience = route_audience(db, ref.host)
            namespaces |= audience.namespaces | rule_audience(db, ref)
            label_keys |= audience.label_keys | selected_label_names(db, ref)
    return Audience(frozenset(namespaces), frozenset(label_keys))


@query
def listeners_of_egress(
    db: Database, egress: EgressListenerScope, client: EgressClient, policy: OutboundPolicy
) -> tuple[OutboundListener, ...]:
    """Return the listeners of ``egress``: one for its port, or those for every port of what is seen through it."""
    unknown = TcpForwarding(clusters=((PASSTHROUGH if policy is OutboundPolicy.ALLOW_ANY else BLACK_HOLE, 0),))
    if egress.port is None:
        return tuple(_captured_listeners(db, client, unknown))
    listener = _explicit_listener(db, egress, egress.port, client, unknown)
    return (listener,) if listener else ()


@query
def _claims_of_shard(db: Database, client: EgressClient, shard: Shard) -> frozenset[ServiceClaim]:
    """Return what the services of ``shard`` claim of connections."""
    found = set()
    for ref in imported_services(db, client.client_namespace, client.connections.hosts, shard):
        mesh_service = service(db, ref)
        if mesh_service is None:
            continue
        for port in mesh_service.ports:
            for claim in connection_claims(db, ref, port.number, port.protocol, client.connections):
                shared = claim.bind == ANYWHERE and isinstance(claim.rest, HttpRouting) and not claim.chains
                created, claimant = ("", None) if shared else (mesh_service.created, ref)
                found.add(ServiceClaim(created, claimant, port.number, claim))
    return frozenset(found)


def _captured_listeners(db: Database, client: EgressClient, unknown: TcpForwarding) -> Iterator[OutboundListener]:
    """Yield the listeners for every port: one for each address that a service claims, and one for all other addresses."""
    shards = imported_shards(db, client.client_namespace, client.connections.hosts)
    claims: dict[tuple[int, str], list[Claim]] = {}
    by_port = {made for shard in shards for made in _claims_of_shard(db, client, shard)}
    for made in sorted(by_port, key=lambda made: (made.ref is not None, made.created, made.ref or ())):
        claims.setdefault((made.number, made.claim.bind), []).append(made.claim)
    for (number, bind), merged in sorted(claims.items()):
        if bind == ANYWHERE:
            first, *also = wildcard(client.families)
            yield _listener(first, number, merged, unknown, also=tuple(also))
        elif client.families.includes(bind):
            yield _listener(bind, number, merged, unknown)


def _explicit_listener(
    db: Database, egress: EgressListenerScope, number: int, client: EgressClient, unknown: TcpForwarding
) -> OutboundListener | None:
    """Return the listener of an egress listener that names its port; ``None`` where nothing is seen through it.

    What is told apart by its port alone is not there under another one: it would take every connection.
    """
    protocol = parse_protocol(egress.protocol)
    bind, *also = (egress.bind,) if egress.bind else (LOOPBACK,) if egress.binds else wildcard(client.families)
    if protocol.is_http or protocol is Protocol.HTTP_PROXY:
        by_address = any(mesh_service.by_address and mesh_service.port(number) for _, mesh_service in _oldest_first(db, client))
        claims = [Claim(ANYWHERE, rest=HttpRouting(str(number), by_address=by_address))]
    else:
        carried = protocol if protocol.is_tls else Protocol.TCP
        claims = [
            claim
            for ref, mesh_service in _oldest_first(db, client)
            if (port := mesh_service.port_behind(number))
            for claim in connection_claims(db, ref, port.number, carried, client.connections)
            if port.number == number or egress.binds or claim.bind != ANYWHERE or claim.rest is None
        ]
    if not claims:
        return None
    if egress.binds:
        direct = [anywhere(claim) for claim in claims]
        nowhere = TcpForwarding(clusters=((BLACK_HOLE, 0),))  # the address of the connection is the listener's own
        return _listener(bind, number, direct, nowhere, binds=True)
    return _listener(bind, number, [at_block(claim) for claim in claims], unknown, also=tuple(also))


def _listener(
    bind: str, number: int, claims: Sequence[Claim], unknown: TcpForwarding, *, also: tuple[str, ...] = (), binds: bool = False
) -> OutboundListener:
    """Return the listener at ``number`` of ``bind`` for ``claims``, which has what none of them is for go where ``unknown`` says."""
    merged = merge(claims)
    default: Handling = merged.rest or unknown
    if merged.http:
        other = default if isinstance(default, TcpForwarding) else unknown
        default = HttpRouting(merged.http.route) if binds else ProtocolDetection(merged.http, other)
    return OutboundListener(
        bind=bind, also=also, port=number, binds=binds, chains=with_fallthrough(merged.chains, default), default=default
    )


def _oldest_first(db: Database, client: EgressClient) -> list[tuple[ServiceRef, Service]]:
    refs = all_imported_services(db, client.client_namespace, client.connections.hosts)
    services = [(ref, mesh_service) for ref in refs if (mesh_service := service(db, ref))]
    return sorted(services, key=lambda pair: (pair[1].created, pair[0]))


def without_conflicts(candidates: Iterable[OutboundListener], own_addresses: Iterable[tuple[str, int]]) -> Iterator[OutboundListener]:
    """Yield the listeners of ``candidates`` without the addresses that an earlier one has: Envoy refuses a second for the same.

    ``own_addresses`` are those that a proxy listens on itself: a service with such a port would stop the traffic of all who see it.
    """
    taken = {(bind.strip("[]"), port) for bind, port in own_addresses}
    for listener in candidates:
        also = tuple(address for address in listener.also if (address.strip("[]"), listener.port) not in taken)
        if (listener.bind.strip("[]"), listener.port) not in taken:
            yield replace(listener, also=also)
            taken.update((address.strip("[]"), listener.port) for address in (listener.bind, *also))
