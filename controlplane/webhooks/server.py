"""The webhook's HTTP: bounded in size, time and number, and nothing but messages leaves it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor

import orjson

from controlplane.webhooks.bodies import BadWebhookRequest, BodyReader, Message, Receive
from controlplane.webhooks.review_process import Reviewer, ReviewProcess
from controlplane.webhooks.review_queue import ReviewQueue
from controlplane.webhooks.validate import AdmissionVerdict, BadAdmissionReview

log = logging.getLogger(__name__)

_SMALL_BYTES = 64 << 10  # a review that is read and judged in some milliseconds
_PROCESSES = 2  # for the others
_TIMEOUT_S = 10  # of the API server, where it does not say how long it waits
_IN_TIME_S = 0.5  # before that
_TOLD_TIMEOUT = re.compile(rb"(?:^|&)timeout=(\d{1,2})s(?:&|$)")

Send = Callable[[Message], Awaitable[None]]


class Webhook:
    """The ASGI application that answers the API server.

    Nobody proves to be the API server: whoever can connect may ask. So nobody has a place before all of its request is there; of those that
    have one, each peer has its turn, and small reviews do not wait for large ones.
    """

    def __init__(self, reviewers: Mapping[str, Callable[[str], Reviewer | None]]) -> None:
        """Begin with nothing asked; ``reviewers`` give by path what answers a review that came to it, None as long as nothing can.

        What they give can be pickled: large reviews go to ``processes`` of their own.
        """
        self.counts: Counter[str] = Counter()  # of answers: allowed, refused, injected, error
        self._reviewers = reviewers
        self._bodies = BodyReader()
        self._small, self._large = ReviewQueue(1), ReviewQueue(_PROCESSES)
        self._thread = ThreadPoolExecutor(1, "review")
        self.processes = tuple(ReviewProcess() for _ in range(_PROCESSES))
        self._idle = list(self.processes)

    async def __call__(self, scope: MutableMapping[str, object], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            reviewer, limit_s = self._reviewer(scope), _limit_s(scope)
            try:
                async with asyncio.timeout(limit_s):
                    body = await self._bodies.read(receive)
                    verdict = await self._verdict(reviewer, body, _peer(scope))
            except TimeoutError:
                raise BadWebhookRequest(
                    503, f"there was no verdict within {limit_s:g} s: too many reviews, or too large an object"
                ) from None
            self.counts[verdict.outcome] += 1
            status, answer = 200, verdict.body
        except BadWebhookRequest as error:
            status, answer = error.status, orjson.dumps({"error": str(error)})
        except BadAdmissionReview as error:
            status, answer = 400, orjson.dumps({"error": str(error)})
        except Exception:  # internal error; the API server goes by the failure policy
            log.exception("review failed")
            status, answer = 500, orjson.dumps({"error": "a fault of the control plane; it is logged there"})
        if status != 200:
            self.counts["error"] += 1
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        if status in {408, 413}:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _verdict(self, reviewer: Reviewer, body: bytes, peer: str) -> AdmissionVerdict:
        if len(body) > _SMALL_BYTES:
            async with self._large.turn(peer):
                process = self._idle.pop()
                try:
                    return await process.review(reviewer, body)
                finally:
                    self._idle.append(process)
        async with self._small.turn(peer):
            return await asyncio.get_running_loop().run_in_executor(self._thread, reviewer, body)

    def _reviewer(self, scope: Mapping[str, object]) -> Reviewer:
        path = str(scope["path"])
        find = self._reviewers.get(path)
        if find is None:
            raise BadWebhookRequest(404, f"expected one of the paths {', '.join(self._reviewers)}")
        _check(scope)
        reviewer = find(path)
        if reviewer is None:
            raise BadWebhookRequest(503, "this control plane has just begun")
        return reviewer


def _check(scope: Mapping[str, object]) -> None:
    if scope["method"] != "POST":
        raise BadWebhookRequest(405, "expected POST")
    if not _header(scope, b"content-type").startswith("application/json"):
        raise BadWebhookRequest(415, "expected application/json")


def _header(scope: Mapping[str, object], name: bytes) -> str:
    headers = scope["headers"]
    values = [value for key, value in headers if key == name] if isinstance(headers, list) else []
    return str(values[0], "latin-1") if values else ""


def _limit_s(scope: Mapping[str, object]) -> float:
    """Return for how long a verdict is of use: what comes later is an answer to nobody."""
    query = scope.get("query_string")
    told = _TOLD_TIMEOUT.search(query) if isinstance(query, bytes) else None
    return max(1, int(told[1]) if told else _TIMEOUT_S) - _IN_TIME_S


def _peer(scope: Mapping[str, object]) -> str:
    client = scope.get("client")
    return str(client[0]) if isinstance(client, tuple | list) and client else ""
