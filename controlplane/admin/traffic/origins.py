"""Where the resources of a proxy come from: the objects and fields that each was made from, resource by resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, HTTPException, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.rows import list_page
from controlplane.admin.schemas import OriginRow, ResourceOrigins
from controlplane.admin.state import AdminState
from controlplane.admin.traffic.explanations import session_of, sight_of

MOST_ORIGINS = 20  # of one resource
_MISSING: dict[int | str, dict[str, object]] = {404: {"description": "No such proxy is connected, or there is no such type"}}


def origins_router(
    state: AdminState, answers: Answers, responses: dict[int | str, dict[str, object]], types: Mapping[str, str]
) -> APIRouter:
    """Return the route that says where resources of ``types``, type URLs by their names, come from."""
    router = APIRouter(prefix="/v1/proxies", tags=["proxies"], responses={**responses, **_MISSING})

    @router.get(
        "/{proxy_id}/origins/{kind}",
        summary="Which objects and fields the resources of one type were made from",
        response_model=list[ResourceOrigins],
    )
    async def origins(request: Request, proxy_id: str, kind: str) -> Response:
        session = session_of(state, proxy_id)
        if kind not in types:
            raise HTTPException(404, f"expected one of {', '.join(types)}, found {kind[:80]}")
        names = sorted({resource.name for resource in session.view.resources(types[kind])})

        def rows() -> Iterator[ResourceOrigins]:
            sight = sight_of(state)
            for name in names:
                made = state.mesh.attribution.made_of(session.view.tables, types[kind], name)[:MOST_ORIGINS]
                yield ResourceOrigins(
                    name=name,
                    objects=tuple(
                        OriginRow(
                            object=str(each.key),
                            field=each.field,
                            file=each.location.file if each.location else None,
                            line=each.location.line or None if each.location else None,
                        )
                        for each in (sight.origins.of(origin.key, origin.field) for origin in made)
                    ),
                )

        def version() -> object:
            return state.mesh.version, state.locations(), tuple(session.view.tables)

        return await answers.answer(request, lambda: list_page(rows()), version)

    return router
