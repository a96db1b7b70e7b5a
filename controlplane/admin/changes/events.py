"""What has changed just now, as server-sent events: which pages to ask for again, and nothing of what they say.

An event names pages that were different from what they had been at the last one, so it does not matter how many changes came in between,
and who reads slowly misses nothing. A comment each few seconds keeps the connection open, and finds out who is gone.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import StreamingResponse

from controlplane.admin.http_server import Receive, Scope, Send
from controlplane.admin.state import AdminState

MOST_READERS = 16
LOOK_S = 0.25  # between two looks
_COMMENT_S = 10.0
_EXAMPLE = 'retry: 1000\n\nevent: changed\ndata: {"pages":["/v1/objects","/v1/problems"],"change":7}\n\n'


class Versions:
    """What the pages of ``state`` are made of now: looked at once for all readers who look at about the same time."""

    def __init__(self, state: AdminState, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at ``state`` when it is asked for."""
        self._state = state
        self._clock = clock
        self._at = float("-inf")
        self._versions: Mapping[str, object] = {}

    def now(self) -> Mapping[str, object]:
        """Return, by page, what is equal as long as the page is the same."""
        state, now = self._state, self._clock()
        if now - self._at >= LOOK_S / 2:
            objects = (state.mesh.version, state.locations())
            proxies = state.proxies_version()
            self._at = now
            self._versions = {
                "/v1/objects": objects,
                "/v1/problems": (objects, state.fleet_problems_version()),
                "/v1/proxies": proxies,
                "/v1/history": (state.history.last(), proxies),
            }
        return self._versions


class _Events(Response):
    """Events as they come, for as long as their reader is there."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[str], readers: set[_Events]) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        self._readers.add(self)
        gone = asyncio.create_task(_end_of(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces:
                if gone.done():
                    break
                if piece:
                    await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        finally:
            gone.cancel()
            self._readers.discard(self)


async def _end_of(receive: Receive) -> None:
    """Return when who asked is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def events_router(state: AdminState, responses: dict[int | str, dict[str, object]]) -> APIRouter:
    """Return the route that says what changes in ``state``; ``responses`` are those that every route may give."""
    router = APIRouter(prefix="/v1", tags=["history"], responses=responses)
    readers: set[_Events] = set()
    versions = Versions(state)

    @router.get(
        "/events",
        summary="Which pages have changed, as server-sent events",
        response_class=StreamingResponse,  # as far as the description goes
        responses={200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}},
    )
    async def stream() -> Response:
        if len(readers) >= MOST_READERS:
            raise HTTPException(503, f"{MOST_READERS} read events, which is the most", {"Retry-After": "5"})
        return _Events(changes(versions.now, state.history.last), readers)

    return router


async def changes(versions: Callable[[], Mapping[str, object]], change: Callable[[], int]) -> AsyncIterator[str]:
    """Yield an event whenever some of ``versions`` have changed, with the number of the last ``change``; else comments, or nothing."""
    before = versions()
    silent = 0.0
    yield "retry: 1000\n\n"
    while True:
        await asyncio.sleep(LOOK_S)
        now = versions()
        changed = [page for page, version in now.items() if version != before[page]]
        before = now
        silent = 0.0 if changed or silent >= _COMMENT_S else silent + LOOK_S
        if changed:
            yield f"event: changed\ndata: {json.dumps({'pages': changed, 'change': change()}, separators=(',', ':'))}\n\n"
        else:
            yield ": nothing has changed\n\n" if silent >= _COMMENT_S else ""
