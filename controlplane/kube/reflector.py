"""One collection of the API server, mirrored: a list, then a watch that goes on from it, for as long as it takes.

The rules are those of https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes: only the version of a
list, of a bookmark or of the last event is gone on from; 410 means to list again, once; nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from controlplane.kube.decode import decode_object
from controlplane.kube.errors import ApiServerUnreachable, KubernetesError, StatusError
from controlplane.kube.resources import ApiResource
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, items, number, section, text

log = logging.getLogger(__name__)

_PAGE = "500"
_YIELD_EVERY = 50  # events delivered before other tasks get a turn
_TOO_SHORT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorTiming:
    """How patient a reflector is, in seconds."""

    watch_s: tuple[float, float] = (48.0, 96.0)  # a watch ends by itself within, so that a silent one is noticed
    slack_s: float = 24.0  # and this much later it is given up
    backoff_s: tuple[float, float] = (0.8, 5.0)  # the first wait after a failure, doubling up to the last
    reset_s: float = 2.0  # of good answers, until the first wait is the first again
    missing_s: float = 5.0  # until a resource that is not there is asked for again

    @classmethod
    def silent(cls, seconds: float) -> ReflectorTiming:
        """Return a timing by which a silent watch is given up after ``seconds`` at most."""
        return cls(watch_s=(0.4 * seconds, 0.8 * seconds), slack_s=0.2 * seconds)


@dataclass(frozen=True, slots=True)
class Replaced:
    """All that there is: the answer to a list."""

    items: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """What has changed since, all that was there to be read at once, in the order in which it happened."""

    events: tuple[tuple[bool, Json], ...]  # whether it is there, and the object as it is or was


class ResourceMissing(KubernetesError):
    """The resource is not there: its CustomResourceDefinition is not, or not in this version."""


@dataclass(slots=True)
class Backoff:
    """How long to wait after a failure: jittered, doubling, and short again after a good while."""

    timing: ReflectorTiming
    random: Callable[[], float]
    _next_s: float = 0.0

    def wait_s(self, good_s: float) -> float:
        """Return how long to wait after a failure before which all was good for ``good_s``."""
        first, last = self.timing.backoff_s
        if good_s > self.timing.reset_s or not self._next_s:
            self._next_s = first
        wait, self._next_s = self._next_s, min(last, 2 * self._next_s)
        return wait * (0.5 + self.random())


class WatchClient(Protocol):
    """What a reflector needs of the API server's client."""

    async def get(self, path: str, **query: str) -> Json:
        """Return what is at ``path``."""

    async def wait_until_reachable(self) -> None:
        """Wait until the API server, which was unreachable, has answered a request well."""

    def lines(self, path: str, *, idle_s: float, **query: str) -> AsyncIterator[tuple[bytes, ...]]:
        """Yield the lines of the watch at ``path``, all that have come at once."""


class Reflector:
    """Mirrors one collection, or one object of it."""

    def __init__(
        self,
        client: WatchClient,
        resource: ApiResource,
        timing: ReflectorTiming,
        random: Callable[[], float],
        *,
        namespace: str | None = None,
        name: str | None = None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        """Mirror ``resource``, in ``namespace`` or everywhere, all of it or what is called ``name``; ``random`` gives numbers below 1.

        ``on_trouble`` is called whenever there is something to read in ``trouble``.
        """
        self.resource = resource
        self._client = client
        self._timing = timing
        self._random = random
        self._path = resource.path(namespace)
        self._query = {"fieldSelector": f"metadata.name={name}"} if name else {}
        self._backoff = Backoff(timing, random)
        self._versions: dict[tuple[str, str], tuple[str, int]] = {}  # of each object: its uid and version, to know old news by
        self._answered_at = self._good_since = time.monotonic()
        self.lists = 0
        self._on_trouble = on_trouble
        self.trouble: str | None = None  # why it does not hear anything just now
        self._failure = OngoingFailure(log, "watch interrupted", "watch goes on", resource=resource.plural, **_where(namespace, name))

    @property
    def silent_s(self) -> float:
        """Return for how long the API server has said nothing, not even that nothing happens."""
        return time.monotonic() - self._answered_at

    async def run(self, deliver: Callable[[Replaced | Changed], None]) -> None:
        """Give ``deliver`` all that there is, and then what changes, without end; raises ResourceMissing."""
        version = ""
        while True:
            try:
                if not version:
                    version, objects = await self._list()
                    deliver(Replaced(objects))
                began = time.monotonic()
                version = await self._watch(version, deliver)
                if version and time.monotonic() - began < _TOO_SHORT_S:
                    raise ApiServerUnreachable("the watch ended as soon as it had begun")
            except (KubernetesError, OSError) as error:
                await self._wait_after(error)

    async def _wait_after(self, error: Exception) -> None:
        """Wait as ``error`` asks for, before what failed is tried again: a watch from where it was."""
        if isinstance(error, StatusError) and error.not_found:
            raise ResourceMissing(f"{self.resource.plural}.{self.resource.group} {self.resource.version} is not there") from error
        if isinstance(error, ResourceMissing):
            raise error
        wait_s = self._backoff.wait_s(0.0 if self.trouble else time.monotonic() - self._good_since)
        if isinstance(error, StatusError) and error.retry_after_s:
            wait_s = error.retry_after_s * (1 + self._random() / 10)
        kind = error.kind if isinstance(error, KubernetesError) else type(error)
        self._failure.failed(str(error), kind, again_s=round(wait_s, 1))
        self.trouble = str(error)
        self._on_trouble()
        least_s = min(wait_s, self._timing.backoff_s[0])
        await asyncio.sleep(least_s)
        if isinstance(error, ApiServerUnreachable):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s - least_s):
                    await self._client.wait_until_reachable()
        else:
            await asyncio.sleep(wait_s - least_s)

    async def _list(self) -> tuple[str, tuple[Json, ...]]:
        """Return everything, and its version."""
        self.lists += 1
        query = {**self._query, "limit": _PAGE}
        objects: list[Json] = []
        while True:
            try:
                page = await self._client.get(self._path, **query)
            except StatusError as error:
                if not error.expired or "continue" not in query:
                    raise
                objects.clear()  # the pages took too long: the rest of them is gone
                query.pop("continue")
                continue
            self._note_answer()
            objects.extend({"apiVersion": self.resource.api_version, "kind": self.resource.kind, **item} for item in items(page))
            metadata = section(page, "metadata")
            if not (next_page := text(metadata, "continue")):
                self._versions = dict(map(_name_and_version, objects))
                return text(metadata, "resourceVersion"), tuple(objects)
            query["continue"] = next_page

    async def _watch(self, version: str, deliver: Callable[[Replaced | Changed], None]) -> str:
        """Give ``deliver`` what changes after ``version`` until the watch ends; return from where to go on, empty to list again."""
        low, high = self._timing.watch_s
        seconds = low + (high - low) * self._random()
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        state = _Progress(version)
        try:
            async for lines in self._client.lines(self._path, idle_s=seconds + self._timing.slack_s, **query):
                self._note_answer()
                for start in range(0, len(lines), _YIELD_EVERY):
                    events = tuple(
                        event for line in lines[start : start + _YIELD_EVERY] if line and (event := self._event(decode_object(line), state))
                    )
                    if events:
                        deliver(Changed(events))
                    if start:
                        await asyncio.sleep(0)
        except (KubernetesError, OSError) as error:
            if isinstance(error, StatusError) and error.expired:
                log.info("listing again", extra={"resource": self.resource.plural, "reason": error.message})
                return ""
            if isinstance(error, StatusError) and error.not_found:
                raise
            await self._wait_after(error)
        return state.version

    def _event(self, event: Json, state: _Progress) -> tuple[bool, Json] | None:
        """Return the change in ``event``, None where it is known already, and note in ``state`` how far we are."""
        kind, document = text(event, "type"), section(event, "object")
        if kind == "ERROR":
            raise StatusError(number(document, "code"), text(document, "reason"), text(document, "message"))
        metadata = section(document, "metadata")
        if version := text(metadata, "resourceVersion"):
            state.version = version
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            return None  # a bookmark, or what a newer API server says
        name, (uid, object_version) = _name_and_version(document)
        seen = self._versions.get(name)
        if seen and seen[0] == uid and 0 < object_version <= seen[1]:
            return None
        if kind != "DELETED":
            self._versions[name] = (uid, object_version)
        elif seen and seen[0] != uid:
            return None  # of an object that another has followed
        else:
            self._versions.pop(name, None)
        return kind != "DELETED", document

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()
        if self.trouble is not None:
            self._good_since = self._answered_at
        self._failure.worked()
        self.trouble = None


@dataclass(slots=True)
class _Progress:
    version: str


def _where(namespace: str | None, name: str | None) -> dict[str, str]:
    return {fact: value for fact, value in (("namespace", namespace), ("object", name)) if value}


def _name_and_version(document: Json) -> tuple[tuple[str, str], tuple[str, int]]:
    metadata = section(document, "metadata")
    version = text(metadata, "resourceVersion")
    return (text(metadata, "namespace"), text(metadata, "name")), (text(metadata, "uid"), int(version) if version.isdecimal() else 0)
