"""The routes of the operator's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.pages.rows import object_rows, problem_rows
from controlplane.admin.state import AdminState
from controlplane.admin.web.explain import explain_page
from controlplane.admin.web.graph.page import mesh_page
from controlplane.admin.web.history import history_page
from controlplane.admin.web.lists import objects_page, problems_page, proxies_page
from controlplane.admin.web.plan import add_plan_page
from controlplane.admin.web.proxy import proxy_page
from controlplane.admin.web.rendering import HEADERS, HTML, html_pieces
from controlplane.admin.web.resources import WantedResources, resources_page
from controlplane.explain.questions.answers import QuestionTexts
from controlplane.slices import LoopShare

ASSETS = {"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
_FOLDER = Path(__file__).parent / "assets"
Text = Annotated[str, Query(max_length=9000)]


def web_router(state: AdminState, answers: Answers, share: LoopShare) -> APIRouter:
    """Return the pages that show ``state``; what they ask for is worked out within ``share`` of the event loop."""
    router = APIRouter(include_in_schema=False)
    _add_assets(router, answers)
    _add_lists(router, state, answers)
    _add_explanation(router, state, answers)
    add_plan_page(router, state, answers, share)

    @router.get("/")
    async def mesh(request: Request, q: Text = "") -> Response:
        return await _page(request, answers, lambda: mesh_page(state, q))

    @router.get("/proxies/{proxy_id}")
    async def proxy(request: Request, proxy_id: str) -> Response:
        found = next(state.proxies(proxy_id), None)
        if found is None:
            context = {"title": "No such proxy", "words": f"No proxy {proxy_id[:200]} is connected."}
            return Response(b"".join(html_pieces("missing.html", "proxies", context)), 404, HEADERS, HTML)
        return await _page(request, answers, lambda: proxy_page(found, state.load(proxy_id)))

    @router.get("/resources")
    async def resources(request: Request, proxy: Text = "", kind: Text = "", name: Text = "", q: Text = "") -> Response:
        return await _page(request, answers, lambda: resources_page(state, WantedResources(proxy, kind, name, q)))

    @router.get("/history")
    async def history(request: Request, at: Annotated[int | None, Query(ge=0, le=2**53)] = None, since: Text = "") -> Response:
        return await _page(request, answers, lambda: history_page(state, at, now=since == "now"))

    return router


def _add_explanation(router: APIRouter, state: AdminState, answers: Answers) -> None:
    @router.get("/explain")
    async def explain(
        request: Request,
        proxy: Text = "",
        method: Text = "GET",
        target: Text = "",
        headers: Text = "",
        source_ip: Text = "",
        principal: Text = "",
    ) -> Response:
        lines = headers.replace("\r\n", "\n")  # as browsers send what stands in a field of several lines
        asked = QuestionTexts(method=method, target=target, headers=lines, source_ip=source_ip, principal=principal)
        return await _page(request, answers, lambda: explain_page(state, proxy, asked))


def _add_assets(router: APIRouter, answers: Answers) -> None:
    texts = {name: (_FOLDER / name).read_bytes() for name in ASSETS}

    @router.get("/assets/{name}")
    async def asset(request: Request, name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404, f"expected one of {', '.join(ASSETS)}, found {name[:80]}")
        return await answers.answer(request, lambda: (texts[name],), page=("asset", name), media_type=ASSETS[name], headers=HEADERS)


def _add_lists(router: APIRouter, state: AdminState, answers: Answers) -> None:
    @router.get("/proxies")
    async def proxies(request: Request, q: Text = "") -> Response:
        return await _page(request, answers, lambda: proxies_page(state.proxies(None), q))

    @router.get("/objects")
    async def objects(request: Request, q: Text = "") -> Response:
        return await _page(request, answers, lambda: objects_page(object_rows(state.mesh.keys, state.locations(), None, None), q))

    @router.get("/problems")
    async def problems(request: Request, q: Text = "", severity: Text = "") -> Response:
        def page() -> Iterator[bytes]:
            found = chain(state.mesh.problems_by_object(), state.fleet_problems())
            return problems_page(problem_rows(found, state.locations(), severity or None), q, severity)

        return await _page(request, answers, page)


async def _page(request: Request, answers: Answers, pieces: Callable[[], Iterator[bytes]]) -> Response:
    return await answers.answer(request, pieces, media_type=HTML, headers=HEADERS)
