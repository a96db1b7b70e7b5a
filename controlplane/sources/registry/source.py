"""A registry as a source of objects: hands on what changes, and lets nobody wait for a registry that is down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

from controlplane.objects.changes import Change
from controlplane.slices import SLICE_S, next_turn
from controlplane.sources.registry.mirror import RegistryMirror
from controlplane.sources.registry.registration import Registration
from controlplane.sources.source import Noticed
from controlplane.telemetry import OngoingFailure

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told what a registry has."""

    def put(self, registration: Registration) -> None:
        """Take in that a service is registered like this now."""

    def remove(self, name: str) -> None:
        """Take in that the service ``name`` is registered no more."""

    def listed(self, names: Collection[str]) -> None:
        """Take in that the services ``names``, each of which was put, are all there are."""

    def lost_state(self, reason: str) -> None:
        """Take in that, for ``reason``, the registry seems to have lost what it knew: what goes now is not believed to be gone at once."""

    def limited(self, reason: str | None) -> None:
        """Take in why not all that the registry has is read, ``None`` if it is."""

    def failed(self, reason: str) -> None:
        """Take in that nothing is heard of the registry, for ``reason``."""

    def worked(self) -> None:
        """Take in that the registry answers."""


class Registry(Protocol):
    """A registry that can be followed."""

    async def follow(self, listener: Listener) -> None:
        """Tell ``listener`` what there is, and from then on what changes, without end: failures are told, not raised."""


class RegistrySource:
    """What ``registry`` has, as a source."""

    def __init__(self, name: str, registry: Registry, mirror: RegistryMirror, sync_timeout_s: float) -> None:
        """Follow ``registry``; if it has not been read within ``sync_timeout_s``, others need not wait for it."""
        self.name = name
        self.noticed = Noticed()
        self._registry = registry
        self._mirror = mirror
        self._sync_timeout_s = sync_timeout_s
        self._inbox: dict[str, Registration | None] = {}  # the latest of each service, not converted yet
        self._pending: dict[object, Change] = {}  # not handed on yet
        self._news = asyncio.Event()
        self._all_listed = False
        self._failure = OngoingFailure(log, "registry not heard", "registry heard again", registry=name)
        self._reason = "it has not answered yet"

    def locations(self) -> RegistryMirror:
        """Return what is wrong with the services and where they are registered, to be asked elsewhere."""
        return self._mirror.copy()

    def not_ready(self) -> str | None:
        """Return why the registry has not been read yet, ``None`` if it has been."""
        return None if self._all_listed else f"{self.name} has not been read: {self._reason}"

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, or nothing if that takes too long, and from then on what changes."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._registry.follow(self))
            if not await self._is_read_in_time(began):
                log.warning("registry not read in time", extra={"registry": self.name, "reason": self._reason})
            else:
                await self._convert()
                log.info("registry read", extra={"registry": self.name, "services": len(self._mirror), "seconds": _since(began)})
            deliver(self._take())
            while True:
                await self._wait(self._mirror.due)
                await self._convert()
                self._note(self._mirror.settle(time.monotonic()))
                if self._pending:
                    deliver(self._take())

    def put(self, registration: Registration) -> None:
        """Take in that a service is registered like this now."""
        self._inbox[registration.name] = registration
        self.noticed.note()
        self._news.set()

    def remove(self, name: str) -> None:
        """Take in that the service ``name`` is registered no more."""
        self._inbox[name] = None
        self.noticed.note()
        self._news.set()

    def listed(self, names: Collection[str]) -> None:
        """Take in that ``names`` are all services there are."""
        for name in [name for name in (*self._mirror.names, *self._inbox) if name not in names]:
            self.remove(name)
        self._all_listed = True
        self._news.set()

    def lost_state(self, reason: str) -> None:
        """Take in that the registry seems to have lost what it knew."""
        for change in self._inbox_changes():
            self._note(change)
        if self._mirror.lost_state(time.monotonic()):
            log.warning("registry has lost its state: what is missing stays for now", extra={"registry": self.name, "reason": reason})
            self._news.set()

    def limited(self, reason: str | None) -> None:
        """Take in why not all that the registry has is read."""
        self._mirror.limit(reason)

    def failed(self, reason: str) -> None:
        """Take in that nothing is heard of the registry."""
        self._reason = reason
        self._mirror.report(reason)
        self._failure.failed(reason)

    def worked(self) -> None:
        """Take in that the registry answers."""
        self._mirror.report(None)
        self._failure.worked()

    async def _is_read_in_time(self, began: float) -> bool:
        """Return whether all there is has been told, as soon as it has been, or that it has not when the time for that is over."""
        while not self._all_listed and _since(began) < self._sync_timeout_s:
            await self._wait(began + self._sync_timeout_s)
        return self._all_listed

    async def _convert(self) -> None:
        """Convert what has been taken in, and give way to others in between."""
        ends = time.perf_counter() + SLICE_S
        for changes in self._inbox_changes():
            self._note(changes)
            if time.perf_counter() > ends:
                await next_turn()
                ends = time.perf_counter() + SLICE_S

    def _inbox_changes(self) -> Iterator[Iterable[Change]]:
        while self._inbox:
            name = next(iter(self._inbox))
            registration = self._inbox.pop(name)
            yield self._mirror.remove(name) if registration is None else self._mirror.put(registration)

    async def _wait(self, due: float | None) -> None:
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._pending[change.key] = change
            self._news.set()

    def _take(self) -> tuple[Change, ...]:
        changes, self._pending = tuple(self._pending.values()), {}
        return changes


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)
