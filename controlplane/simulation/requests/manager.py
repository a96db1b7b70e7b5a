"""What the HTTP connection manager makes of a request: table, virtual host, route, filters, and the route's action.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/http_conn_man
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.route.v3.route_components_pb2 import RedirectAction, Route, RouteAction, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.matching.head import Head
from controlplane.simulation.requests.faults import MODULI
from controlplane.simulation.requests.filters import Passing, passed
from controlplane.simulation.requests.metadata import with_early_headers
from controlplane.simulation.requests.paths import normalized_path
from controlplane.simulation.requests.rewriting import forwarded_for, rewritten
from controlplane.simulation.requests.routes import Target, fitting_routes, targets_of
from controlplane.simulation.requests.virtual_hosts import chosen_virtual_host, without_port
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Answered, Mirrored, Outcome, Stage, Undecided, Walk
from controlplane.simulation.traffic import HttpVersion, PlainHttp, Request
from controlplane.simulation.upstream.clusters import Balancing, Unusable, endpoints_of
from controlplane.simulation.upstream.subsets import LOAD_BALANCER

_NOT_FOUND, _FORBIDDEN, _UNAVAILABLE, _MOVED, _UPGRADE = 404, 403, 503, 301, 426
_CONNECT = "CONNECT"
_REDIRECTS = {
    RedirectAction.MOVED_PERMANENTLY: 301,
    RedirectAction.FOUND: 302,
    RedirectAction.SEE_OTHER: 303,
    RedirectAction.TEMPORARY_REDIRECT: 307,
    RedirectAction.PERMANENT_REDIRECT: 308,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a request is: how it passes the filters, and in which table and virtual host."""

    passing: Passing
    resources: Resources
    table: RouteConfiguration
    host: VirtualHost


def managed(
    walk: Walk, manager: HttpConnectionManager, arrival: Arrival, request: Request, resources: Resources, *, secure: bool
) -> Iterator[Outcome]:
    """Yield what ``manager`` makes of ``request``; ``secure``: it came by TLS."""
    if arrival.first_bytes == PlainHttp(HttpVersion.HTTP10) and not manager.http_protocol_options.accept_http_10:
        yield walk.step(Stage.REQUEST, request.path, "HTTP/1.0", "the HTTP connection manager does not take it").ends(Answered(_UPGRADE))
        return
    path = normalized_path(manager, request.path) if request.method != _CONNECT else ""
    if isinstance(path, int):
        yield walk.step(Stage.REQUEST, request.path, str(path), "the HTTP connection manager does not take such a path").ends(
            Answered(path)
        )
        return
    if path != request.path:
        walk = walk.step(Stage.REQUEST, request.path, path, "the HTTP connection manager normalizes the path")
    head = with_early_headers(manager.early_header_mutation_extensions, _head(manager, arrival, request, path, secure=secure), arrival)
    if head is None:
        yield walk.step(Stage.REQUEST, request.path, "", "its headers are changed in a way that is not simulated").ends(Undecided())
        return
    yield from _hosted(walk, Passing(manager=manager, arrival=arrival, head=head, claims=request.claims), resources)


def _hosted(walk: Walk, passing: Passing, resources: Resources) -> Iterator[Outcome]:
    """Yield what becomes of the request that is ``passing`` in the route table of its manager."""
    head = passing.head
    table, reason = _table(passing.manager, resources)
    if table is None:
        yield from _unrouted(walk.step(Stage.ROUTE_TABLE, "", "", reason), passing)
        return
    walk = walk.step(Stage.ROUTE_TABLE, table.name, table.name, reason)
    host, reason = chosen_virtual_host(table, (*table.virtual_hosts, *resources.virtual_hosts.get(table.name, ())), head)
    if host is None:
        yield from _unrouted(walk.step(Stage.VIRTUAL_HOST, table.name, "", reason), passing)
        return
    walk = walk.step(Stage.VIRTUAL_HOST, table.name, host.name, reason)
    place = _Place(passing=passing, resources=resources, table=table, host=host)
    if host.require_tls != VirtualHost.NONE and head.value("x-forwarded-proto") != "https":
        walk = walk.step(Stage.VIRTUAL_HOST, table.name, host.name, "it takes requests by TLS alone")
        yield from _answered(passed(walk, passing, (host.typed_per_filter_config, table.typed_per_filter_config)), _MOVED)
        return
    for fitting in fitting_routes(walk, table, host, head):
        if fitting.route is not None:
            yield from _routed(fitting.walk, place, fitting.route)
        elif fitting.undecided:
            yield fitting.walk.ends(Undecided())
        else:
            yield from _unrouted(fitting.walk, passing)


def _unrouted(walk: Walk, passing: Passing) -> Iterator[Outcome]:
    """Yield what becomes of a request without a route: filters come before that is said."""
    yield from _answered(passed(walk, passing), _NOT_FOUND)


def _answered(filtered: Iterator[Outcome | Walk], status: int) -> Iterator[Outcome]:
    for each in filtered:
        yield each.ends(Answered(status)) if isinstance(each, Walk) else each


def _head(manager: HttpConnectionManager, arrival: Arrival, request: Request, path: str, *, secure: bool) -> Head:
    authority = request.authority
    if manager.strip_trailing_host_dot:
        host = without_port(authority)
        authority = host.removesuffix(".") + authority[len(host) :]
    port = authority[len(without_port(authority)) + 1 :]
    if manager.strip_any_host_port or (manager.strip_matching_host_port and port == str(arrival.local.port)):
        authority = without_port(authority)
    scheme = "https" if secure else "http"
    headers = tuple((name.lower(), value) for name, value in request.headers)
    if not any(name == "x-forwarded-proto" for name, _ in headers):
        headers += (("x-forwarded-proto", scheme),)
    head = Head(method=request.method, scheme=scheme, authority=authority, path=path, headers=headers)
    if manager.use_remote_address.value and not manager.skip_xff_append:
        head = replace(head, headers=tuple(forwarded_for(head, arrival.source.ip)))
    return head


def _table(manager: HttpConnectionManager, resources: Resources) -> tuple[RouteConfiguration | None, str]:
    match manager.WhichOneof("route_specifier"):
        case "route_config":
            return manager.route_config, "the HTTP connection manager has it itself"
        case "rds":
            name = manager.rds.route_config_name
            return resources.route_tables.get(name), f"the HTTP connection manager asks for {name} by RDS"
        case _:
            return None, "the HTTP connection manager has no route table"


def _routed(walk: Walk, place: _Place, route: Route) -> Iterator[Outcome]:
    """Yield what ``route`` makes of the request, filters first."""
    if place.passing.head.method == _CONNECT and not _takes_connect(place.passing.manager, route):
        yield walk.step(Stage.ROUTE, place.host.name, route.name, "CONNECT is not enabled").ends(Answered(_FORBIDDEN))
        return
    targets: Iterator[Target] | None = iter([Target(walk, "", route.route.metadata_match)])
    if route.HasField("route"):
        targets = targets_of(walk, route, place.passing.head)
    if targets is None:
        yield walk.step(Stage.ROUTE, place.host.name, route.name, "what chooses its cluster is not simulated").ends(Undecided())
        return
    general = (route.typed_per_filter_config, place.host.typed_per_filter_config, place.table.typed_per_filter_config)
    for target in targets:
        specific = general if target.weighted is None else (target.weighted.typed_per_filter_config, *general)
        for each in passed(target.walk, place.passing, specific, target.cluster):
            yield _acted(replace(target, walk=each), place, route) if isinstance(each, Walk) else each


def _takes_connect(manager: HttpConnectionManager, route: Route) -> bool:
    """Return whether CONNECT is enabled for ``route``, which has the last word, or for all of ``manager``."""
    takes = False
    for general in manager.upgrade_configs:
        if general.upgrade_type.upper() == _CONNECT:
            takes = not general.HasField("enabled") or general.enabled.value
    for own in route.route.upgrade_configs:
        if own.upgrade_type.upper() == _CONNECT:
            takes = not own.HasField("enabled") or own.enabled.value
    return takes


def _acted(target: Target, place: _Place, route: Route) -> Outcome:
    """Return what the action of ``route`` makes of the request."""
    walk = target.walk
    match route.WhichOneof("action"):
        case "redirect":
            status = _REDIRECTS[route.redirect.response_code]
            return walk.step(Stage.ROUTE, place.host.name, str(status), "the route redirects").ends(Answered(status))
        case "direct_response":
            status = route.direct_response.status
            return walk.step(Stage.ROUTE, place.host.name, str(status), "the route answers itself").ends(Answered(status))
        case "route":
            return _forwarded(target, place, route)
        case _:
            return walk.step(Stage.ROUTE, place.host.name, "", "the route has no action that is simulated").ends(Undecided())


def _forwarded(target: Target, place: _Place, route: Route) -> Outcome:
    sent = rewritten(place.passing.head, route, target.weighted, place.host, place.table)
    walk = replace(target.walk, mirrors=tuple(_mirrors(place, route)), sent=sent)
    headers = place.passing.head.headers
    criteria = Metadata()
    criteria.CopyFrom(target.criteria)
    for key, value in walk.told:  # which has precedence over what the route asks for
        criteria.filter_metadata[LOAD_BALANCER].fields[key].CopyFrom(value)
    balancing = Balancing(criteria=criteria, hashes=_hashes(route.route), headers=headers)
    found = endpoints_of(walk, target.cluster, place.resources, place.passing.arrival, balancing)
    if not isinstance(found, Unusable):
        return found
    if found.undecided:
        return found.walk.ends(Undecided())
    unknown = found.missing and route.route.cluster_not_found_response_code == RouteAction.NOT_FOUND
    return found.walk.ends(Answered(_NOT_FOUND if unknown else _UNAVAILABLE, target.cluster))


def _mirrors(place: _Place, route: Route) -> Iterator[Mirrored]:
    policies = route.route.request_mirror_policies or place.host.request_mirror_policies or place.table.request_mirror_policies
    for policy in policies:
        if not policy.HasField("runtime_fraction"):
            yield Mirrored(policy.cluster, Fraction(1))
        elif share := policy.runtime_fraction.default_value.numerator:
            yield Mirrored(policy.cluster, Fraction(share, MODULI[policy.runtime_fraction.default_value.denominator]))


def _hashes(action: RouteAction) -> str:
    """Return in words by what the same endpoint is taken again."""
    by = {
        "header": "a header",
        "cookie": "a cookie",
        "connection_properties": "the client's address",
        "query_parameter": "a query parameter",
    }
    return ", ".join(by.get(each.WhichOneof("policy_specifier") or "", "something of it") for each in action.hash_policy)
