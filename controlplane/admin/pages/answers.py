"""How every page is answered: with a body of ``bodies.py``, or with 304 to who has it; sent as quickly as its reader reads."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType

from fastapi import Request, Response

from controlplane.admin.http_server import Receive, Scope, Send
from controlplane.admin.pages.bodies import Bodies, Body
from controlplane.slices import LoopShare

JSON = "application/json"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Answers:
    """Answers requests within a share of the event loop."""

    def __init__(self, share: LoopShare) -> None:
        """Begin without bodies; ``share`` is that in which each request has had a turn."""
        self._share = share
        self._bodies = Bodies(share)

    async def answer(
        self,
        request: Request,
        pieces: Callable[[], Iterable[bytes]],
        version: Callable[[], object] | None = None,
        *,
        page: Hashable = None,
        media_type: str = JSON,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        """Return the answer to ``request``, with ``headers``: the page that ``pieces`` make, or that it has not changed.

        As long as ``version`` is the same, so is the page; a ``page`` that is named by all that it shows is always the same.
        """
        if page is None:
            body = await self._bodies.get(f"{request.url.path}?{request.url.query}", pieces, version)
        else:
            body = await self._bodies.get(page, pieces, lambda: page)
        sent = {"etag": body.etag, "cache-control": "no-cache", **headers}
        if _has(request.headers.getlist("if-none-match"), body.etag):
            return Response(status_code=304, headers=sent)
        return _BodyResponse(body, self._share, sent, media_type)


class _BodyResponse(Response):
    """A body, chunk by chunk: the next when its reader has taken the last."""

    def __init__(self, body: Body, share: LoopShare, headers: dict[str, str], media_type: str) -> None:
        super().__init__(headers={**headers, "content-length": str(body.size)}, media_type=media_type)
        self._body = body
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, chunk in enumerate(self._body.chunks):
            if number:
                await self._share.turn()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _has(if_none_match: Iterable[str], etag: str) -> bool:
    """Return whether the headers ``if_none_match`` name ``etag``."""
    named = {each.strip().removeprefix("W/") for header in if_none_match for each in header.split(",")}
    return not named.isdisjoint((etag, "*"))
