"""What a route does with a request: forward, redirect, answer."""

from __future__ import annotations

from typing import assert_never

from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from google.protobuf.duration_pb2 import Duration

from controlplane.ir.actions import (
    AddressHash,
    Answer,
    CookieHash,
    FixedPort,
    Forward,
    FullPath,
    HashKey,
    HeaderHash,
    KeepPort,
    ListenerPort,
    QueryHash,
    Redirect,
    Substitute,
    SwapPrefix,
)
from controlplane.ir.backends import Mirror, ServiceBackend, Weighted
from controlplane.ir.rules import RequestPort
from controlplane.translate.addresses import endpoint_at, fraction, milliseconds
from controlplane.translate.routes.headers import change_headers
from controlplane.translate.routes.retries import retry_policy

_CODES = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def plain_forward(cluster: str) -> RouteAction:
    """Return that requests go to ``cluster``, without a time-out."""
    return RouteAction(cluster=cluster, timeout=Duration())


def forward(route: Route, forwarding: Forward) -> None:
    """Make ``route`` send requests where ``forwarding`` says."""
    action = route.route
    timeout = milliseconds(forwarding.timeout_ms)
    action.timeout.CopyFrom(timeout)
    action.max_grpc_timeout.CopyFrom(timeout)  # its successor, `max_stream_duration`, would make Envoy pass over `timeout`
    if forwarding.retry:
        action.retry_policy.CopyFrom(retry_policy(forwarding.retry))
    action.hash_policy.extend(_hash_policy(key) for key in forwarding.hashes)
    action.request_mirror_policies.extend(_mirror(mirror) for mirror in forwarding.mirrors)
    if forwarding.authority:
        action.host_rewrite_literal = forwarding.authority
    if forwarding.path:
        _rewrite(action, forwarding.path)
    if len(forwarding.backends) > 1:
        action.weighted_clusters.clusters.extend(_weighted(backend, forwarding.authority) for backend in forwarding.backends)
        return
    [single] = forwarding.backends
    action.cluster = single.backend.cluster
    if isinstance(single.backend, ServiceBackend) and single.backend.endpoint:
        action.metadata_match.CopyFrom(endpoint_at(single.backend.endpoint))
    change_headers(route, single.request, single.response)
    if single.authority and not forwarding.authority:
        action.host_rewrite_literal = single.authority


def _weighted(weighted: Weighted, authority: str) -> WeightedCluster.ClusterWeight:
    message = WeightedCluster.ClusterWeight(name=weighted.backend.cluster, weight={"value": weighted.weight})
    if isinstance(weighted.backend, ServiceBackend) and weighted.backend.endpoint:
        message.metadata_match.CopyFrom(endpoint_at(weighted.backend.endpoint))
    change_headers(message, weighted.request, weighted.response)
    if weighted.authority and not authority:
        message.host_rewrite_literal = weighted.authority
    return message


def _mirror(mirror: Mirror) -> RouteAction.RequestMirrorPolicy:
    return RouteAction.RequestMirrorPolicy(
        cluster=mirror.backend.cluster,
        runtime_fraction={"default_value": fraction(mirror.per_million)},
        trace_sampled={"value": False},
        disable_shadow_host_suffix_append=True,
    )


def _rewrite(action: RouteAction, path: SwapPrefix | Substitute) -> None:
    match path:
        case SwapPrefix(prefix):
            action.prefix_rewrite = prefix
        case Substitute(regex, by):
            action.regex_rewrite.pattern.CopyFrom(RegexMatcher(regex=regex))
            action.regex_rewrite.substitution = by
        case _:
            assert_never(path)


def _hash_policy(key: HashKey) -> RouteAction.HashPolicy:
    match key:
        case HeaderHash(name):
            return RouteAction.HashPolicy(header={"header_name": name})
        case CookieHash():
            cookie = RouteAction.HashPolicy.Cookie(name=key.name, path=key.path)
            if key.ttl_ms is not None:
                cookie.ttl.CopyFrom(milliseconds(key.ttl_ms))
            for name, value in key.attributes:
                cookie.attributes.add(name=name, value=value)
            return RouteAction.HashPolicy(cookie=cookie)
        case QueryHash(name):
            return RouteAction.HashPolicy(query_parameter={"name": name})
        case AddressHash():
            return RouteAction.HashPolicy(connection_properties={"source_ip": True})
        case _:
            assert_never(key)


def redirect(settings: Redirect, arrived_at: RequestPort) -> RedirectAction:
    """Return that clients whose requests ``arrived_at`` a port are sent elsewhere."""
    action = RedirectAction(
        response_code=_CODES[settings.code], host_redirect=settings.authority, port_redirect=_port(settings, arrived_at)
    )
    if settings.scheme:
        action.scheme_redirect = settings.scheme
    match settings.path:
        case None:
            pass
        case SwapPrefix(prefix):
            action.prefix_rewrite = prefix
        case FullPath(path):
            action.path_redirect = path
        case _:
            assert_never(settings.path)
    return action


def _port(settings: Redirect, arrived_at: RequestPort) -> int:
    """Return the port that is named in a redirect; 0 for none, as where it is the scheme's own: its own, or else the request's."""
    match settings.port:
        case KeepPort():
            return 0
        case FixedPort(number):
            port = number
        case ListenerPort():
            port = arrived_at.number
        case _:
            assert_never(settings.port)
    scheme = settings.scheme or ("https" if arrived_at.tls else "http")
    return 0 if _DEFAULT_PORTS[scheme] == port else port


def direct_response(answer: Answer) -> DirectResponseAction:
    """Return the direct response of ``answer``."""
    action = DirectResponseAction(status=answer.status)
    match answer.body:
        case None:
            pass
        case str(text):
            action.body.inline_string = text
        case bytes(content):
            action.body.inline_bytes = content
    return action
