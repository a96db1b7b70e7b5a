"""What manifests would do if they were applied: worked out beside what is served, in slices, and nothing of it stays."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, HTTPException, Query, Request, Response

from controlplane.admin.host_check import MAX_BODY_BYTES
from controlplane.admin.pages.answers import Answers
from controlplane.admin.state import AdminState
from controlplane.background import in_background
from controlplane.explain.planning.making import plan_for
from controlplane.explain.planning.plan import ChangePlan
from controlplane.explain.questions.manifests import BadManifests, objects_in
from controlplane.explain.work import Work
from controlplane.incremental.branches import Outdated
from controlplane.slices import LoopShare

OUTDATED = "the mesh has changed again and again while this was worked out: come again"
_PIECE_S = 0.001
_RESPONSES: dict[int | str, dict[str, object]] = {
    413: {"description": f"More than {MAX_BODY_BYTES} bytes"},
    422: {"description": "These are no manifests; the detail says why"},
    503: {"description": "The mesh changes too often to plan against it; come again"},
}
T = TypeVar("T")


def plan_router(state: AdminState, answers: Answers, share: LoopShare, responses: dict[int | str, dict[str, object]]) -> APIRouter:
    """Return the route that plans, over ``state`` and within ``share`` of the event loop."""
    router = APIRouter(prefix="/v1", tags=["traffic"], responses={**responses, **_RESPONSES})
    numbers = itertools.count()

    @router.post("/plan", summary="What would change if the manifests in the body (YAML or JSON) were applied; nothing does")
    async def plan(request: Request, *, contents: Annotated[bool, Query()] = False) -> Response:
        text = await body_of(request)
        try:
            found = await planned(state, share, text, contents=contents)
        except BadManifests as error:
            raise HTTPException(422, str(error)) from None
        except Outdated:
            raise HTTPException(503, OUTDATED) from None
        return await answers.answer(request, lambda: [orjson.dumps(found.row())], page=("plan", next(numbers)))

    return router


async def planned(state: AdminState, share: LoopShare, text: str, *, contents: bool = False) -> ChangePlan:
    """Return what the manifests ``text`` would do if they were applied; raises BadManifests and Outdated."""
    changes = await in_background(objects_in, text)
    sessions = [session for session in state.sessions() if session.roots]
    return await worked_out(share, plan_for(state.mesh, sessions, changes, _stop, contents=contents))


async def body_of(request: Request) -> str:
    """Return the text that ``request`` brings, which ``HostCheck`` has bounded; raises HTTPException where it is none."""
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise HTTPException(422, "expected manifests in UTF-8") from None


async def worked_out(share: LoopShare, work: Work[T]) -> T:
    """Return what ``work`` comes to, done within ``share`` of the event loop."""
    found: list[T] = []

    def pieces() -> Iterator[None]:
        found.append((yield from work))

    async for _ in share.in_slices(pieces()):
        pass
    return found[0]


def _stop() -> Callable[[], bool]:
    until = time.perf_counter() + _PIECE_S
    return lambda: time.perf_counter() > until
