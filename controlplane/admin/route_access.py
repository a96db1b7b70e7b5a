"""Who may call which route: one that is not listed here is not served, so that nobody adds one without saying."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fastapi import APIRouter, FastAPI

from controlplane.errors import NavarchError


class Unlisted(NavarchError):
    """A route that does not say who may call it, or is where others may."""


class Access(StrEnum):
    """Who may call a route."""

    ANYBODY = "anybody"  # who reaches the port: it says whether we are well, and numbers
    OPERATOR = "operator"  # who is on this machine and calls us by a name of it, or by one that was given (``guard.py``)


ACCESS: Mapping[str, Access] = {
    "/healthz": Access.ANYBODY,
    "/readyz": Access.ANYBODY,
    "/metrics": Access.ANYBODY,
    "/openapi.json": Access.OPERATOR,
    "/v1/objects": Access.OPERATOR,
    "/v1/problems": Access.OPERATOR,
    "/v1/load": Access.OPERATOR,
    "/v1/load/{proxy_id}": Access.OPERATOR,
    "/v1/proxies": Access.OPERATOR,
    "/v1/proxies/{proxy_id}": Access.OPERATOR,
    "/v1/proxies/{proxy_id}/config/{kind}": Access.OPERATOR,
    "/v1/proxies/{proxy_id}/config/{kind}/{name:path}": Access.OPERATOR,
    "/v1/identity": Access.OPERATOR,
    "/v1/issuers": Access.OPERATOR,
}


def serve(app: FastAPI, caller: Access, *routers: APIRouter) -> None:
    """Have ``app`` serve ``routers``, all of whose routes ``caller`` may call; raises Unlisted."""
    for route in (*app.routes, *(each for router in routers for each in router.routes)):
        path = str(getattr(route, "path", route))
        if ACCESS.get(path) not in {Access.ANYBODY, caller}:
            raise Unlisted(f"the route {path} is not listed as one that may be called by: {caller.value}")
    for router in routers:
        app.include_router(router)
