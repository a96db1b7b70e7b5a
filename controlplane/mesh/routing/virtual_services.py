"""Which VirtualService routes requests to a host, and its rules resolved to the clusters that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.ir.backends import ServiceBackend
from controlplane.ir.clusters import ConsistentHash
from controlplane.ir.rules import HttpRule, RequestPort
from controlplane.mesh.destinations.destination_rules import rule_audience, rule_client, selected_label_names, subset_labels
from controlplane.mesh.destinations.traffic_policies import hash_policy
from controlplane.mesh.facets import EVERYONE, NO_ONE, about_host, exports_of, of_kind, qualified_host
from controlplane.mesh.faults.requested import is_at_callee
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, connection_matches, gateway_name, gateways_of
from controlplane.mesh.inputs import index
from controlplane.mesh.publish.virtual_host_bytes import EncodedRoute, encoded_routes
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import (
    PUBLIC,
    ServiceRef,
    declarers,
    find_services,
    host_patterns,
    is_exported,
    is_foreign,
    own_clients,
    service_ports,
)
from controlplane.mesh.routing.delegates import http_routes, merged_http_routes, virtual_service_object
from controlplane.mesh.routing.egress_hosts import imports_routes
from controlplane.mesh.routing.istio_routes import Destinations, http_rules, written
from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.model.services import Labels
from controlplane.objects.networking.virtual_service import ConnectionMatch, Destination, HTTPMatchRequest, HTTPRoute, VirtualService

_PART = 100  # routes, or rules, that are worked out at a time


class VirtualServiceHead(NamedTuple):
    """What decides whether a VirtualService applies, without its routes."""

    key: Key
    hosts: tuple[str, ...]
    gateways: frozenset[str]  # "namespace/name", or "mesh" for sidecars
    export_to: tuple[str, ...]
    created: str
    label_keys: frozenset[str]  # of source labels that its matches look at
    namespaces: frozenset[str]  # source namespaces that its matches look at
    routes_requests: bool  # not whole connections alone


@eager_query
def virtual_service_head(db: Database, key: Key) -> VirtualServiceHead | None:
    """Return the head of the VirtualService ``key``."""
    virtual_service = virtual_service_object(db, key)
    if virtual_service is None:
        return None
    matches: list[HTTPMatchRequest | ConnectionMatch] = [
        *(match for route in merged_http_routes(db, key) for match in route.match),
        *connection_matches(virtual_service.spec),
    ]
    return VirtualServiceHead(
        key,
        tuple(qualified_host(host, key.namespace) for host in virtual_service.spec.hosts),
        gateways_of(virtual_service),
        exports_of(virtual_service),
        virtual_service.meta.seniority,
        frozenset(name for match in matches for name in match.source_labels),
        frozenset(match.source_namespace for match in matches if match.source_namespace),
        bool(virtual_service.spec.http),
    )


def sidecar_head(db: Database, key: Key) -> VirtualServiceHead | None:
    """Return the head of the VirtualService ``key`` where it is for sidecars."""
    head = virtual_service_head(db, key)
    return head if head and MESH_GATEWAY in head.gateways else None


def as_far_as_it_holds(db: Database, head: VirtualServiceHead, host: str) -> VirtualServiceHead:
    """Return ``head`` with those namespaces alone whose clients its routes for ``host`` may hold for."""
    return head._replace(export_to=own_clients(head.export_to, head.key.namespace)) if is_foreign(db, head.key.namespace, host) else head


def heads_naming(db: Database, pattern: str, host: str) -> list[VirtualServiceHead]:
    """Return the VirtualServices for sidecars that name just ``pattern``, as far as they hold for ``host``."""
    heads = (sidecar_head(db, key) for key in index(db, about_host(VIRTUAL_SERVICE, pattern)))
    return [as_far_as_it_holds(db, head, host) for head in heads if head]


@query
def virtual_services_for(db: Database, host: str) -> tuple[VirtualServiceHead, ...]:
    """Return the VirtualServices for ``host``: those that name it most narrowly first, among these the oldest first."""
    ordered: list[VirtualServiceHead] = []
    for pattern in host_patterns(host):
        ordered.extend(sorted(heads_naming(db, pattern, host), key=lambda head: (head.created, head.key)))
    return tuple(ordered)


class Audience(NamedTuple):
    """The clients whose routes for a host differ from the public ones: those of ``namespaces``, and proxies by ``label_keys``."""

    namespaces: frozenset[str]
    label_keys: frozenset[str]


@query
def route_audience(db: Database, host: str) -> Audience:
    """Return the clients whose routes for ``host`` differ from the public ones."""
    rivals = () if mesh_settings(db).foreign_routes else declarers(db, host)
    namespaces = {key.namespace for key in rivals} if len(rivals) > 1 else set[str]()
    label_keys: set[str] = set()
    for head in virtual_services_for(db, host):
        namespaces |= head.namespaces
        label_keys |= head.label_keys
        if EVERYONE not in head.export_to:
            namespaces.update(head.export_to)
        for destination_host in destinations(db, head.key):
            for ref in find_services(db, destination_host, PUBLIC):
                namespaces |= rule_audience(db, ref)  # their DestinationRules decide what requests are hashed by
                label_keys |= selected_label_names(db, ref)
    return Audience(frozenset(namespaces - {NO_ONE}), frozenset(label_keys))


@query
def virtual_service_for(db: Database, host: str, client_namespace: str, egress_hosts: tuple[str, ...]) -> Key | None:
    """Return the VirtualService that routes requests of ``client_namespace`` to ``host``, of those seen through ``egress_hosts``."""
    heads = seen_virtual_services(db, host, client_namespace, egress_hosts)
    return next((head.key for head in heads), None)


def seen_virtual_services(db: Database, host: str, client_namespace: str, egress_hosts: tuple[str, ...]) -> Iterator[VirtualServiceHead]:
    """Yield the VirtualServices for ``host`` that hold for ``client_namespace``, of those seen through ``egress_hosts``, in order.

    Where routes for foreign hosts hold for nobody else, a client that has a service of its own for ``host`` has its own routes too.
    """
    settings = mesh_settings(db)
    has_own = not settings.foreign_routes and any(key.namespace == client_namespace for key in declarers(db, host))
    for head in virtual_services_for(db, host):
        holds = is_exported(head.export_to, client_namespace) and imports_routes(egress_hosts, head.key.namespace, head.hosts)
        if holds and (not has_own or head.key.namespace in (client_namespace, settings.root_namespace)):
            yield head


@query
def routes_foreign_hosts(db: Database, namespace: str) -> bool:
    """Return whether there are routes of ``namespace`` that hold for its own clients alone, as their hosts are not its own."""
    if mesh_settings(db).foreign_routes:
        return False
    heads = (sidecar_head(db, key) for key in index(db, of_kind(VIRTUAL_SERVICE, namespace)))
    return any(is_foreign(db, head.key.namespace, host) for head in heads if head for host in head.hosts)


class RouteContext(NamedTuple):
    """For whom rules are looked up: on which port requests arrive, at which proxies, and through which Gateways."""

    port: int
    namespace: str
    labels: Labels
    gateways: tuple[str, ...] = (MESH_GATEWAY,)


@query
def rules_of_virtual_service(db: Database, key: Key, context: RouteContext) -> tuple[HttpRule, ...] | None:
    """Return the rules of the VirtualService ``key`` for ``context``, in order; ``None`` where none of its routes applies."""
    virtual_service = virtual_service_object(db, key)
    if virtual_service is None:
        return None
    routes = http_routes(db, key)
    if not any(_matches(route, virtual_service, context) is not None for route in routes):
        return None
    if len(routes) <= _PART:
        return written(virtual_service, _rules_of(db, virtual_service, routes, context))
    return written(virtual_service, (rule for start in range(0, len(routes), _PART) for rule in rules_of_part(db, key, context, start)))


@query
def rules_of_part(db: Database, key: Key, context: RouteContext, start: int) -> tuple[HttpRule, ...]:
    """Return the rules of some routes of the VirtualService ``key`` from ``start`` on, without their ranks: all at once hold up others."""
    virtual_service = virtual_service_object(db, key)
    routes = http_routes(db, key)[start : start + _PART]
    return tuple(_rules_of(db, virtual_service, routes, context)) if virtual_service else ()


def _rules_of(db: Database, virtual_service: VirtualService, routes: Iterable[HTTPRoute], context: RouteContext) -> Iterator[HttpRule]:
    for route in routes:
        matches = _matches(route, virtual_service, context)
        if matches is not None:
            destinations = _resolved_destinations(db, route, virtual_service.key, context)
            yield from http_rules(route, matches, destinations, faults_at_callee=is_at_callee(db, virtual_service, route))


@query
def routes_of_virtual_service(db: Database, key: Key, context: RouteContext, arrived_at: RequestPort) -> tuple[EncodedRoute, ...] | None:
    """Return the rules of the VirtualService ``key`` for ``context`` as routes, made once for all its hosts."""
    rules = rules_of_virtual_service(db, key, context)
    if rules is None or len(rules) <= _PART:
        return None if rules is None else encoded_routes(rules, arrived_at)
    return tuple(route for start in range(0, len(rules), _PART) for route in routes_of_part(db, key, context, arrived_at, start))


@query
def routes_of_part(db: Database, key: Key, context: RouteContext, arrived_at: RequestPort, start: int) -> tuple[EncodedRoute, ...]:
    """Return some rules of the VirtualService ``key`` from ``start`` on as routes: all at once hold up others."""
    return encoded_routes((rules_of_virtual_service(db, key, context) or ())[start : start + _PART], arrived_at)


def _matches(route: HTTPRoute, virtual_service: VirtualService, context: RouteContext) -> tuple[HTTPMatchRequest, ...] | None:
    """Return the matches of ``route`` that are for ``context``, none where it has none at all; ``None`` where it is not for ``context``."""
    if not route.match:
        return () if _is_for((), virtual_service, context) else None
    return tuple(match for match in route.match if match_applies(match, virtual_service, context)) or None


@eager_query
def destinations(db: Database, key: Key) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``key`` sends requests and connections to, mirrors too, sorted."""
    virtual_service = virtual_service_object(db, key)
    if virtual_service is None:
        return ()
    targets = [destination for route in merged_http_routes(db, key) for destination in _all_destinations(route)]
    targets += [route_destination.destination for route in virtual_service.spec.tls for route_destination in route.route]
    targets += [route_destination.destination for route in virtual_service.spec.tcp for route_destination in route.route]
    return tuple(sorted({qualified_host(destination.host, key.namespace) for destination in targets}))


def backend_of(db: Database, destination: Destination, key: Key, context: RouteContext) -> ServiceBackend:
    """Return the backend of ``destination``, written in the VirtualService ``key``, for ``context``.

    A destination without a port means the only port of its service; where the service has several, the listener's. What is not there
    is named as missing: a route to a cluster that is not made would keep whatever stands beside it from being sent.
    """
    host = qualified_host(destination.host, key.namespace)
    refs = find_services(db, host, context.namespace)
    ports = service_ports(db, refs)
    number = _port_number(destination, ports, context.port)
    ref = ports.get(number)
    missing = ref is None or not _has_subset(db, ref, destination.subset, context)
    return ServiceBackend(refs[0].host if refs else host, number, destination.subset, missing=missing)


def _has_subset(db: Database, ref: ServiceRef, name: str, context: RouteContext) -> bool:
    return not name or subset_labels(db, ref, rule_client(db, ref, context.namespace, context.labels), name) is not None


def _port_number(destination: Destination, ports: Iterable[int], port: int) -> int:
    if destination.port:
        return destination.port.number
    numbers = tuple(ports)
    return numbers[0] if len(numbers) == 1 else port


def _resolved_destinations(db: Database, route: HTTPRoute, key: Key, context: RouteContext) -> Destinations:
    """Return the destinations of ``route``, written in the VirtualService ``key``, resolved for ``context``."""
    backends = tuple(backend_of(db, route_destination.destination, key, context) for route_destination in route.route)
    hashes = [_hash_policy(db, backend, context) for backend in backends]
    return Destinations(
        backends=backends,
        mirrors=tuple(backend_of(db, mirror, key, context) for mirror in _mirror_destinations(route)),
        hashes=tuple(hashed_by.key for position, hashed_by in enumerate(hashes) if hashed_by and hashed_by not in hashes[:position]),
    )


def _hash_policy(db: Database, backend: ServiceBackend, context: RouteContext) -> ConsistentHash | None:
    ref = service_behind(db, backend, context.namespace)
    if ref is None:
        return None
    return hash_policy(db, ref, rule_client(db, ref, context.namespace, context.labels), backend.port, backend.subset)


def service_behind(db: Database, backend: ServiceBackend, client_namespace: str) -> ServiceRef | None:
    """Return the service whose port ``backend`` is; ``None`` where none has it."""
    return service_ports(db, find_services(db, backend.host, client_namespace)).get(backend.port)


def _mirror_destinations(route: HTTPRoute) -> list[Destination]:
    return [*([route.mirror] if route.mirror else []), *(mirror.destination for mirror in route.mirrors)]


def _all_destinations(route: HTTPRoute) -> list[Destination]:
    return [*(route_destination.destination for route_destination in route.route), *_mirror_destinations(route)]


def match_applies(match: HTTPMatchRequest | ConnectionMatch, virtual_service: VirtualService, context: RouteContext) -> bool:
    """Return whether ``match`` of ``virtual_service`` is for ``context``; its conditions on requests themselves are matched by Envoy."""
    if not _is_for(match.gateways, virtual_service, context) or match.port not in (0, context.port):
        return False
    if isinstance(match, HTTPMatchRequest) and match.gateways:
        return True  # Istio looks at who asks only where a match of requests names no Gateways
    return match.source_namespace in ("", context.namespace) and set(match.source_labels.items()) <= set(context.labels)


def _is_for(gateways: Iterable[str], virtual_service: VirtualService, context: RouteContext) -> bool:
    names = tuple(gateways) or virtual_service.spec.gateways or (MESH_GATEWAY,)
    return any(gateway_name(name, virtual_service.key.namespace) in context.gateways for name in names)
