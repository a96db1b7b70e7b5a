"""Whether the process lives, whether it may be asked, and its metrics: what a kubelet and Prometheus need."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from controlplane.admin.route_access import RouteAccess, include_routers


def health_router(ready: Callable[[], str | None], registry: CollectorRegistry) -> APIRouter:
    """Return the routes that tell what ``ready`` says (``None``: yes, else why not) and the metrics of ``registry``."""
    router = APIRouter(tags=["health"], default_response_class=PlainTextResponse)

    @router.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> str:
        return "ok\n"

    @router.get(
        "/readyz",
        summary="Whether every source has been read and proxies are answered",
        responses={503: {"description": "Not yet, or no more"}},
    )
    async def readyz() -> PlainTextResponse:
        reason = ready()
        return PlainTextResponse("ok\n" if reason is None else f"{reason}\n", status_code=200 if reason is None else 503)

    @router.get("/metrics", summary="Metrics in Prometheus's text format")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def health_app(ready: Callable[[], str | None], registry: CollectorRegistry) -> FastAPI:
    """Return an application that serves nothing else."""
    app = FastAPI(title="Navarch health", openapi_url=None, docs_url=None, redoc_url=None)
    include_routers(app, RouteAccess.ANYBODY, health_router(ready, registry))
    return app
