"""Who may call which route: one that is not listed here is not served, so that nobody adds one without saying."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fastapi import APIRouter, FastAPI

from controlplane.errors import Bug


class UnlistedRoute(Bug):
    """A route that does not say who may call it, or is where others may."""


class RouteAccess(StrEnum):
    """Who may call a route."""

    ANYBODY = "anybody"  # who reaches the port: it says whether we are well, and numbers
    OPERATOR = "operator"  # who is on this machine and calls us by a name of it, or by one that was given (``host_check.py``)


EVENTS = "/v1/events"  # an answer that does not end
ACCESS: Mapping[str, RouteAccess] = {
    "/healthz": RouteAccess.ANYBODY,
    "/readyz": RouteAccess.ANYBODY,
    "/metrics": RouteAccess.ANYBODY,
    "/openapi.json": RouteAccess.OPERATOR,
    "/docs": RouteAccess.OPERATOR,
    "/": RouteAccess.OPERATOR,
    "/assets/{name}": RouteAccess.OPERATOR,
    "/explain": RouteAccess.OPERATOR,
    "/history": RouteAccess.OPERATOR,
    "/objects": RouteAccess.OPERATOR,
    "/plan": RouteAccess.OPERATOR,
    "/problems": RouteAccess.OPERATOR,
    "/proxies": RouteAccess.OPERATOR,
    "/proxies/{proxy_id}": RouteAccess.OPERATOR,
    "/resources": RouteAccess.OPERATOR,
    "/v1/objects": RouteAccess.OPERATOR,
    "/v1/problems": RouteAccess.OPERATOR,
    "/v1/load": RouteAccess.OPERATOR,
    "/v1/load/{proxy_id}": RouteAccess.OPERATOR,
    "/v1/proxies": RouteAccess.OPERATOR,
    "/v1/proxies/{proxy_id}": RouteAccess.OPERATOR,
    "/v1/proxies/{proxy_id}/config/{kind}": RouteAccess.OPERATOR,
    "/v1/proxies/{proxy_id}/config/{kind}/{name:path}": RouteAccess.OPERATOR,
    "/v1/identity": RouteAccess.OPERATOR,
    "/v1/refused-callers": RouteAccess.OPERATOR,
    "/v1/issuers": RouteAccess.OPERATOR,
    "/v1/modules": RouteAccess.OPERATOR,
    "/v1/history": RouteAccess.OPERATOR,
    "/v1/history/diff": RouteAccess.OPERATOR,
    "/v1/history/{number}": RouteAccess.OPERATOR,
    EVENTS: RouteAccess.OPERATOR,
    "/v1/proxies/{proxy_id}/origins/{kind}": RouteAccess.OPERATOR,
    "/v1/explain": RouteAccess.OPERATOR,
    "/v1/explain/resource": RouteAccess.OPERATOR,
    "/v1/authz": RouteAccess.OPERATOR,
    "/v1/plan": RouteAccess.OPERATOR,
    "/v1/standings": RouteAccess.OPERATOR,
}


def include_routers(app: FastAPI, caller: RouteAccess, *routers: APIRouter) -> None:
    """Have ``app`` serve ``routers``, all of whose routes ``caller`` may call; raises Unlisted."""
    for route in (*app.routes, *(included for router in routers for included in router.routes)):
        path = str(getattr(route, "path", route))
        if ACCESS.get(path) not in {RouteAccess.ANYBODY, caller}:
            raise UnlistedRoute(f"the route {path} is not listed as one that may be called by: {caller.value}")
    for router in routers:
        app.include_router(router)
