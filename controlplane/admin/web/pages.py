"""The routes of the operator's pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.rows import problem_rows
from controlplane.admin.state import AdminState
from controlplane.admin.web.lists import problems_page, proxies_page
from controlplane.admin.web.rendering import HEADERS, HTML

ASSETS = {"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
_FOLDER = Path(__file__).parent / "assets"


def web_router(state: AdminState, answers: Answers) -> APIRouter:
    """Return the pages that show ``state``."""
    router = APIRouter(include_in_schema=False)
    texts = {name: (_FOLDER / name).read_bytes() for name in ASSETS}

    @router.get("/assets/{name}")
    async def asset(request: Request, name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404, f"expected one of {', '.join(ASSETS)}, found {name[:80]}")
        return await answers.answer(request, lambda: (texts[name],), page=("asset", name), media_type=ASSETS[name], headers=HEADERS)

    @router.get("/proxies")
    async def proxies(request: Request, q: str = "") -> Response:
        return await answers.answer(request, lambda: proxies_page(state.proxies(None), q), media_type=HTML, headers=HEADERS)

    @router.get("/problems")
    async def problems(request: Request, q: str = "", severity: str = "") -> Response:
        def page() -> Iterator[bytes]:
            found = chain(state.mesh.problems_by_object(), state.fleet_problems())
            return problems_page(problem_rows(found, state.locations(), severity or None), q, severity)

        return await answers.answer(request, page, media_type=HTML, headers=HEADERS)

    return router
