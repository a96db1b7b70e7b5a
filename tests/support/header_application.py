"""An application that says which headers a request had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping


class HeaderApplication:
    """Says which headers a request had, and how long its body was (ASGI); no sooner than ``answers`` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def __call__(
        self,
        scope: MutableMapping[str, object],
        receive: Callable[[], Awaitable[MutableMapping[str, object]]],
        send: Callable[[MutableMapping[str, object]], Awaitable[None]],
    ) -> None:
        given = scope["headers"]
        assert isinstance(given, list)
        self.asked += 1
        length, more = 0, True
        while more:
            piece = await receive()
            body = piece.get("body", b"")
            length, more = length + len(body if isinstance(body, bytes) else b""), bool(piece.get("more_body", False))
        await self.answers.wait()
        content = json.dumps({"body-length": str(length)} | {name.decode(): value.decode() for name, value in given}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})
