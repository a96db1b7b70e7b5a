"""Regular expressions of a VirtualService that are longer than some proxy takes that gets them."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import EVERYONE, exports_of
from controlplane.mesh.gateway.gateways import gateway_selector
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateways_of
from controlplane.mesh.inputs import ProxyPlace
from controlplane.mesh.problems.gateways import gateway_key, gateway_workloads
from controlplane.mesh.registry.expression_limits import ANYWHERE, large_expression, strictest_limit
from controlplane.model.problems import Problem, Severity
from controlplane.model.proxies import ProxyType
from controlplane.objects.networking.virtual_service import CorsPolicy, HTTPMatchRequest, StringMatch, VirtualService
from controlplane.objects.types.regex import regex_size

_NONE = (None, "", "*")  # Istio takes a star alone for whatever is there


def large_expressions(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which expressions of ``virtual_service`` are refused by a proxy that gets them."""
    sizes = [(path, regex_size(pattern)) for path, pattern in _expressions(virtual_service)]
    if not sizes:
        return
    limit = strictest_limit(db, _places(db, virtual_service))
    for path, size in sizes:
        if message := large_expression(size, limit):
            yield Problem(virtual_service.key, path, Severity.WARNING, "LargeExpression", message)


def _places(db: Database, virtual_service: VirtualService) -> Iterator[ProxyPlace]:
    """Yield the places of the proxies that ``virtual_service`` is for, or a few more."""
    if not virtual_service.spec.hosts:  # a delegate, for whomever its roots are for
        yield from ((ANYWHERE, kind) for kind in ProxyType)
        return
    for name in gateways_of(virtual_service):
        if name == MESH_GATEWAY:
            exports = exports_of(virtual_service)
            yield from ((ANYWHERE if namespace == EVERYONE else namespace, ProxyType.SIDECAR) for namespace in exports)
        else:
            pods = gateway_workloads(db, gateway_selector(db, gateway_key(name)))
            yield from ((namespace, ProxyType.ROUTER) for namespace in {namespace for namespace, _ in pods} or {ANYWHERE})


def _expressions(virtual_service: VirtualService) -> Iterator[tuple[str, str]]:
    for position, route in enumerate(virtual_service.spec.http):
        path = f"spec.http[{position}]"
        for match_position, match in enumerate(route.match):
            yield from _of_match(f"{path}.match[{match_position}]", match)
        if route.cors_policy:
            yield from _of_cors(f"{path}.corsPolicy", route.cors_policy)
        if route.rewrite and route.rewrite.uri_regex_rewrite:
            yield f"{path}.rewrite.uriRegexRewrite.match", route.rewrite.uri_regex_rewrite.match


def _of_match(path: str, match: HTTPMatchRequest) -> Iterator[tuple[str, str]]:
    texts = (("uri", match.uri), ("scheme", match.scheme), ("method", match.method), ("authority", match.authority))
    maps = (("headers", match.headers), ("withoutHeaders", match.without_headers), ("queryParams", match.query_params))
    written = [*texts, *((f"{field}.{name}", condition) for field, conditions in maps for name, condition in conditions.items())]
    yield from (_expression(f"{path}.{name}", condition) for name, condition in written if condition and condition.regex not in _NONE)


def _of_cors(path: str, cors: CorsPolicy) -> Iterator[tuple[str, str]]:
    origins = enumerate(cors.allow_origins)
    yield from (_expression(f"{path}.allowOrigins[{position}]", origin) for position, origin in origins if origin.regex not in _NONE)


def _expression(path: str, condition: StringMatch) -> tuple[str, str]:
    return f"{path}.regex", condition.regex or ""
