"""Whether the process lives, whether it may be asked, and its metrics: what a kubelet and Prometheus need."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from controlplane.admin.metrics import metrics_page
from controlplane.admin.pages.answers import Answers
from controlplane.admin.request_limit import RequestLimit
from controlplane.admin.route_access import RouteAccess, include_routers
from controlplane.admin.state import AdminState
from controlplane.slices import LoopShare


def health_router(state: AdminState, answers: Answers) -> APIRouter:
    """Return the routes that tell whether ``state`` is ready, and its metrics by ``answers``."""
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
        reason = state.not_ready()
        return PlainTextResponse("ok\n" if reason is None else f"{reason}\n", status_code=200 if reason is None else 503)

    @router.get("/metrics", summary="Metrics in Prometheus's text format")
    async def metrics(request: Request) -> Response:
        return await answers.answer(request, partial(metrics_page, state), media_type=CONTENT_TYPE_LATEST)

    return router


def health_app(state: AdminState) -> RequestLimit:
    """Return an application that serves nothing else of ``state``."""
    health = LoopShare()
    app = FastAPI(title="Navarch health", openapi_url=None, docs_url=None, redoc_url=None)
    include_routers(app, RouteAccess.ANYBODY, health_router(state, Answers(health)))
    return RequestLimit(app, health, health)
