"""How far objects have come: whether they are what is served, and who of the proxies that need them has not accepted them, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from fastapi import APIRouter, HTTPException, Request, Response

from controlplane.admin.state import AdminState, ObjectStandings
from controlplane.admin.traffic.plans import body_of
from controlplane.background import in_background
from controlplane.explain.questions.manifests import BadManifests, objects_in
from controlplane.fleet.rollout import Standing
from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import Key
from controlplane.model.problems import Severity
from controlplane.objects.changes import MeshChange
from controlplane.objects.kinds import MeshObject
from controlplane.slices import next_turn

_MOST_TOLD = 100  # proxies of one object
_RESPONSES: dict[int | str, dict[str, object]] = {
    404: {"description": "There is no such object"},
    413: {"description": "Too many bytes of manifests"},
    422: {"description": "These are no manifests; the detail says why"},
}


def standing_router(state: AdminState, responses: dict[int | str, dict[str, object]]) -> APIRouter:
    """Return the routes that say how far objects have come, over ``state``."""
    router = APIRouter(prefix="/v1", tags=["traffic"], responses={**responses, **_RESPONSES})

    @router.get("/standings", summary="How far one object has come, as it is served: Kind/namespace/name")
    async def standing(name: str) -> Response:
        keys = [key for key in state.mesh.keys if str(key).lower() == name.lower()]
        if not keys or state.standings is None:
            raise HTTPException(404, f"there is no object {name[:300]}")
        await state.standings.look()
        return _answer([_row(state.mesh, state.standings, key, lambda served: served is not None) for key in keys])

    @router.post("/standings", summary="How far the objects of the manifests in the body have come, as they are written there")
    async def standings(request: Request) -> Response:
        text = await body_of(request)
        try:
            changes = await in_background(objects_in, text)
        except BadManifests as error:
            raise HTTPException(422, str(error)) from None
        if state.standings is None:
            raise HTTPException(404, "this control plane serves no proxies")
        await state.standings.look()
        rows: list[Mapping[str, object]] = []
        for change in changes:
            rows.append(_row(state.mesh, state.standings, change.key, _is_written(change)))
            await next_turn()
        return _answer(rows)

    return router


def _is_written(change: MeshChange) -> Callable[[MeshObject | None], bool]:
    """Return what says whether a served object is the one of ``change``, as far as it is written: not what an API server adds to it."""

    def is_written(served: MeshObject | None) -> bool:
        wanted = change.object
        if served is None or wanted is None:
            return served is wanted
        if served == wanted:
            return True
        meta = (served.meta.labels, served.meta.annotations) == (wanted.meta.labels, wanted.meta.annotations)
        return meta and served.model_dump(exclude={"meta"}) == wanted.model_dump(exclude={"meta"})

    return is_written


def _row(mesh: Mesh, standings: ObjectStandings, key: Key, is_the_one: Callable[[MeshObject | None], bool]) -> Mapping[str, object]:
    served = mesh.object(key)
    there = is_the_one(served)
    errors = [problem.message for problem in mesh.problems_about(key) if problem.severity is Severity.ERROR] if there else []
    found = standings.standing(key) if there else Standing(0, 0, published=False)
    return {
        "object": str(key),
        "served": there,
        "why": "" if there else "another version is served" if served is not None else "it is not served",
        "errors": errors,
        "accepted": there and found.published and not errors,
        "programmed": there and not errors and found.programmed,
        "needed": found.needed,
        "have": found.accepted,
        "heldBack": found.held_back or None,
        "waiting": [{"proxy": each.proxy, "resource": each.resource} for each in found.waiting[:_MOST_TOLD]],
        "refusals": [{"proxy": each.proxy, "resource": each.resource, "message": each.message} for each in found.refusals[:_MOST_TOLD]],
    }


def _answer(rows: list[Mapping[str, object]]) -> Response:
    return Response(orjson.dumps({"objects": rows}), media_type="application/json", headers={"cache-control": "no-cache"})
