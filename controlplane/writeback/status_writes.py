"""Carries out writes of status: a few at a time, each by itself. What is refused is tried again later, by workers of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.model.keys import Key
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json
from controlplane.writeback.debts import Debts
from controlplane.writeback.events import EventWriter, Regarded

log = logging.getLogger(__name__)

_WORKERS, _RETRYING = 8, 2  # at the same time
_ANSWER_S = 10.0  # for which the answer to a write is waited for: something that the API server has to ask may hang
_PAUSE_S = 5.0  # after the API server has not answered at all
_TOO_MANY_REQUESTS = 429


class Versioned(Regarded, Protocol):
    """An object whose status is written."""

    @property
    def version(self) -> str:
        """Return its resourceVersion."""


class StatusWrite(NamedTuple):
    """A status to be written: the conditions of the object of ``record``, in the version that is known."""

    record: Versioned
    conditions: Sequence[Mapping[str, object]]


class StatusWrites:
    """The writes of one replica."""

    def __init__(self, client: Client, leader: Leadership, debts: Debts, events: EventWriter) -> None:
        """Write by ``client`` while ``leader`` is held, and note in ``debts`` what came of it."""
        self._client = client
        self._leader = leader
        self._debts = debts
        self._events = events
        self._queues: tuple[deque[StatusWrite], deque[StatusWrite]] = (deque(), deque())  # new ones, and those refused before
        self._filled = asyncio.Condition()
        self._writing: set[Key] = set()
        self._written: dict[Key, str] = {}  # in which version: until there is news of it
        self._pause_until = 0.0
        self._unreachable = OngoingFailure(log, "status not written", "status is written again")
        self._refusals: dict[str, OngoingFailure] = {}  # by collection and kind of refusal
        self.written = 0
        self.failures = 0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for queue, workers in zip(self._queues, (_WORKERS, _RETRYING), strict=True):
                for _ in range(workers):
                    tasks.create_task(self._work(queue))

    async def fill(self, first: Iterable[StatusWrite], again: Iterable[StatusWrite]) -> None:
        """Have what has not been begun yet replaced by what is to be written for the ``first`` time, and what is to be tried ``again``."""
        paused = time.monotonic() < self._pause_until
        for queue, writes in zip(self._queues, (first, again), strict=True):
            queue.clear()
            if not paused:
                queue.extend(write for write in writes if self._is_news(write))
        async with self._filled:
            self._filled.notify_all()

    def forget_others(self, keys: Container[Key]) -> None:
        """Forget what was written of others than ``keys``."""
        self._written = {key: version for key, version in self._written.items() if key in keys}

    def _is_news(self, write: StatusWrite) -> bool:
        key = write.record.key
        return key not in self._writing and self._written.get(key) != write.record.version

    async def _work(self, queue: deque[StatusWrite]) -> None:
        while True:
            while not queue:
                async with self._filled:
                    await self._filled.wait()
            write = queue.popleft()
            key = write.record.key
            self._writing.add(key)
            try:
                await self._carry_out(write)
                if self._leader.is_leader:
                    await self._events.tell(write.record, write.conditions)
            except Exception:  # internal error; it is not to end the worker
                log.exception("status failed")
                self._debts.failed(key, time.monotonic(), "an internal error", write.record.resource.plural)
            finally:
                self._writing.discard(key)

    async def _carry_out(self, write: StatusWrite) -> None:
        if not self._leader.is_leader:
            return
        record, key = write.record, write.record.key
        status: Json = {"conditions": [dict(condition) for condition in write.conditions], "observedGeneration": record.generation}
        body: Json = {"metadata": {"resourceVersion": record.version}, "status": status}
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._client.patch(record.resource.path(key.namespace, key.name, "status"), body)
        except TimeoutError:
            self._refused(write, f"no answer within {_ANSWER_S:g} s", "silent")
        except StatusError as error:
            if error.status == _TOO_MANY_REQUESTS:
                self._pause(error, error.retry_after_s or 1.0)
            elif not error.conflict:  # the news of another version is on its way
                self._refused(write, str(error), str(error.status))
        except KubernetesError as error:
            self._pause(error, _PAUSE_S)
        else:
            self.written += 1
            self._written[key] = record.version
            self._debts.paid(key)
            self._accepted(record.resource.plural)

    def _refused(self, write: StatusWrite, reason: str, kind: str) -> None:
        record = write.record
        self.failures += 1
        times = self._debts.failed(record.key, time.monotonic(), reason, record.resource.plural)
        if times == 1 and kind == "404":
            return  # it has been deleted, most of the time
        facts = {"resource": record.resource.plural, "object": str(record.key)}
        name = f"{record.resource.plural} {kind}"
        failure = self._refusals.setdefault(name, OngoingFailure(log, "status refused", "status is taken again"))
        failure.failed(reason, kind, **facts)

    def _accepted(self, plural: str) -> None:
        """Tell the log that nothing of the collection ``plural`` is refused any more, where that is so."""
        self._unreachable.worked()
        told = [name for name in self._refusals if name.partition(" ")[0] == plural]
        if told and not self._debts.is_refused(plural):
            for name in told:
                self._refusals.pop(name).worked()

    def _pause(self, error: KubernetesError, seconds: float) -> None:
        """Begin nothing more for ``seconds``: whatever comes next would go the same way."""
        self._pause_until = time.monotonic() + seconds
        for queue in self._queues:
            queue.clear()
        self._unreachable.failed(str(error), error.kind)
