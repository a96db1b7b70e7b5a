"""Where connections go that are not routed request by request: the ``tls`` and ``tcp`` routes of VirtualServices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.backends import ServiceBackend
from controlplane.ir.listeners import NO_LIMITS, ChainMatch, TcpForwarding, TcpLimits
from controlplane.mesh.destinations.destination_rules import rule_client
from controlplane.mesh.destinations.traffic_policies import tcp_limits
from controlplane.mesh.inputs import objects
from controlplane.mesh.routing.virtual_services import RouteContext, backend_of, match_applies, seen_virtual_services, service_behind
from controlplane.model.deferrals import MissingDestination
from controlplane.model.keys import Key
from controlplane.model.services import Labels
from controlplane.objects.networking.virtual_service import ConnectionMatch, RouteDestination, TLSMatchAttributes, VirtualService


class ConnectionRule(NamedTuple):
    """Which connections go where."""

    match: ChainMatch
    forwarding: TcpForwarding


class ConnectionClient(NamedTuple):
    """Whose connections they are: the namespace, the labels that some match looks at, and the egress hosts that the proxy sees."""

    namespace: str
    labels: Labels
    hosts: tuple[str, ...]


@query
def sidecar_connection_rules(
    db: Database,
    host: str,
    port: int,
    client: ConnectionClient,
    tls: bool,  # noqa: FBT001 - a part of the key
) -> tuple[ConnectionRule, ...]:
    """Return the rules for connections to ``port`` of ``host`` from the sidecars of ``client``, in order.

    Those of the VirtualService that names the host most narrowly come first. ``tls``: the ``tls`` routes, else the ``tcp`` routes.
    """
    context = RouteContext(port, client.namespace, client.labels)
    seen = seen_virtual_services(db, host, client.namespace, client.hosts)
    return tuple(rule for head in seen for rule in connection_rules(db, head.key, context, tls=tls))


def connection_rules(db: Database, key: Key, context: RouteContext, *, tls: bool) -> Iterator[ConnectionRule]:
    """Yield the rules of the VirtualService ``key`` for ``context``: of its ``tls`` routes, or of its ``tcp`` routes."""
    virtual_service = objects(db, key)
    if not isinstance(virtual_service, VirtualService):
        return
    for route in virtual_service.spec.tls if tls else virtual_service.spec.tcp:
        applying = [match for match in route.match or (ConnectionMatch(),) if match_applies(match, virtual_service, context)]
        if applying and (forwarding := _forwarding(db, route.route, key, context)):
            yield from (ConnectionRule(_chain_match(match), forwarding) for match in applying)


def masked(block: str) -> str:
    """Return ``block``, in CIDR notation or an address alone, as every other way to write it is: ``10.1.2.3/8`` is ``10.0.0.0/8``."""
    return str(ip_network(block, strict=False))


def _chain_match(match: ConnectionMatch) -> ChainMatch:
    names = match.sni_hosts if isinstance(match, TLSMatchAttributes) else ()
    blocks = tuple(masked(block) for block in match.destination_subnets)
    return ChainMatch(server_names=names, subnets=blocks)


def _forwarding(db: Database, routes: Iterable[RouteDestination], key: Key, context: RouteContext) -> TcpForwarding | None:
    """Return where ``routes``, written in the VirtualService ``key``, lead; destinations without a weight get no connections.

    What the first is held to holds for all: it is told to Envoy before one is chosen.
    """
    routes = tuple(routes)
    weighted = [route for route in routes if route.weight or len(routes) == 1]
    if not weighted:
        return None
    backends = [backend_of(db, route.destination, key, context) for route in weighted]
    clusters = tuple((backend.cluster, route.weight) for backend, route in zip(backends, weighted, strict=True))
    missing = frozenset(MissingDestination(key, backend.destination) for backend in backends if backend.missing)
    return TcpForwarding(clusters=clusters, limits=_limits(db, backends[0], context), missing=missing)


def _limits(db: Database, backend: ServiceBackend, context: RouteContext) -> TcpLimits:
    ref = service_behind(db, backend, context.namespace)
    if ref is None:
        return NO_LIMITS
    return tcp_limits(db, ref, rule_client(db, ref, context.namespace, context.labels), backend.port, backend.subset)
