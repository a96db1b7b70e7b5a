"""The last changes, and what of configuration is different between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.rows import list_page, page
from controlplane.admin.schemas import HistoryRow, ManifestChange
from controlplane.admin.state import AdminState

_UNKNOWN: dict[int | str, dict[str, object]] = {404: {"description": "That is not remembered, or not any more"}}
Number = Annotated[int, Query(ge=0, le=2**53)]


def history_router(state: AdminState, answers: Answers, responses: dict[int | str, dict[str, object]]) -> APIRouter:
    """Return the routes about what ``state`` remembers; ``responses`` are those that every route may give."""
    router = APIRouter(prefix="/v1/history", tags=["history"], responses=responses)

    @router.get("", summary="The last changes, the newest first: what came of each, and who has it", response_model=list[HistoryRow])
    async def history(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
        return await answers.answer(request, lambda: list_page(islice(state.history.rows(None), limit)))

    @router.get(
        "/diff",
        summary="What of configuration the changes after one until another changed, as manifests",
        responses=_UNKNOWN,
        response_model=list[ManifestChange],
    )
    async def diff(request: Request, since: Number, until: Number) -> Response:
        if (unknown := state.history.unknown(since, until)) is not None:
            raise HTTPException(404, unknown)

        def rows() -> Iterator[ManifestChange]:
            return state.history.between(since, until)

        return await answers.answer(request, lambda: list_page(rows()))

    @router.get("/{number}", summary="One change, with all of its objects", responses=_UNKNOWN, response_model=HistoryRow)
    async def one(request: Request, number: int) -> Response:
        found = next(state.history.rows(number), None)
        if found is None:
            raise HTTPException(404, f"change {number} is not remembered: the newest is {state.history.last()}")
        return await answers.answer(request, lambda: page(found))

    return router
