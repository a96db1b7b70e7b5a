"""A process of its own for reviews of large objects: they cost streams and health checks nothing, and one that takes too long is ended.

Both sides write frames: eight bytes of length, and a pickled value. Nobody else writes to these pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

from controlplane.webhooks.bodies import BadWebhookRequest
from controlplane.webhooks.validate import AdmissionVerdict, BadAdmissionReview

log = logging.getLogger(__name__)

_LENGTH = 8

Reviewer: TypeAlias = Callable[[bytes], AdmissionVerdict]


class ReviewProcess:
    """One process, which is started when it is needed first, and has one review at a time."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: Process | None = None

    async def run(self) -> None:
        """Wait until cancelled, and end the process then."""
        try:
            await asyncio.Event().wait()
        finally:
            self._end()

    async def review(self, reviewer: Reviewer, body: bytes) -> AdmissionVerdict:
        """Return the verdict of ``reviewer``, which can be pickled, on ``body``; raises BadAdmissionReview, BadWebhookRequest."""
        try:
            answer = await self._ask(reviewer, body)
        except (OSError, EOFError) as error:
            self._end()
            log.error("review process ended", extra={"reason": str(error)})  # noqa: TRY400 - not an internal error of this process
            raise BadWebhookRequest(503, "the process that judges large objects has ended; it is started anew") from None
        except asyncio.CancelledError:  # it has taken too long: what is still to come is nobody's answer
            self._end()
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _ask(self, reviewer: Reviewer, body: bytes) -> AdmissionVerdict | Exception:
        if self._process is None:
            command = (sys.executable, "-m", __name__)
            self._process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        to, answers = self._process.stdin, self._process.stdout
        if to is None or answers is None:
            raise OSError("the process has no pipes")
        to.write(_frame((reviewer, body)))
        await to.drain()
        length = int.from_bytes(await answers.readexactly(_LENGTH))
        answer: AdmissionVerdict | Exception = pickle.loads(await answers.readexactly(length))  # noqa: S301 - of our own process
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def answer_reviews(reviews: BinaryIO, answers: BinaryIO) -> None:
    """Write to ``answers`` what becomes of each of ``reviews``, until there are no more."""
    while length := int.from_bytes(reviews.read(_LENGTH)):
        reviewer, body = pickle.loads(reviews.read(length))  # noqa: S301 - of the process that has started this one
        try:
            answer: AdmissionVerdict | Exception = reviewer(body)
        except BadAdmissionReview as error:
            answer = error
        except Exception as error:  # an internal error; it is told to the log of the process that has asked
            log.exception("review failed")
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        answers.write(_frame(answer))
        answers.flush()


def _frame(value: object) -> bytes:
    content = pickle.dumps(value)
    return len(content).to_bytes(_LENGTH) + content


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both: the other one decides
    answer_reviews(sys.stdin.buffer, sys.stdout.buffer)
