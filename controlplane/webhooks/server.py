"""The webhook's HTTP: bounded in size, time and number, and nothing but messages leaves it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor

import orjson

from controlplane.webhooks.validate import AdmissionVerdict, BadAdmissionReview

log = logging.getLogger(__name__)

MAX_BYTES = 6 << 20  # the API server takes objects of 3 MiB, and sends the old one too
_DISCARDED_BYTES = 4 << 20  # and thrown away, so that who sends somewhat too much is still there to hear that it is too much
_BODY_S = 5.0
_MAX_CONCURRENT = 50

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Reviewer = Callable[[bytes], AdmissionVerdict]


class _HttpError(Exception):
    """The request ends here, with this status and this message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Webhook:
    """The ASGI application that answers the API server."""

    def __init__(self, reviewers: Mapping[str, Callable[[str], Reviewer | None]]) -> None:
        """Begin with nothing asked; ``reviewers`` give by path what answers a review that came to it, None as long as nothing can."""
        self.counts: Counter[str] = Counter()  # of answers: allowed, refused, injected, error
        self._reviewers = reviewers
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._threads = ThreadPoolExecutor(2, "review")  # of its own: a large object keeps nobody else waiting

    async def __call__(self, scope: MutableMapping[str, object], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            reviewer = self._reviewer(scope)
            async with self._slots:
                body = await _body(scope, receive)
                verdict = await asyncio.get_running_loop().run_in_executor(self._threads, reviewer, body)
            self.counts[verdict.outcome] += 1
            status, answer = 200, verdict.body
        except _HttpError as error:
            status, answer = error.status, orjson.dumps({"error": str(error)})
        except BadAdmissionReview as error:
            status, answer = 400, orjson.dumps({"error": str(error)})
        except Exception:  # internal error; the API server goes by the failure policy
            log.exception("review failed")
            status, answer = 500, orjson.dumps({"error": "a fault of the control plane; it is logged there"})
        if status != 200:
            self.counts["error"] += 1
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        if status == 413:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _reviewer(self, scope: Mapping[str, object]) -> Reviewer:
        path = str(scope["path"])
        find = self._reviewers.get(path)
        if find is None:
            raise _HttpError(404, f"expected one of the paths {', '.join(self._reviewers)}")
        _check(scope)
        reviewer = find(path)
        if reviewer is None:
            raise _HttpError(503, "this control plane has just begun")
        return reviewer


def _check(scope: Mapping[str, object]) -> None:
    if scope["method"] != "POST":
        raise _HttpError(405, "expected POST")
    if not _header(scope, b"content-type").startswith("application/json"):
        raise _HttpError(415, "expected application/json")


def _header(scope: Mapping[str, object], name: bytes) -> str:
    headers = scope["headers"]
    values = [value for key, value in headers if key == name] if isinstance(headers, list) else []
    return str(values[0], "latin-1") if values else ""


async def _body(scope: Mapping[str, object], receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _HttpError(400, "the request broke off")
                part = message.get("body")
                size += len(part) if isinstance(part, bytes) else 0
                if size > MAX_BYTES:
                    parts.clear()
                elif isinstance(part, bytes):
                    parts.append(part)
                if size > MAX_BYTES + _DISCARDED_BYTES or (size > MAX_BYTES and not message.get("more_body")):
                    raise _HttpError(413, f"expected at most {MAX_BYTES} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise _HttpError(408, f"the body of {scope['path']} took longer than {_BODY_S:.0f} s") from None
