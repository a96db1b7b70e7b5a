"""So many requests are answered at a time, and health does not count among them."""

from __future__ import annotations

import asyncio
import json

from controlplane.admin.http_server import Message, Receive, Scope, Send
from controlplane.admin.request_limit import MOST_AT_ONCE, RequestLimit
from controlplane.slices import LoopShare


class Application:
    """Answers when it may."""

    def __init__(self) -> None:
        self.under_way = 0
        self.full = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        self.under_way += 1
        if self.under_way == MOST_AT_ONCE:
            self.full.set()
        if str(scope["path"]).startswith("/v1"):
            await self.may_answer.wait()
        self.under_way -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(limit: RequestLimit, path: str) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise NotImplementedError

    await limit({"type": "http", "path": path}, receive, send)
    return messages


async def test_who_comes_beyond_the_most_is_told_to_come_again() -> None:
    application = Application()
    limit = RequestLimit(application, LoopShare(), LoopShare())
    first = [asyncio.create_task(ask(limit, "/v1/objects")) for _ in range(MOST_AT_ONCE)]
    await application.full.wait()

    start, body = await ask(limit, "/v1/problems")
    health = [(await ask(limit, path))[0]["status"] for path in ("/healthz", "/readyz", "/metrics")]
    application.may_answer.set()
    answered = [(await each)[0]["status"] for each in first]
    again = await ask(limit, "/v1/problems")

    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]  # type: ignore[operator]
    assert json.loads(body["body"]) == {"detail": "32 requests are being answered, which is the most at a time: come again in 1 s"}  # type: ignore[arg-type]
    assert health == [200, 200, 200]
    assert answered == [200] * MOST_AT_ONCE
    assert again[0]["status"] == 200
