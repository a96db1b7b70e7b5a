"""From the HTTP routes of VirtualServices to rules of our own.

What a rule leaves open Istio has a default for; it is put in here, so that nobody below has to know it.
https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from controlplane.ir.actions import (
    DEFAULT_CONDITIONS,
    Action,
    Answer,
    FixedPort,
    Forward,
    FullPath,
    HashKey,
    KeepPort,
    ListenerPort,
    Redirect,
    Retry,
    Substitute,
    SwapPrefix,
)
from controlplane.ir.backends import Backend, Mirror, ServiceBackend, Weighted
from controlplane.ir.extras import HeaderChanges
from controlplane.ir.rules import UNNAMED, HttpRule, WrittenOrder
from controlplane.mesh.routing.istio_matches import request_match
from controlplane.mesh.routing.istio_route_extras import authority_of, changes, cors, fault, per_million, requesting
from controlplane.objects.networking.virtual_service import (
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    VirtualService,
)

_ALWAYS = 100.0
_MOVED_PERMANENTLY = 301
_REDIRECT_CODES = (_MOVED_PERMANENTLY, 302, 303, 307, 308)  # those that Envoy has
_BY_STATUS = "retriable-status-codes"


class Destinations(NamedTuple):
    """The destinations of a route resolved for some proxies, one each, and what their requests are hashed by."""

    backends: tuple[ServiceBackend, ...]
    mirrors: tuple[ServiceBackend, ...]
    hashes: tuple[HashKey, ...] = ()


def default_rule(backend: Backend, hashed_by: HashKey | None = None) -> HttpRule:
    """Return the rule of a host that no VirtualService routes: everything goes to ``backend``."""
    hashes = (hashed_by,) if hashed_by else ()
    action = Forward(backends=(Weighted(backend=backend),), retry=_retry(None, hashed=bool(hashes)), hashes=hashes)
    return HttpRule(action=action, name=UNNAMED)


def written(virtual_service: VirtualService, rules: Iterable[HttpRule]) -> tuple[HttpRule, ...]:
    """Return ``rules`` as those of ``virtual_service``, with their ranks, up to the first that matches every request."""
    key = virtual_service.key
    origin = f"/apis/networking.istio.io/v1/namespaces/{key.namespace}/virtual-service/{key.name}"
    ranked = []
    for position, rule in enumerate(rules):
        last = rule.match.takes_everything
        ranked.append(replace(rule, origin=origin, rank=WrittenOrder(last, virtual_service.meta.seniority, key, position)))
        if last:
            break
    return tuple(ranked)


def http_rules(
    route: HTTPRoute, matches: Sequence[HTTPMatchRequest], destinations: Destinations, *, faults_at_callee: bool = False
) -> Iterator[HttpRule]:
    """Yield the rules of ``route``, one each of ``matches`` (without any: every request), none where Envoy has no such action.

    ``faults_at_callee``: those whom it leads to make its faults, as requests ask for them.
    """
    action = _action(route, destinations)
    if action is None:
        return
    headers, injected = route.headers, fault(route.fault) if route.fault else None
    request = changes(headers.request if headers else None)
    if faults_at_callee and injected:
        request, injected = requesting(injected, request), None
    for match in matches or (HTTPMatchRequest(),):
        yield HttpRule(
            match=request_match(match),
            action=action,
            request=request,
            response=changes(headers.response if headers else None),
            cors=cors(route.cors_policy) if route.cors_policy else None,
            fault=injected,
            name=".".join(name for name in (route.name, match.name) if name),
            stat_prefix=match.stat_prefix,
        )


def _action(route: HTTPRoute, destinations: Destinations) -> Action | None:
    if route.redirect:
        return _redirect(route.redirect)
    if route.direct_response:
        return _answer(route.direct_response)
    return _forward(route, destinations) if destinations.backends else None  # only a delegate has none


def _forward(route: HTTPRoute, destinations: Destinations) -> Forward:
    rewrite = route.rewrite
    set_to = authority_of(route.headers.request if route.headers else None)
    return Forward(
        backends=_weighted(route.route, destinations.backends),
        mirrors=tuple(_mirrors(route, destinations.mirrors)),
        path=_path(rewrite) if rewrite else None,
        authority=(rewrite.authority if rewrite else "") or set_to,
        timeout_ms=route.timeout or 0,
        retry=_retry(route.retries, hashed=bool(destinations.hashes)),
        hashes=destinations.hashes,
    )


def _weighted(routes: Sequence[HTTPRouteDestination], backends: Sequence[ServiceBackend]) -> tuple[Weighted, ...]:
    """Return ``backends`` with the weights of ``routes``. One without a weight gets no requests; if none has any, the first gets all."""
    chosen = tuple(
        Weighted(
            backend=backend,
            weight=route.weight,
            request=changes(route.headers.request) if route.headers else HeaderChanges(),
            response=changes(route.headers.response) if route.headers else HeaderChanges(),
            authority=authority_of(route.headers.request) if route.headers else "",
        )
        for route, backend in zip(routes, backends, strict=True)
        if route.weight or len(routes) == 1
    )
    return chosen or (Weighted(backend=backends[0]),)


def _mirrors(route: HTTPRoute, backends: Sequence[ServiceBackend]) -> Iterator[Mirror]:
    percents = [_mirror_percent(route)] if route.mirror else []
    percents += [mirror.percentage.value if mirror.percentage else _ALWAYS for mirror in route.mirrors]
    for backend, percent in zip(backends, percents, strict=True):
        if percent:
            yield Mirror(backend, per_million(percent))


def _mirror_percent(route: HTTPRoute) -> float:
    if route.mirror_percentage is not None:
        return route.mirror_percentage.value
    deprecated = route.mirror_percent if route.mirror_percent is not None else route.deprecated_mirror_percent
    return _ALWAYS if deprecated is None else deprecated


def _path(rewrite: HTTPRewrite) -> SwapPrefix | Substitute | None:
    if rewrite.uri_regex_rewrite:
        return Substitute(rewrite.uri_regex_rewrite.match, rewrite.uri_regex_rewrite.rewrite)
    return SwapPrefix(rewrite.uri) if rewrite.uri else None


def _retry(retries: HTTPRetry | None, *, hashed: bool) -> Retry | None:
    """Return the retry policy of ``retries``. A ``hashed`` request is sent to the same host again: that is why it is hashed."""
    if retries is None:
        return Retry(other_hosts=not hashed)
    if retries.attempts <= 0:
        return None
    conditions, codes = _retry_conditions(retries.retry_on)
    other_hosts = retries.retry_ignore_previous_hosts
    return Retry(
        attempts=retries.attempts,
        conditions=conditions,
        codes=codes,
        per_try_timeout_ms=retries.per_try_timeout,
        backoff_ms=retries.backoff,
        other_hosts=not hashed if other_hosts is None else other_hosts,
        other_localities=bool(retries.retry_remote_localities),
    )


def _retry_conditions(retry_on: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the conditions and the statuses in ``retry_on``, separated by commas; where it is empty, the default's."""
    if not retry_on:
        return DEFAULT_CONDITIONS, ()
    tokens = [token.strip() for token in retry_on.split(",") if token.strip()]
    codes = tuple(sorted({int(token) for token in tokens if token.isdecimal()}))
    conditions = tuple(token for token in tokens if not token.isdecimal())
    return (*conditions, _BY_STATUS) if codes and _BY_STATUS not in conditions else conditions, codes


def _redirect(redirect: HTTPRedirect) -> Redirect | None:
    code = redirect.redirect_code or _MOVED_PERMANENTLY
    if code not in _REDIRECT_CODES:
        return None
    path = SwapPrefix(redirect.prefix_rewrite) if redirect.prefix_rewrite else FullPath(redirect.uri) if redirect.uri else None
    return Redirect(code=code, scheme=redirect.scheme, authority=redirect.authority, path=path, port=_port(redirect))


def _port(redirect: HTTPRedirect) -> FixedPort | ListenerPort | KeepPort:
    if redirect.derive_port == "FROM_REQUEST_PORT":
        return ListenerPort()
    return FixedPort(redirect.port) if redirect.port else KeepPort()


def _answer(response: HTTPDirectResponse) -> Answer:
    body = response.body
    if body is None:
        return Answer(response.status)
    return Answer(response.status, body.string if body.string is not None else body.bytes)
