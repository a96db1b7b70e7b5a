"""The bodies of reviews, as they come in: bounded in size, in time, and in what all that are not whole yet may hold together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping

from controlplane.errors import PeerError

MAX_BYTES = 6 << 20  # the API server takes objects of 3 MiB, and sends the old one too
_DISCARDED_BYTES = 4 << 20  # and thrown away, so that who sends somewhat too much is still there to hear that it is too much
_HELD_BYTES = 64 << 20  # of all bodies that are not whole yet
_BODY_S = 5.0

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]


class BadWebhookRequest(PeerError):
    """The request ends here, with this status and this message."""

    def __init__(self, status: int, message: str) -> None:
        """Answer with ``status`` and ``message``."""
        super().__init__(message)
        self.status = status


class BodyReader:
    """Reads bodies. When those that are not whole yet hold too much, the one that has begun first is given up: whoever is quick gets by."""

    def __init__(self) -> None:
        """Begin with none."""
        self._held: dict[asyncio.Timeout, int] = {}  # bytes of each that is not whole yet, the oldest first

    async def read(self, receive: Receive) -> bytes:
        """Return the body that ``receive`` gives in parts; raises BadWebhookRequest."""
        try:
            async with asyncio.timeout(_BODY_S) as limit:
                self._held[limit] = 0
                try:
                    return await self._parts(receive, limit)
                finally:
                    del self._held[limit]
        except TimeoutError:
            raise BadWebhookRequest(408, f"the body took longer than {_BODY_S:.0f} s, or others came whole in the meantime") from None

    async def _parts(self, receive: Receive, limit: asyncio.Timeout) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise BadWebhookRequest(400, "the request broke off")
            part = message.get("body")
            size += len(part) if isinstance(part, bytes) else 0
            if size > MAX_BYTES:
                parts.clear()
                self._held[limit] = 0
            elif isinstance(part, bytes):
                parts.append(part)
                self._hold(limit, len(part))
            if size > MAX_BYTES + _DISCARDED_BYTES or (size > MAX_BYTES and not message.get("more_body")):
                raise BadWebhookRequest(413, f"expected at most {MAX_BYTES} bytes")
            if not message.get("more_body"):
                return b"".join(parts)

    def _hold(self, limit: asyncio.Timeout, size: int) -> None:
        self._held[limit] += size
        while sum(self._held.values()) > _HELD_BYTES:
            oldest = next(each for each, held in self._held.items() if held)
            self._held[oldest] = 0
            oldest.reschedule(asyncio.get_running_loop().time())
