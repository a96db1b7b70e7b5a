"""The admin API: what is known of objects, Problems and proxies. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response

from controlplane.admin.changes.events import events_router
from controlplane.admin.changes.history import history_router
from controlplane.admin.health import health_router
from controlplane.admin.host_check import HostCheck
from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.api_docs import docs_router
from controlplane.admin.pages.rows import list_page, object_rows, page, problem_rows, resource_list_page, resource_page
from controlplane.admin.request_limit import RequestLimit
from controlplane.admin.route_access import RouteAccess, include_routers
from controlplane.admin.schemas import (
    IdentityRow,
    IssuerRow,
    LoadRow,
    ModuleRow,
    ObjectRow,
    ProblemRow,
    ProxyRow,
    RefusedCallerRow,
    ResourceRow,
)
from controlplane.admin.state import AdminState
from controlplane.admin.traffic.explanations import explanation_router
from controlplane.admin.traffic.origins import origins_router
from controlplane.admin.traffic.plans import plan_router
from controlplane.admin.traffic.standings import standing_router
from controlplane.admin.web.pages import web_router
from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.slices import LoopShare
from controlplane.xds.resource import Resource

TYPES: Mapping[str, str] = {
    "listeners": LDS,
    "routes": RDS,
    "clusters": CDS,
    "endpoints": EDS,
    "virtualhosts": VHDS,
    "secrets": SDS,
    "extensions": ECDS,
}
T = TypeVar("T")
_MISSING: dict[int | str, dict[str, object]] = {404: {"description": "There is none"}}
_ALWAYS: dict[int | str, dict[str, object]] = {
    304: {"description": "It is as it was when it had the ETag that If-None-Match names"},
    503: {"description": "Too many requests are being answered; Retry-After says when to come again"},
}


def admin_app(state: AdminState, hosts: Iterable[str]) -> RequestLimit:
    """Return the API over ``state``, with its metrics; besides the loopback interface's own names, ``hosts`` may call it."""
    app = FastAPI(title="Navarch", description="What a Navarch control plane knows. Read only.", docs_url=None, redoc_url=None)
    pages, health = LoopShare(), LoopShare()
    answers = Answers(pages)
    routers = (_object_router, _proxy_router, _identity_router, _load_router)
    own = (router(state, answers) for router in routers)
    asked = (
        web_router(state, answers, pages),
        explanation_router(state, answers, _ALWAYS),
        plan_router(state, answers, pages, _ALWAYS),
        standing_router(state, _ALWAYS),
    )
    changed = (history_router(state, answers, _ALWAYS), events_router(state, _ALWAYS), origins_router(state, answers, _ALWAYS, TYPES))
    web = web_router(state, answers, pages)
    docs = docs_router(app.openapi, answers)
    include_routers(app, RouteAccess.OPERATOR, health_router(state, Answers(health)), *own, *asked, *changed, web, docs)
    return RequestLimit(HostCheck(app, hosts), pages, health)


def _object_router(state: AdminState, answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["objects"], responses=_ALWAYS)

    @router.get("/objects", summary="The objects in effect, and where they stand", response_model=list[ObjectRow])
    async def objects(request: Request, kind: str | None = None, namespace: str | None = None) -> Response:
        def rows() -> Iterator[ObjectRow | None]:
            return object_rows(state.mesh.keys, state.locations(), kind, namespace)

        return await answers.answer(request, lambda: list_page(rows()), lambda: (state.mesh.version, state.locations()))

    @router.get("/problems", summary="What is wrong with the objects, by file and line", response_model=list[ProblemRow])
    async def problems(request: Request, severity: str | None = None) -> Response:
        def rows() -> Iterator[ProblemRow | None]:
            return problem_rows(chain(state.mesh.problems_by_object(), state.fleet_problems()), state.locations(), severity)

        def version() -> object:
            return state.mesh.version, state.locations(), state.fleet_problems_version()

        return await answers.answer(request, lambda: list_page(rows()), version)

    return router


def _proxy_router(state: AdminState, answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/v1/proxies", tags=["proxies"], responses=_ALWAYS)

    @router.get("", summary="The connected proxies: what each was sent, accepted and refused", response_model=list[ProxyRow])
    async def proxies(request: Request) -> Response:
        return await answers.answer(request, lambda: list_page(state.proxies(None)))

    @router.get("/{proxy_id}", summary="One connected proxy", responses=_MISSING, response_model=ProxyRow)
    async def proxy(request: Request, proxy_id: str) -> Response:
        def row() -> Iterator[bytes]:
            return page(_present(next(state.proxies(proxy_id), None), f"no proxy {proxy_id} is connected"))

        return await answers.answer(request, row)

    @router.get(
        "/{proxy_id}/config/{kind}",
        summary="The resources of one type that a proxy is sent",
        responses=_MISSING,
        response_model=list[ResourceRow],
    )
    async def config(request: Request, proxy_id: str, kind: str) -> Response:
        resources = _resources(state, proxy_id, kind)
        return await answers.answer(request, lambda: resource_list_page(resources), page=_content(resources))

    @router.get(
        "/{proxy_id}/config/{kind}/{name:path}",
        summary="One resource that a proxy is sent",
        responses=_MISSING,
        response_model=ResourceRow,
    )
    async def resource(request: Request, proxy_id: str, kind: str, name: str) -> Response:
        named = next((each for each in _resources(state, proxy_id, kind) if each.name == name), None)
        found = _present(named, f"the proxy is sent no {kind} called {name}")
        return await answers.answer(request, lambda: resource_page(found), page=("one", _content((found,))))

    return router


def _load_router(state: AdminState, answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/v1/load", tags=["load"], responses=_ALWAYS)

    @router.get("", summary="The traffic that proxies report, by cluster and locality", response_model=list[LoadRow])
    async def load(request: Request) -> Response:
        return await answers.answer(request, lambda: list_page(state.load(None)))

    @router.get("/{proxy_id}", summary="The traffic that one proxy reports, by cluster and locality", response_model=list[LoadRow])
    async def of_one(request: Request, proxy_id: str) -> Response:
        return await answers.answer(request, lambda: list_page(state.load(proxy_id)))

    return router


def _identity_router(state: AdminState, answers: Answers) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["identity"], responses=_ALWAYS)

    @router.get("/identity", summary="Who signs, who is trusted, and how far a rotation is", responses=_MISSING, response_model=IdentityRow)
    async def identity(request: Request) -> Response:
        def row() -> Iterator[bytes]:
            return page(
                _present(state.identity(), "this control plane gives no identities: it was started without --xds-tls and --xds-mtls")
            )

        return await answers.answer(request, row)

    @router.get(
        "/refused-callers",
        summary="Who was not let in lately, and why: proxies with nodes or credentials that are not right",
        response_model=list[RefusedCallerRow],
    )
    async def refused_callers(request: Request) -> Response:
        return await answers.answer(request, lambda: list_page(state.refused_callers()))

    @router.get("/modules", summary="Which modules in WebAssembly are fetched, and how that goes", response_model=list[ModuleRow])
    async def modules(request: Request) -> Response:
        return await answers.answer(request, lambda: list_page(state.modules()))

    @router.get("/issuers", summary="Where keys of token issuers are fetched, and how that goes", response_model=list[IssuerRow])
    async def issuers(request: Request) -> Response:
        return await answers.answer(request, lambda: list_page(state.issuers()))

    return router


def _present(found: T | None, otherwise: str) -> T:
    if found is None:
        raise HTTPException(404, otherwise)
    return found


def _resources(state: AdminState, proxy_id: str, kind: str) -> list[Resource]:
    if kind not in TYPES:
        raise HTTPException(404, f"expected one of {', '.join(TYPES)}, found {kind[:80]}")
    session = next((open_session for open_session in state.sessions() if open_session.proxy.id == proxy_id), None)
    view = _present(session, f"no proxy {proxy_id} is connected").view
    return sorted(view.resources(TYPES[kind]), key=lambda resource: resource.name)


def _content(resources: Iterable[Resource]) -> Hashable:
    """Return what is the same for all pages with ``resources``, of whichever proxy: those that see the same share them."""
    return tuple((resource.type_url, resource.name, resource.version) for resource in resources)
