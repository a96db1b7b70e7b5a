"""What is wrong between a VirtualService and those to which it leaves routes."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import delegating_to, exports_of
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateways_of
from controlplane.mesh.inputs import index
from controlplane.mesh.registry.services import is_exported
from controlplane.mesh.routing.delegates import delegate_key, leaves_out_routes, virtual_service_object
from controlplane.mesh.routing.istio_delegates import first_outside, resolved_names
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.claim_matches import is_claim
from controlplane.objects.networking.rules.virtual_service import MAX_ROUTES
from controlplane.objects.networking.virtual_service import HTTPRoute, VirtualService


def delegate_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield what is wrong with the delegates of ``virtual_service``, or, where it is one itself, with what it makes of that."""
    if not virtual_service.spec.hosts:
        yield from _problems_of_delegate(db, virtual_service)
        return
    if leaves_out_routes(db, virtual_service):
        message = f"with those of its delegates it has more than {MAX_ROUTES} matches, counted for each host: the last ones are left out"
        yield Problem(virtual_service.key, "spec.http", Severity.WARNING, "TooManyRoutes", message)
    for position, route in enumerate(virtual_service.spec.http):
        if route.delegate is not None:
            yield from _problems_of_root(db, virtual_service, position, route)


def _problems_of_root(db: Database, root: VirtualService, position: int, route: HTTPRoute) -> Iterator[Problem]:
    field = f"spec.http[{position}].delegate"
    key = delegate_key(route, root.key.namespace)
    delegate = virtual_service_object(db, key) if key else None
    missing = _not_usable(delegate, root.key.namespace) if delegate else f"there is no {key}"
    if missing or delegate is None:
        yield Problem(root.key, field, Severity.WARNING, "UnknownDelegate", f"{missing}: this route is left out")
        return
    for delegated, match in _conflicts(root, route, delegate):
        message = f"spec.http[{delegated}] of {key} is left out: its match[{match}] does not lie within the conditions of this route"
        yield Problem(root.key, field, Severity.WARNING, "Conflict", message)


def _not_usable(delegate: VirtualService, namespace: str) -> str:
    """Return why a VirtualService of ``namespace`` may not delegate to ``delegate``; empty: it may."""
    if delegate.spec.hosts:
        return f"{delegate.key} has hosts, so that it is no delegate"
    return "" if is_exported(exports_of(delegate), namespace) else f"{delegate.key} is not exported to {namespace}"


def _conflicts(root: VirtualService, route: HTTPRoute, delegate: VirtualService) -> Iterator[tuple[int, int]]:
    """Yield the positions of the routes of ``delegate`` that ``route`` of ``root`` cannot have, each with the match that is the reason."""
    outer = resolved_names(route, root.key.namespace)
    for position, delegated in enumerate(delegate.spec.http):
        match = first_outside(outer, resolved_names(delegated, delegate.key.namespace))
        if match is not None:
            yield position, match


def _problems_of_delegate(db: Database, delegate: VirtualService) -> Iterator[Problem]:
    key = delegate.key
    roots = [root for each in sorted(index(db, delegating_to(key.namespace, key.name))) if (root := virtual_service_object(db, each))]
    if not roots:
        yield Problem(key, "spec.hosts", Severity.WARNING, "Unused", "no VirtualService delegates to this one, which has no hosts")
    for position, route in enumerate(delegate.spec.http):
        if route.delegate is not None:
            message = "a delegate cannot delegate again: this route is left out"
            yield Problem(key, f"spec.http[{position}].delegate", Severity.WARNING, "Conflict", message)
    for root in roots:
        if message := _not_usable(delegate, root.key.namespace):
            yield Problem(key, "spec.exportTo", Severity.WARNING, "NotExported", f"{message}, where {root.key} delegates to it")
            continue
        for route in root.spec.http:
            if delegate_key(route, root.key.namespace) == key:
                yield from _problems_with_root(root, route, delegate)


def _problems_with_root(root: VirtualService, route: HTTPRoute, delegate: VirtualService) -> Iterator[Problem]:
    key = delegate.key
    for position, outside in _conflicts(root, route, delegate):
        message = f"expected a condition within what {root.key} delegates: for its hosts this route is left out"
        yield Problem(key, f"spec.http[{position}].match[{outside}]", Severity.WARNING, "Conflict", message)
    bound = gateways_of(root)
    for position, delegated in enumerate(resolved_names(each, key.namespace) for each in delegate.spec.http):
        for match_position, match in enumerate(delegated.match):
            field = f"spec.http[{position}].match[{match_position}]"
            if match.gateways and not bound & set(match.gateways):
                message = f"{root.key} is bound to none of these Gateways: for its hosts this match has no effect"
                yield Problem(key, f"{field}.gateways", Severity.WARNING, "Ineffective", message)
            claims = [name for name in (*match.headers, *match.without_headers) if is_claim(name)]
            if claims and MESH_GATEWAY in bound and MESH_GATEWAY in (match.gateways or bound):
                message = f"only gateways know the claims of a token: for sidecars, to which {root.key} is bound, there is no {claims[0]}"
                yield Problem(key, field, Severity.WARNING, "Ineffective", message)
