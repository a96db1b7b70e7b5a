"""The admin API: what is known of objects, Problems and proxies. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fastapi import APIRouter, FastAPI, HTTPException, Response
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from controlplane.admin.health import health_router
from controlplane.admin.host_check import HostCheck
from controlplane.admin.route_access import RouteAccess, include_routers
from controlplane.admin.schemas import (
    IdentityRow,
    IssuerRow,
    LoadRow,
    ObjectRow,
    ProblemRow,
    ProxyRow,
    RefusedCallerRow,
    ResourceRow,
)
from controlplane.admin.state import AdminState
from controlplane.background import in_background
from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, in_order
from controlplane.objects.locations import Location, Locations, located_problems
from controlplane.slices import collected
from controlplane.xds.resource import Resource

TYPES: Mapping[str, str] = {"listeners": LDS, "routes": RDS, "clusters": CDS, "endpoints": EDS, "virtualhosts": VHDS, "secrets": SDS}
_PROBLEM_ROWS = TypeAdapter(list[ProblemRow])
_MISSING: dict[int | str, dict[str, object]] = {404: {"description": "There is none"}}


def admin_app(state: AdminState, registry: CollectorRegistry, hosts: Iterable[str]) -> HostCheck:
    """Return the API over ``state`` and the metrics of ``registry``; besides the loopback interface's own names, ``hosts`` may call it."""
    app = FastAPI(title="Navarch", description="What a Navarch control plane knows. Read only.", docs_url=None, redoc_url=None)
    include_routers(
        app,
        RouteAccess.OPERATOR,
        health_router(state.not_ready, registry),
        _object_router(state),
        _proxy_router(state),
        _identity_router(state),
        _load_router(state),
    )
    return HostCheck(app, hosts)


def _object_router(state: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["objects"])

    @router.get("/objects", summary="The objects in effect, and where they stand")
    async def objects(kind: str | None = None, namespace: str | None = None) -> list[ObjectRow]:
        keys = [entry.key for entry in state.mesh.objects() if kind in {None, entry.key.kind} and namespace in {None, entry.key.namespace}]
        return await in_background(_object_rows, keys, state.locations())

    @router.get("/problems", summary="What is wrong with the objects, by file and line", response_model=list[ProblemRow])
    async def problems(severity: str | None = None) -> Response:
        found = [*await collected(state.mesh.problems_by_object()), *await state.refusals()]
        return Response(await in_background(_problem_rows, found, state.locations(), severity), media_type="application/json")

    return router


def _proxy_router(state: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1/proxies", tags=["proxies"])

    @router.get("", summary="The connected proxies: what each was sent, accepted and refused")
    async def proxies() -> list[ProxyRow]:
        return list(state.proxies())

    @router.get("/{proxy_id}", summary="One connected proxy", responses=_MISSING)
    async def proxy(proxy_id: str) -> ProxyRow:
        for row in state.proxies():
            if row.id == proxy_id:
                return row
        raise HTTPException(404, f"no proxy {proxy_id} is connected")

    @router.get("/{proxy_id}/config/{kind}", summary="The resources of one type that a proxy is sent", responses=_MISSING)
    async def config(proxy_id: str, kind: str) -> list[ResourceRow]:
        return await in_background(_resource_rows, _resources(state, proxy_id, kind))

    @router.get("/{proxy_id}/config/{kind}/{name:path}", summary="One resource that a proxy is sent", responses=_MISSING)
    async def resource(proxy_id: str, kind: str, name: str) -> ResourceRow:
        named = [resource for resource in _resources(state, proxy_id, kind) if resource.name == name]
        rows = await in_background(_resource_rows, named)
        if not rows:
            raise HTTPException(404, f"the proxy is sent no {kind} called {name}")
        return rows[0]

    return router


def _load_router(state: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1/load", tags=["load"])

    @router.get("", summary="The traffic that proxies report, by cluster and locality")
    async def load() -> list[LoadRow]:
        return list(state.load(None))

    @router.get("/{proxy_id}", summary="The traffic that one proxy reports, by cluster and locality")
    async def of_one(proxy_id: str) -> list[LoadRow]:
        return list(state.load(proxy_id))

    return router


def _identity_router(state: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["identity"])

    @router.get("/identity", summary="Who signs, who is trusted, and how far a rotation is", responses=_MISSING)
    async def identity() -> IdentityRow:
        row = state.identity()
        if row is None:
            raise HTTPException(404, "this control plane gives no identities: it was started without --xds-tls and --xds-mtls")
        return row

    @router.get("/refused-callers", summary="Who was not let in lately, and why: proxies with nodes or credentials that are not right")
    async def refused_callers() -> list[RefusedCallerRow]:
        return list(state.refused_callers())

    @router.get("/issuers", summary="Where keys of token issuers are fetched, and how that goes")
    async def issuers() -> list[IssuerRow]:
        return list(state.issuers())

    return router


def _resources(state: AdminState, proxy_id: str, kind: str) -> list[Resource]:
    if kind not in TYPES:
        raise HTTPException(404, f"expected one of {', '.join(TYPES)}, found {kind[:80]}")
    session = next((open_session for open_session in state.sessions() if open_session.proxy.id == proxy_id), None)
    if session is None:
        raise HTTPException(404, f"no proxy {proxy_id} is connected")
    return sorted(session.view.resources(TYPES[kind]), key=lambda resource: resource.name)


def _resource_rows(resources: Iterable[Resource]) -> list[ResourceRow]:
    return [
        ResourceRow(name=resource.name, version=resource.version, resource=expand(resource.type_url, resource.value))
        for resource in resources
    ]


def _problem_rows(found: Iterable[Problem], places: Sequence[Locations], severity: str | None) -> bytes:
    located = located_problems(in_order(found), places)
    rows = [ProblemRow.model_validate(each.row()) for each in located if severity in {None, each.problem.severity.value}]
    return _PROBLEM_ROWS.dump_json(rows)


def _object_rows(keys: Iterable[Key], places: Sequence[Locations]) -> list[ObjectRow]:
    return [_object_row(key, next((place for source in places if (place := source.location(key, ""))), None)) for key in keys]


def _object_row(key: Key, place: Location | None) -> ObjectRow:
    return ObjectRow(
        object=str(key),
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        file=place.file if place else None,
        line=place.line if place else None,
    )
