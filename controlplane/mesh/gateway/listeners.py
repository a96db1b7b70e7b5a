"""What gateways listen on, and where whole connections go that come in there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.envoy.type_urls import LDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.access.policies import effective, through_gateways
from controlplane.mesh.gateway.gateways import Edge, Viewer, served, viewer, written
from controlplane.mesh.gateway.route_tables import bound, shared_hosts, table_name
from controlplane.mesh.gateway.server_merge import OPAQUE, Kind, Place, Port, Served, hosts_of, serves_http
from controlplane.mesh.inputs import objects
from controlplane.mesh.publish.encode import checked
from controlplane.mesh.publish.parts import Leaf, Members
from controlplane.mesh.routing.virtual_services import Asker, applies, cluster_of
from controlplane.mesh.sidecar.inbound import everybody
from controlplane.model.hosts import ANY, for_namespace, intersection
from controlplane.model.keys import Key
from controlplane.objects.networking.virtual_service import ConnectionMatch, RouteDestination, TLSMatchAttributes, VirtualService
from controlplane.translate.gateway import Chain, GatewayListener, gateway_listener
from controlplane.translate.gateway_tls import Termination, needs_identity
from controlplane.xds.resource import Resource

Clusters = tuple[tuple[str, int], ...]


@query
def listeners_of(db: Database, edge: Edge) -> Members:
    """Return the listeners of ``edge``, one a port."""
    return frozenset(Leaf(listener, (edge, port.bind, port.number)) for port in served(db, edge).ports)


@query
def port_of(db: Database, edge: Edge, bind: str, number: int) -> Port | None:
    """Return the port ``number`` of ``bind`` on ``edge``."""
    return next((port for port in served(db, edge).ports if (port.bind, port.number) == (bind, number)), None)


@query
def listener(db: Database, edge: Edge, bind: str, number: int) -> Resource | None:
    """Return the listener on port ``number`` of ``bind``, with the policies of ``edge``; nothing where no connection could be taken."""
    port = port_of(db, edge, bind, number)
    value = _on(db, edge, port) if port else None
    policies = effective(db, edge.namespace, edge.labels)
    return checked(LDS, value.name, gateway_listener(value, through_gateways(db, policies))) if value else None


@query
def routers(db: Database, place: Place, served: Served, namespace: str) -> tuple[Key, ...]:
    """Return the VirtualServices, oldest first, that route whole connections to ``served`` at ``place`` for proxies of ``namespace``."""
    heads = bound(db, place.gateway, namespace)
    return tuple(each.key for each in heads if shared_hosts(each, place, served.server))


def _on(db: Database, edge: Edge, port: Port) -> GatewayListener | None:
    """Return what is listened for on ``port``; nothing where no connection could be taken."""
    chains: list[Chain] = []
    for each in port.servers:
        route = table_name(port, each) if serves_http(each.server) else ""
        terminated = _termination(db, each) if port.kind is Kind.TLS else None
        if terminated and not edge.identified and needs_identity(terminated.settings):
            continue  # whoever has no identity is given no secret
        if route:
            chains.append(Chain(names=each.names, termination=terminated, route=route))
        else:
            chains.extend(_of_connections(db, each, terminated, viewer(db, edge)))
    if port.kind is Kind.HTTP:
        chains = chains[:1]
    distinct = tuple(_distinct(chains))
    return GatewayListener(bind=port.bind, port=port.number, chains=distinct, topology=edge.topology) if distinct else None


def _termination(db: Database, served: Served) -> Termination | None:
    said = served.server.tls
    if said is None or said.mode in OPAQUE:
        return None
    return Termination(said, everybody(db))


def _of_connections(db: Database, served: Served, terminated: Termination | None, seer: Viewer) -> Iterator[Chain]:
    place = served.place
    asker = Asker(served.server.port.number, seer.namespace, seer.labels, (written(place.gateway),))
    opaque = bool(served.names) and terminated is None
    for key in routers(db, place, served, seer.namespace):
        value = objects(db, key)
        if not isinstance(value, VirtualService):
            continue
        for route in value.spec.tls if opaque else value.spec.tcp:
            clusters = _clusters(db, route.route, key, asker)
            for match in route.match or (ConnectionMatch(),):
                if applies(match, value, asker):
                    names = _called(match, served, key.namespace) if opaque else served.names
                    if names or not served.names:
                        yield Chain(names=names, subnets=match.destination_subnets, termination=terminated, clusters=clusters)


def _called(match: ConnectionMatch, served: Served, namespace: str) -> tuple[str, ...]:
    """Return the server names of ``match``, in an object of ``namespace``, that ``served`` has."""
    wanted = match.sni_hosts if isinstance(match, TLSMatchAttributes) else ()
    own = for_namespace(hosts_of(served.server, served.place.gateway.namespace), namespace)
    return intersection(intersection((each.lower() for each in wanted), own), served.names)


def _clusters(db: Database, routes: Iterable[RouteDestination], key: Key, asker: Asker) -> Clusters:
    """Return where connections go, with weights; a destination of no weight gets none."""
    routes = tuple(routes)
    weighted = [each for each in routes if each.weight or len(routes) == 1]
    return tuple((cluster_of(db, each.destination, key, asker.port, asker.namespace), each.weight) for each in weighted)


def _distinct(chains: Iterable[Chain]) -> Iterator[Chain]:
    """Yield ``chains`` less what Envoy could not tell from an earlier one: it would refuse the whole listener."""
    taken: set[tuple[str, str]] = set()
    for chain in chains:
        called = (ANY,) if not chain.names or ANY in chain.names else chain.names
        blocks = chain.subnets or (ANY,)
        names = tuple(name for name in called if not any((name, block) in taken for block in blocks))
        if names:
            taken.update((name, block) for name in names for block in blocks)
            yield replace(chain, names=() if names == (ANY,) else names)
