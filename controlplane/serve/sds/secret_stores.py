"""Where Secrets and ConfigMaps with credentials are looked up: among what files give, and one by one at an API server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from controlplane.kube.reflector import Changed, Reflector, ReflectorTiming, Replaced, ResourceMissing, WatchClient
from controlplane.kube.resources import CONFIG_MAPS, SECRETS
from controlplane.model.keys import Key
from controlplane.objects.changes import CredentialChange
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.parse import parse

log = logging.getLogger(__name__)

Entries = Mapping[str, bytes]
_RESOURCES = {resource.kind: resource for resource in (SECRETS, CONFIG_MAPS)}


class CredentialStore(Protocol):
    """Where credentials are looked up."""

    async def watch(self, key: Key) -> None:
        """Keep the entries of ``key`` up to date from now on, and return as soon as they are known."""

    def unwatch(self, key: Key) -> None:
        """Keep them no longer."""

    def entries(self, key: Key) -> Entries | None:
        """Return the entries of ``key``, ``None`` where the object does not exist, or is not known to."""

    def trouble(self, key: Key) -> str | None:
        """Return why the entries of ``key`` are not known."""

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with the key of each object that has changed."""


class FileSecrets:
    """The Secrets and ConfigMaps of files: all of them are known."""

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: dict[Key, Entries] = {}
        self._listeners: list[Callable[[Key], None]] = []

    def apply(self, changes: Iterable[CredentialChange]) -> None:
        """Apply ``changes``."""
        for change in changes:
            if change.object is not None and change.object.entries:
                self._entries[change.key] = change.object.entries
            elif self._entries.pop(change.key, None) is None:
                continue
            for listener in self._listeners:
                listener(change.key)

    async def watch(self, key: Key) -> None:
        """Return at once."""

    def unwatch(self, key: Key) -> None:
        """Do nothing."""

    def entries(self, key: Key) -> Entries | None:
        """Return the entries of ``key``."""
        return self._entries.get(key)

    def trouble(self, key: Key) -> str | None:
        """Return ``None``: everything is known."""
        del key
        return None

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with the key of each object that has changed."""
        self._listeners.append(listener)


@dataclass(slots=True)
class _WatchedSecret:
    reflector: Reflector
    task: asyncio.Task[None]
    known: asyncio.Event = field(default_factory=asyncio.Event)
    entries: Entries | None = None


class WatchedSecrets:
    """The Secrets and ConfigMaps of an API server: each one that is needed is watched alone, as kubelets do, so that no others are read."""

    def __init__(self, client: WatchClient, timing: ReflectorTiming, random: Callable[[], float]) -> None:
        """Watch by ``client``."""
        self._client = client
        self._timing = timing
        self._random = random
        self._watched: dict[Key, _WatchedSecret] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._listeners: list[Callable[[Key], None]] = []

    async def run(self) -> None:
        """Run the watches, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    async def watch(self, key: Key) -> None:
        """Watch ``key`` from now on, and return as soon as its entries are known, or why they cannot be."""
        if self._tasks is None:
            return
        watched = self._watched.get(key)
        if watched is None:
            reflector = Reflector(
                self._client,
                _RESOURCES[key.kind],
                self._timing,
                self._random,
                namespace=key.namespace,
                name=key.name,
                on_trouble=lambda: self._mark_known(key),
            )
            watched = self._watched[key] = _WatchedSecret(reflector, self._tasks.create_task(self._watch(key, reflector)))
        await watched.known.wait()

    def unwatch(self, key: Key) -> None:
        """End the watch of ``key``."""
        if watched := self._watched.pop(key, None):
            watched.task.cancel()
            watched.known.set()  # a waiting caller would wait for ever, and hold back the credentials of all

    def entries(self, key: Key) -> Entries | None:
        """Return the latest entries of ``key``."""
        watched = self._watched.get(key)
        return watched.entries if watched else None

    def trouble(self, key: Key) -> str | None:
        """Return why the entries of ``key`` are not known."""
        watched = self._watched.get(key)
        return watched.reflector.trouble if watched else None

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with the key of each object that has changed."""
        self._listeners.append(listener)

    async def _watch(self, key: Key, reflector: Reflector) -> None:
        while True:
            with contextlib.suppress(ResourceMissing):
                await reflector.run(partial(self._receive, key))
            await asyncio.sleep(self._timing.missing_s)

    def _receive(self, key: Key, update: Replaced | Changed) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        events = [(True, document) for document in update.items] if isinstance(update, Replaced) else list(update.events)
        before, watched.entries = watched.entries, None if isinstance(update, Replaced) else watched.entries
        for exists, document in events:
            parsed = parse(document).object if exists else None
            watched.entries = parsed.entries if isinstance(parsed, Secret | ConfigMap) else None
        watched.known.set()
        if watched.entries != before:
            for listener in self._listeners:
                listener(key)

    def _mark_known(self, key: Key) -> None:
        if watched := self._watched.get(key):
            watched.known.set()
