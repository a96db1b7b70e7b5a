"""VirtualServices that leave some of their routes to others, their delegates."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import exports_of
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.services import is_exported
from controlplane.mesh.routing.istio_delegates import merged_routes, resolved_names
from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.objects.networking.rules.virtual_service import MAX_ROUTES
from controlplane.objects.networking.virtual_service import HTTPRoute, VirtualService


def http_routes(db: Database, key: Key) -> tuple[HTTPRoute, ...]:
    """Return the HTTP routes of the VirtualService ``key``, with those of delegates where it delegates; none where it has no hosts."""
    virtual_service = virtual_service_object(db, key)
    if virtual_service is None or not virtual_service.spec.hosts:
        return ()
    delegates = any(route.delegate is not None for route in virtual_service.spec.http)
    return routes_with_delegates(db, key) if delegates else virtual_service.spec.http


def merged_http_routes(db: Database, key: Key) -> tuple[HTTPRoute, ...]:
    """Return what ``http_routes`` does, but from inputs alone: for eager queries."""
    virtual_service = virtual_service_object(db, key)
    return _merged(db, virtual_service) if virtual_service and virtual_service.spec.hosts else ()


@query
def routes_with_delegates(db: Database, key: Key) -> tuple[HTTPRoute, ...]:
    """Return the HTTP routes of the VirtualService ``key``, with those of its delegates in the places where it delegates."""
    root = virtual_service_object(db, key)
    return _merged(db, root) if root else ()


def _merged(db: Database, root: VirtualService) -> tuple[HTTPRoute, ...]:
    routes: list[HTTPRoute] = []
    namespace = root.key.namespace
    left = MAX_ROUTES // max(1, len(root.spec.hosts))
    for route in root.spec.http:
        if route.delegate is None:
            more: Iterable[HTTPRoute] = (route,)
        else:
            more = merged_routes(resolved_names(route, namespace), delegated_routes(db, route, namespace))
        for each in more:
            left -= max(1, len(each.match))
            if left < 0:
                return tuple(routes)
            routes.append(each)
    return tuple(routes)


def leaves_out_routes(db: Database, root: VirtualService) -> bool:
    """Return whether ``root`` has more routes, with those of its delegates, than one VirtualService may."""
    matches = 0
    for route in root.spec.http:
        delegated = delegated_routes(db, route, root.key.namespace) if route.delegate else (route,)
        matches += sum(
            max(1, len(route.match)) * max(1, len(each.match)) if route.delegate else max(1, len(each.match)) for each in delegated
        )
    return matches * len(root.spec.hosts) > MAX_ROUTES


def delegated_routes(db: Database, route: HTTPRoute, namespace: str) -> tuple[HTTPRoute, ...]:
    """Return the routes of the delegate of ``route``, written in ``namespace``; none where it has none that may be used there.

    A delegate's own delegates are not followed.
    """
    key = delegate_key(route, namespace)
    delegate = virtual_service_object(db, key) if key else None
    if delegate is None or delegate.spec.hosts or not is_exported(exports_of(delegate), namespace):
        return ()
    return tuple(resolved_names(each, delegate.key.namespace) for each in delegate.spec.http if each.delegate is None)


def delegate_key(route: HTTPRoute, namespace: str) -> Key | None:
    """Return the VirtualService to which ``route``, written in ``namespace``, delegates."""
    delegate = route.delegate
    return VIRTUAL_SERVICE.key(delegate.namespace or namespace, delegate.name) if delegate else None


def virtual_service_object(db: Database, key: Key) -> VirtualService | None:
    """Return the VirtualService ``key``."""
    obj = objects(db, key)
    return obj if isinstance(obj, VirtualService) else None
