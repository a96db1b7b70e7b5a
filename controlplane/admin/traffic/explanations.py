"""Where traffic goes and who lets it in, by what the proxies that are connected have now."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from controlplane.admin.pages.answers import Answers
from controlplane.admin.state import AdminState
from controlplane.explain.explain import Sight
from controlplane.explain.explanation import Explanation
from controlplane.explain.origins import Origins
from controlplane.explain.questions.answers import QuestionTexts, explanation_of, judgement_of, resource_origins
from controlplane.explain.questions.question import BadQuestion
from controlplane.explain.work import Work
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.objects.locations import Location

_MISSING: dict[int | str, dict[str, object]] = {
    404: {"description": "No such proxy is connected, or it has no such resource"},
    422: {"description": "What is asked about is none; the detail says what was expected"},
}
_MOST = 9000  # characters of one text
T = TypeVar("T")
Text = Annotated[str, Query(max_length=_MOST)]


def explanation_router(state: AdminState, answers: Answers, responses: dict[int | str, dict[str, object]]) -> APIRouter:
    """Return the routes that explain, over ``state``; ``responses`` are those that every route may give."""
    router = APIRouter(prefix="/v1", tags=["traffic"], responses={**responses, **_MISSING})

    @router.get("/explain", summary="Where a request or a connection goes, decision by decision, and what has made each")
    async def explain(request: Request, proxy: Text, asked: Annotated[QuestionTexts, Depends()]) -> Response:
        texts = _checked(asked)
        return await _explained(request, state, answers, proxy, lambda sight, session: explanation_of(sight, session, texts))

    @router.get("/authz", summary="Whether a proxy lets a request in to its workload, and by which policy")
    async def authz(
        request: Request,
        proxy: Text,
        asked: Annotated[QuestionTexts, Depends()],
        port: Annotated[int | None, Query(ge=1, le=65535)] = None,
    ) -> Response:
        texts = _checked(asked)
        return await _explained(request, state, answers, proxy, lambda sight, session: judgement_of(sight, session, texts, port))

    @router.get("/explain/resource", summary="The objects and fields that a resource of a proxy was made from")
    async def resource(request: Request, proxy: Text, kind: Text, name: Text) -> Response:
        session = session_of(state, proxy)
        try:
            found = resource_origins(sight_of(state), session, kind, name)
        except BadQuestion as error:
            raise HTTPException(404, str(error)) from None
        return await answers.answer(request, lambda: [orjson.dumps(found)])

    return router


def sight_of(state: AdminState) -> Sight:
    """Return where is looked up what the proxies that are connected have."""
    locations = state.locations()

    def locate(key: Key, path: str) -> Location | None:
        return next((found for each in locations if (found := each.location(key, path))), None)

    def session_at(ip: str) -> Session | None:
        return next((session for session in state.sessions() if session.proxy.is_envoy and ip in session.proxy.ips), None)

    return Sight(state.mesh, Origins(state.mesh, locate), session_at)


def session_of(state: AdminState, proxy_id: str) -> Session:
    """Return the session of the proxy ``proxy_id``; raises HTTPException."""
    session = next((session for session in state.sessions() if session.proxy.id == proxy_id and session.proxy.is_envoy), None)
    if session is None:
        raise HTTPException(404, f"no proxy {proxy_id[:200]} is connected")
    return session


def _checked(texts: QuestionTexts) -> QuestionTexts:
    try:
        texts.question()
    except BadQuestion as error:
        raise HTTPException(422, str(error)) from None
    return texts


def in_pieces(work: Work[T]) -> Generator[bytes, None, T]:
    """Return what ``work`` comes to, as part of a page: others get a turn after each piece of it."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield b""


async def _explained(
    request: Request, state: AdminState, answers: Answers, proxy_id: str, ask: Callable[[Sight, Session], Work[Explanation]]
) -> Response:
    session = session_of(state, proxy_id)

    def pieces() -> Iterator[bytes]:
        explanation = yield from in_pieces(ask(sight_of(state), session))
        row: Mapping[str, object] = explanation.row()
        yield orjson.dumps(row)

    return await answers.answer(request, pieces)
