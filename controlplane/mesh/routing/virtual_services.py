"""Which VirtualService routes requests to a host, and its rules resolved to the clusters that they name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.backends import ServiceBackend
from controlplane.ir.clusters import ConsistentHash
from controlplane.ir.rules import HttpRule
from controlplane.mesh.destinations.destination_rules import client_namespace_for_rules, rule_audience, traffic_policy
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, all_matches, gateway_name, gateways_of
from controlplane.mesh.inputs import EVERYONE, NO_ONE, about_host, exports_of, index, namespaces_with, objects, of_kind, qualified_host
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, find_service, host_patterns, is_exported, service
from controlplane.mesh.routing.istio_routes import Destinations, http_rules, written
from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.model.services import Labels
from controlplane.objects.networking.virtual_service import ConnectionMatch, Destination, HTTPMatchRequest, HTTPRoute, VirtualService


class VirtualServiceHead(NamedTuple):
    """What decides whether a VirtualService applies, apart from what it says."""

    key: Key
    hosts: tuple[str, ...]
    gateways: frozenset[str]  # "namespace/name", or "mesh" for sidecars
    export_to: tuple[str, ...]
    created: str
    label_keys: frozenset[str]  # of source labels that its matches look at
    namespaces: frozenset[str]  # source namespaces that its matches look at


@query
def virtual_service_head(db: Database, key: Key) -> VirtualServiceHead | None:
    """Return the head of the VirtualService ``key``."""
    value = _virtual_service(db, key)
    if value is None:
        return None
    matches = list(all_matches(value.spec))
    return VirtualServiceHead(
        key,
        tuple(qualified_host(host, key.namespace) for host in value.spec.hosts),
        gateways_of(value),
        exports_of(value),
        value.meta.created,
        frozenset(name for match in matches for name in match.source_labels),
        frozenset(match.source_namespace for match in matches if match.source_namespace),
    )


def _for_sidecars(db: Database, key: Key) -> VirtualServiceHead | None:
    found = virtual_service_head(db, key)
    return found if found and MESH_GATEWAY in found.gateways else None


@query
def virtual_services_for(db: Database, host: str) -> tuple[VirtualServiceHead, ...]:
    """Return the VirtualServices for ``host``: those that name it most narrowly first, among these the oldest first."""
    found: list[VirtualServiceHead] = []
    for pattern in host_patterns(host):
        heads = [each for key in index(db, about_host(VIRTUAL_SERVICE, pattern)) if (each := _for_sidecars(db, key))]
        found.extend(sorted(heads, key=lambda each: (each.created, each.key)))
    return tuple(found)


class Audience(NamedTuple):
    """Whose routes for a host differ from everybody's: these namespaces', and those of proxies with certain labels."""

    namespaces: frozenset[str]
    label_keys: frozenset[str]


@query
def route_audience(db: Database, host: str) -> Audience:
    """Return whose routes for ``host`` differ from everybody's."""
    namespaces: set[str] = set()
    label_keys: set[str] = set()
    for each in virtual_services_for(db, host):
        namespaces |= each.namespaces
        label_keys |= each.label_keys
        if EVERYONE not in each.export_to:
            namespaces.update(each.export_to)
        for named in destinations(db, each.key):
            if ref := find_service(db, named, PUBLIC):
                namespaces |= rule_audience(db, ref)  # their rules say what requests are hashed by
    return Audience(frozenset(namespaces - {NO_ONE}), frozenset(label_keys))


@query
def virtual_service_for(db: Database, host: str, client_namespace: str) -> Key | None:
    """Return the VirtualService that routes requests of ``client_namespace`` to ``host``."""
    return next((each.key for each in virtual_services_for(db, host) if is_exported(each.export_to, client_namespace)), None)


@query
def hosts_of_namespace(db: Database, namespace: str) -> tuple[tuple[str, VirtualServiceHead], ...]:
    """Return the hosts that the VirtualServices of ``namespace`` name, each with its VirtualService."""
    keys = sorted(index(db, of_kind(VIRTUAL_SERVICE, namespace)))
    return tuple((host, each) for key in keys if (each := _for_sidecars(db, key)) for host in each.hosts)


@query
def routed_hosts(db: Database) -> tuple[tuple[str, VirtualServiceHead], ...]:
    """Return every host that a VirtualService names, each with its VirtualService, sorted by host."""
    namespaces = sorted(key.namespace for key in index(db, namespaces_with(VIRTUAL_SERVICE)))
    return tuple(sorted(pair for namespace in namespaces for pair in hosts_of_namespace(db, namespace)))


@query
def sidecar_rules(db: Database, host: str, port: int, client_namespace: str, labels: Labels) -> tuple[HttpRule, ...] | None:
    """Return the rules for requests to ``port`` of ``host`` from sidecars of ``client_namespace`` with ``labels``.

    ``None``: no VirtualService routes them.
    """
    key = virtual_service_for(db, host, client_namespace)
    return rules_of_virtual_service(db, key, RouteContext(port, client_namespace, labels)) if key else None


class RouteContext(NamedTuple):
    """Whose rules are asked for: on which port requests come in, to which proxies, and through which Gateways."""

    port: int
    namespace: str
    labels: Labels
    gateways: tuple[str, ...] = (MESH_GATEWAY,)


@query
def rules_of_virtual_service(db: Database, key: Key, context: RouteContext) -> tuple[HttpRule, ...] | None:
    """Return the rules of the VirtualService ``key`` for ``context``, in order; ``None`` where it says nothing to it."""
    value = _virtual_service(db, key)
    applying = [(route, matches) for route in value.spec.http if (matches := _matches(route, value, context)) is not None] if value else []
    if value is None or not applying:
        return None
    rules = (rule for route, matches in applying for rule in http_rules(route, matches, _resolved(db, route, key, context)))
    return written(value, rules)


def _matches(route: HTTPRoute, value: VirtualService, context: RouteContext) -> tuple[HTTPMatchRequest, ...] | None:
    """Return the matches of ``route`` that are for ``context``, none where it has none at all; ``None`` where it is not for ``context``."""
    if not route.match:
        return () if _is_for((), value, context) else None
    return tuple(match for match in route.match if match_applies(match, value, context)) or None


@query
def destinations(db: Database, key: Key) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``key`` sends requests and connections to, mirrors too, sorted."""
    value = _virtual_service(db, key)
    if value is None:
        return ()
    named = [each for route in value.spec.http for each in _named(route)]
    named += [each.destination for route in value.spec.tls for each in route.route]
    named += [each.destination for route in value.spec.tcp for each in route.route]
    return tuple(sorted({qualified_host(each.host, key.namespace) for each in named}))


def backend_of(db: Database, destination: Destination, key: Key, port: int, client_namespace: str) -> ServiceBackend:
    """Return what ``destination``, written in the VirtualService ``key`` for a listener's ``port``, means.

    A destination without a port means the only port of its service; where the service has several, the listener's.
    """
    host = qualified_host(destination.host, key.namespace)
    ref = find_service(db, host, client_namespace)
    known = ref and service(db, ref)
    number = destination.port.number if destination.port else (known.ports[0].number if known and len(known.ports) == 1 else port)
    return ServiceBackend(ref.host if ref else host, number, destination.subset)


def _resolved(db: Database, route: HTTPRoute, key: Key, context: RouteContext) -> Destinations:
    """Return what the destinations of ``route``, written in the VirtualService ``key``, mean for ``context``."""
    port, namespace = context.port, context.namespace
    hashes = [_hash_policy(db, each.destination, key, port, namespace) for each in route.route]
    return Destinations(
        backends=tuple(backend_of(db, each.destination, key, port, namespace) for each in route.route),
        mirrors=tuple(backend_of(db, each, key, port, namespace) for each in _mirrored(route)),
        hashes=tuple(each.key for at, each in enumerate(hashes) if each and each not in hashes[:at]),
    )


def _hash_policy(db: Database, destination: Destination, key: Key, port: int, client_namespace: str) -> ConsistentHash | None:
    ref = find_service(db, qualified_host(destination.host, key.namespace), client_namespace)
    return (
        hash_policy(db, ref, client_namespace, destination.port.number if destination.port else port, destination.subset) if ref else None
    )


def hash_policy(db: Database, ref: ServiceRef, namespace: str, port: int, subset: str) -> ConsistentHash | None:
    """Return what requests to ``port`` of ``ref`` are hashed by, where its load balancer is a consistent hash."""
    balancing = traffic_policy(db, ref, client_namespace_for_rules(db, ref, namespace), port, subset).load_balancing
    return balancing if isinstance(balancing, ConsistentHash) else None


def _mirrored(route: HTTPRoute) -> list[Destination]:
    return [*([route.mirror] if route.mirror else []), *(each.destination for each in route.mirrors)]


def _named(route: HTTPRoute) -> list[Destination]:
    return [*(each.destination for each in route.route), *_mirrored(route)]


def match_applies(match: HTTPMatchRequest | ConnectionMatch, value: VirtualService, context: RouteContext) -> bool:
    """Return whether ``match`` of ``value`` is for ``context``: what it says of requests themselves is for Envoy to decide."""
    return (
        _is_for(match.gateways, value, context)
        and match.port in (0, context.port)
        and match.source_namespace in ("", context.namespace)
        and set(match.source_labels.items()) <= set(context.labels)
    )


def _is_for(gateways: Iterable[str], value: VirtualService, context: RouteContext) -> bool:
    said = tuple(gateways) or value.spec.gateways or (MESH_GATEWAY,)
    return any(gateway_name(each, value.key.namespace) in context.gateways for each in said)


def _virtual_service(db: Database, key: Key) -> VirtualService | None:
    value = objects(db, key)
    return value if isinstance(value, VirtualService) else None
