"""What a route does with a request: forward, redirect, answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from google.protobuf.duration_pb2 import Duration

from controlplane.objects.networking.destination_rule import ConsistentHashLB
from controlplane.objects.networking.virtual_service import HTTPDirectResponse, HTTPRedirect, HTTPRewrite, HTTPRoute, HTTPRouteDestination
from controlplane.translate.common import fraction, milliseconds
from controlplane.translate.headers import Operations, operations
from controlplane.translate.retries import retry_policy

_CODES = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ALWAYS = 100.0


def plain_forward(cluster: str) -> RouteAction:
    """Return that requests go to ``cluster``, without a time-out."""
    return RouteAction(cluster=cluster, timeout=Duration())


def forward(
    found: Route,
    given: HTTPRoute,
    clusters: Sequence[str],
    mirrors: Sequence[str],
    hashes: Iterable[ConsistentHashLB],
    authority: str,
) -> None:
    """Make ``found`` send requests where ``given`` says: to ``clusters``, one a destination, with copies to ``mirrors``."""
    action = found.route
    timeout = milliseconds(given.timeout or 0)
    action.timeout.CopyFrom(timeout)
    action.max_grpc_timeout.CopyFrom(timeout)  # its successor, `max_stream_duration`, would make Envoy pass over `timeout`
    hash_policies = list(hashes)
    retries = retry_policy(given.retries, hashed=bool(hash_policies))
    if retries is not None:
        action.retry_policy.CopyFrom(retries)
    for each in hash_policies:
        action.hash_policy.append(_hash_policy(each))
    _mirror(action, given, mirrors)
    if authority:
        action.host_rewrite_literal = authority
    if given.rewrite:
        _rewrite(action, given.rewrite)
    weighted = [(each, cluster) for each, cluster in zip(given.route, clusters, strict=False) if each.weight or len(given.route) == 1]
    if len(weighted) > 1:
        action.weighted_clusters.clusters.extend(_weighted(each, cluster) for each, cluster in weighted)
        return
    action.cluster = weighted[0][1] if weighted else clusters[0]
    if weighted:
        _put(found, operations(weighted[0][0].headers))


def _weighted(each: HTTPRouteDestination, cluster: str) -> WeightedCluster.ClusterWeight:
    found = WeightedCluster.ClusterWeight(name=cluster, weight={"value": each.weight})
    headers = operations(each.headers)
    _put(found, headers)
    if headers.authority:
        found.host_rewrite_literal = headers.authority
    return found


def _put(found: Route | WeightedCluster.ClusterWeight, headers: Operations) -> None:
    found.request_headers_to_add.extend(headers.request_add)
    found.request_headers_to_remove.extend(headers.request_remove)
    found.response_headers_to_add.extend(headers.response_add)
    found.response_headers_to_remove.extend(headers.response_remove)
    if headers.authority and isinstance(found, Route):
        found.route.host_rewrite_literal = headers.authority


def _mirror(action: RouteAction, given: HTTPRoute, clusters: Sequence[str]) -> None:
    shares: list[float] = []
    if given.mirror:
        shares.append(_mirrored(given))
    shares.extend(each.percentage.value if each.percentage else _ALWAYS for each in given.mirrors)
    for cluster, share in zip(clusters, shares, strict=True):
        if share:
            action.request_mirror_policies.add(
                cluster=cluster,
                runtime_fraction={"default_value": fraction(share)},
                trace_sampled={"value": False},
                disable_shadow_host_suffix_append=True,
            )


def _mirrored(given: HTTPRoute) -> float:
    if given.mirror_percentage is not None:
        return given.mirror_percentage.value
    old = given.mirror_percent if given.mirror_percent is not None else given.deprecated_mirror_percent
    return _ALWAYS if old is None else old


def _rewrite(action: RouteAction, given: HTTPRewrite) -> None:
    if given.uri:
        action.prefix_rewrite = given.uri
    if given.uri_regex_rewrite:
        action.regex_rewrite.pattern.CopyFrom(RegexMatcher(regex=given.uri_regex_rewrite.match))
        action.regex_rewrite.substitution = given.uri_regex_rewrite.rewrite
    if given.authority:
        action.host_rewrite_literal = given.authority


def _hash_policy(given: ConsistentHashLB) -> RouteAction.HashPolicy:
    if given.http_header_name:
        return RouteAction.HashPolicy(header={"header_name": given.http_header_name})
    if given.http_cookie:
        cookie = RouteAction.HashPolicy.Cookie(name=given.http_cookie.name, path=given.http_cookie.path)
        if given.http_cookie.ttl is not None:
            cookie.ttl.CopyFrom(milliseconds(given.http_cookie.ttl))
        for each in given.http_cookie.attributes:
            cookie.attributes.add(name=each.name, value=each.value)
        return RouteAction.HashPolicy(cookie=cookie)
    if given.http_query_parameter_name:
        return RouteAction.HashPolicy(query_parameter={"name": given.http_query_parameter_name})
    return RouteAction.HashPolicy(connection_properties={"source_ip": True})


def has_code(given: HTTPRedirect) -> bool:
    """Return whether Envoy has a redirect with the code of ``given``."""
    return (given.redirect_code or 301) in _CODES


def redirect(found: Route, given: HTTPRedirect, listener_port: int) -> None:
    """Make ``found`` send clients elsewhere."""
    action = RedirectAction(response_code=_CODES[given.redirect_code or 301])
    if given.authority:
        action.host_redirect = given.authority
    if given.scheme:
        action.scheme_redirect = given.scheme
    if given.prefix_rewrite:
        action.prefix_rewrite = given.prefix_rewrite
    elif given.uri:
        action.path_redirect = given.uri
    port = listener_port if given.derive_port == "FROM_REQUEST_PORT" else given.port
    if port and _DEFAULT_PORTS.get(given.scheme) != port:
        action.port_redirect = port
    found.redirect.CopyFrom(action)


def direct_response(given: HTTPDirectResponse) -> DirectResponseAction:
    """Return the fixed answer ``given``."""
    found = DirectResponseAction(status=given.status)
    if given.body and given.body.string is not None:
        found.body.inline_string = given.body.string
    elif given.body and given.body.bytes is not None:
        found.body.inline_bytes = given.body.bytes
    return found
