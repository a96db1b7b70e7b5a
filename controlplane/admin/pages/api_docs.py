"""``/docs``: the description of the API as one plain page, without scripts and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from fastapi import APIRouter, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.untyped import Json, items, section, text

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}
_STYLE = "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}code{overflow-wrap:anywhere}"
_HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    f"<title>Navarch's admin API</title><style>{_STYLE}</style><main><h1>Navarch's admin API</h1>"
    '<p>Read only. The same for programs: <a href="/openapi.json">/openapi.json</a>. The pages: <a href="/">/</a>.</p>'
)


def docs_router(description: Callable[[], Json], answers: Answers) -> APIRouter:
    """Return the route of the page about ``description``, which is OpenAPI."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return await answers.answer(request, lambda: _page(description()), lambda: "", media_type="text/html", headers=_HEADERS)

    return router


def _page(description: Json) -> Iterator[bytes]:
    yield _HEAD.encode()
    paths = section(description, "paths")
    for path in sorted(paths):
        methods = section(paths, path)
        for method in methods:
            yield _route(path, method, section(methods, method)).encode()
    yield b"</main></html>"


def _route(path: str, method: str, route: Json) -> str:
    told = [f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(text(route, 'summary'))}</p>"]
    parameters = items(route, "parameters")
    if parameters:
        rows = (f"<li><code>{escape(text(each, 'name'))}</code> in the {escape(text(each, 'in'))}</li>" for each in parameters)
        told.append(f"<ul>{''.join(rows)}</ul>")
    responses = section(route, "responses")
    answers = (f"<li>{escape(status)}: {escape(text(section(responses, status), 'description'))}</li>" for status in sorted(responses))
    return "".join((*told, "<p>Answers</p><ul>", *answers, "</ul>"))
