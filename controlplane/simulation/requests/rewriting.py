"""A request as a route sends it on: with another path, another host, and other headers.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import re2
from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import Route, RouteMatch, VirtualHost, WeightedCluster
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.simulation.matching.head import Head

_Changing = RouteConfiguration | VirtualHost | Route | WeightedCluster.ClusterWeight


def rewritten(head: Head, route: Route, weighted: WeightedCluster.ClusterWeight | None, *around: VirtualHost | RouteConfiguration) -> Head:
    """Return the request with ``head`` as ``route`` sends it on, to ``weighted`` if its weights chose that.

    What is ``around`` the route changes headers too, the innermost first.
    """
    changing: tuple[_Changing, ...] = (*((weighted,) if weighted else ()), route, *around)
    head = _changed(head, changing)
    action = route.route
    authority = action.host_rewrite_literal or (weighted.host_rewrite_literal if weighted else "")
    if action.host_rewrite_header:
        authority = head.value(action.host_rewrite_header) or authority
    return replace(head, authority=authority or head.authority, path=_path(head.path, route))


def _changed(head: Head, changing: Iterable[_Changing]) -> Head:
    headers = list(head.headers)
    for each in changing:
        for option in each.request_headers_to_add:
            name = option.header.key.lower()
            there = any(header == name for header, _ in headers)
            if option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD:
                headers = [header for header in headers if header[0] != name]
            if _adds(option, there=there):
                headers.append((name, option.header.value.replace("%%", "%")))
        removed = {name.lower() for name in each.request_headers_to_remove}
        headers = [header for header in headers if header[0] not in removed]
    return replace(head, headers=tuple(headers))


def _adds(option: HeaderValueOption, *, there: bool) -> bool:
    match option.append_action:
        case HeaderValueOption.ADD_IF_ABSENT:
            return not there
        case HeaderValueOption.OVERWRITE_IF_EXISTS:
            return there
        case _:
            return True


def _path(target: str, route: Route) -> str:
    path, mark, query = _divided(target)
    action = route.route
    if action.prefix_rewrite:
        return f"{action.prefix_rewrite}{path[_matched(route.match, path) :]}{mark}{query}"
    if action.HasField("regex_rewrite"):
        by = action.regex_rewrite
        return f"{re2.sub(by.pattern.regex, by.substitution, path)}{mark}{query}"
    return target


def _divided(target: str) -> tuple[str, str, str]:
    places = [place for mark in "?#" if (place := target.find(mark)) >= 0]
    if not places:
        return target, "", ""
    place = min(places)
    return target[:place], target[place], target[place + 1 :]


def _matched(match: RouteMatch, path: str) -> int:
    """Return how much of ``path`` is replaced: as much as was asked for."""
    match match.WhichOneof("path_specifier"):
        case "prefix":
            return len(match.prefix)
        case "path_separated_prefix":
            return len(match.path_separated_prefix)
        case _:
            return len(path)


def forwarded_for(head: Head, client: str) -> Iterator[tuple[str, str]]:
    """Yield the headers of ``head`` once the connection manager has added ``client`` to those for whom it is asked."""
    before = head.value("x-forwarded-for")
    yield from (header for header in head.headers if header[0] != "x-forwarded-for")
    yield "x-forwarded-for", f"{before},{client}" if before else client
