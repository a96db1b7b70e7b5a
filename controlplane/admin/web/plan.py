"""Plan as a form: what manifests that are pasted would do if they were applied."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.state import AdminState
from controlplane.admin.traffic.plans import OUTDATED, body_of, planned
from controlplane.admin.web.rendering import HEADERS, HTML, html_pieces
from controlplane.background import in_background
from controlplane.explain.questions.manifests import BadManifests
from controlplane.incremental.branches import Outdated
from controlplane.slices import LoopShare

_FIELD = "manifests"
_NOTHING: Mapping[str, object] = {"manifests": "", "plan": None, "mistake": ""}


def add_plan_page(router: APIRouter, state: AdminState, answers: Answers, share: LoopShare) -> None:
    """Have ``router`` serve the page; what is pasted is worked out within ``share`` of the event loop."""
    numbers = itertools.count()

    async def answer(request: Request, context: Mapping[str, object]) -> Response:
        # Nobody asks for the same plan again: what is pasted is part of no address.
        page = ("plan page", next(numbers))
        return await answers.answer(request, lambda: html_pieces("plan.html", "plan", context), page=page, media_type=HTML, headers=HEADERS)

    @router.get("/plan")
    async def form(request: Request) -> Response:
        return await answer(request, _NOTHING)

    @router.post("/plan")
    async def plan(request: Request) -> Response:
        text = await in_background(_manifests, await body_of(request))
        found, mistake = None, ""
        try:
            found = (await planned(state, share, text)).row()
        except BadManifests as error:
            mistake = str(error)
        except Outdated:
            mistake = OUTDATED
        return await answer(request, {"manifests": text, "plan": found, "mistake": mistake})


def _manifests(body: str) -> str:
    """Return what stands in the form that ``body`` brings; raises HTTPException."""
    try:
        return parse_qs(body, max_num_fields=4, keep_blank_values=True)[_FIELD][0].replace("\r\n", "\n")
    except (KeyError, ValueError):
        raise HTTPException(422, f"expected a form with the field {_FIELD}") from None
