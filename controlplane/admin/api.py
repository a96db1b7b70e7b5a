"""The admin API: what is known of objects, Problems and proxies. Nothing here changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from fastapi import APIRouter, FastAPI, HTTPException
from prometheus_client import CollectorRegistry

from controlplane.admin.health import health_router
from controlplane.admin.host_check import HostCheck
from controlplane.admin.route_access import RouteAccess, include_routers
from controlplane.admin.schemas import IdentityRow, IssuerRow, LoadRow, ObjectRow, ProblemRow, ProxyRow, ResourceRow
from controlplane.admin.state import AdminState
from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.model.keys import Key
from controlplane.objects.locations import Location, Locations, located_problems
from controlplane.xds.resource import Resource

TYPES: Mapping[str, str] = {"listeners": LDS, "routes": RDS, "clusters": CDS, "endpoints": EDS, "virtualhosts": VHDS, "secrets": SDS}
_MISSING: dict[int | str, dict[str, object]] = {404: {"description": "There is none"}}


def admin_app(facts: AdminState, registry: CollectorRegistry, hosts: Iterable[str]) -> HostCheck:
    """Return the API over ``facts`` and the metrics of ``registry``; besides the loopback interface's own names, ``hosts`` may call it."""
    app = FastAPI(title="Navarch", description="What a Navarch control plane knows. Read only.", docs_url=None, redoc_url=None)
    include_routers(
        app,
        RouteAccess.OPERATOR,
        health_router(facts.not_ready, registry),
        _of_objects(facts),
        _of_proxies(facts),
        _of_identities(facts),
        _of_load(facts),
    )
    return HostCheck(app, hosts)


def _of_objects(facts: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["objects"])

    @router.get("/objects", summary="The objects in effect, and where they stand")
    async def objects(kind: str | None = None, namespace: str | None = None) -> list[ObjectRow]:
        keys = [each.key for each in facts.mesh.objects() if kind in {None, each.key.kind} and namespace in {None, each.key.namespace}]
        return await asyncio.to_thread(_objects, keys, facts.locations())

    @router.get("/problems", summary="What is wrong with the objects, by file and line")
    async def problems(severity: str | None = None) -> list[ProblemRow]:
        found = await asyncio.to_thread(located_problems, facts.mesh.problems(), facts.locations())
        return [ProblemRow.model_validate(each.row()) for each in found if severity in {None, each.problem.severity.value}]

    return router


def _of_proxies(facts: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1/proxies", tags=["proxies"])

    @router.get("", summary="The connected proxies: what each was sent, accepted and refused")
    async def proxies() -> list[ProxyRow]:
        return list(facts.proxies())

    @router.get("/{proxy_id}", summary="One connected proxy", responses=_MISSING)
    async def proxy(proxy_id: str) -> ProxyRow:
        for row in facts.proxies():
            if row.id == proxy_id:
                return row
        raise HTTPException(404, f"no proxy {proxy_id} is connected")

    @router.get("/{proxy_id}/config/{kind}", summary="The resources of one type that a proxy is sent", responses=_MISSING)
    async def config(proxy_id: str, kind: str) -> list[ResourceRow]:
        return await asyncio.to_thread(_expanded, _resources(facts, proxy_id, kind))

    @router.get("/{proxy_id}/config/{kind}/{name:path}", summary="One resource that a proxy is sent", responses=_MISSING)
    async def resource(proxy_id: str, kind: str, name: str) -> ResourceRow:
        found = await asyncio.to_thread(_expanded, [each for each in _resources(facts, proxy_id, kind) if each.name == name])
        if not found:
            raise HTTPException(404, f"the proxy is sent no {kind} called {name}")
        return found[0]

    return router


def _of_load(facts: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1/load", tags=["load"])

    @router.get("", summary="The traffic that proxies report, by cluster and locality")
    async def load() -> list[LoadRow]:
        return list(facts.load(None))

    @router.get("/{proxy_id}", summary="The traffic that one proxy reports, by cluster and locality")
    async def of_one(proxy_id: str) -> list[LoadRow]:
        return list(facts.load(proxy_id))

    return router


def _of_identities(facts: AdminState) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["identity"])

    @router.get("/identity", summary="Who signs, who is trusted, and how far a rotation is", responses=_MISSING)
    async def identity() -> IdentityRow:
        found = facts.identity()
        if found is None:
            raise HTTPException(404, "this control plane gives no identities: it was started without --xds-tls and --xds-mtls")
        return found

    @router.get("/issuers", summary="Where keys of token issuers are fetched, and how that goes")
    async def issuers() -> list[IssuerRow]:
        return list(facts.issuers())

    return router


def _resources(facts: AdminState, proxy_id: str, kind: str) -> list[Resource]:
    if kind not in TYPES:
        raise HTTPException(404, f"expected one of {', '.join(TYPES)}, found {kind[:80]}")
    session = next((each for each in facts.sessions() if each.proxy.id == proxy_id), None)
    if session is None:
        raise HTTPException(404, f"no proxy {proxy_id} is connected")
    return sorted(session.view.resources(TYPES[kind]), key=lambda each: each.name)


def _expanded(resources: Iterable[Resource]) -> list[ResourceRow]:
    return [ResourceRow(name=each.name, version=each.version, resource=expand(each.type_url, each.value)) for each in resources]


def _objects(keys: Iterable[Key], places: Sequence[Locations]) -> list[ObjectRow]:
    return [_object(key, next((place for each in places if (place := each.location(key, ""))), None)) for key in keys]


def _object(key: Key, place: Location | None) -> ObjectRow:
    return ObjectRow(
        object=str(key),
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        file=place.file if place else None,
        line=place.line if place else None,
    )
