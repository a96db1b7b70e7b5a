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
_RESOURCES = {each.kind: each for each in (SECRETS, CONFIG_MAPS)}


class CredentialStore(Protocol):
    """A place to look."""

    async def follow(self, key: Key) -> None:
        """Know what ``key`` has from now on, and return as soon as that is known."""

    def drop(self, key: Key) -> None:
        """Know it no longer."""

    def entries(self, key: Key) -> Entries | None:
        """Return what ``key`` has, ``None`` where it is not there, or not known to be."""

    def trouble(self, key: Key) -> str | None:
        """Return why it is not known what ``key`` has."""

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with whatever has become another."""


class FileSecrets:
    """What files give: all of it is known."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._entries: dict[Key, Entries] = {}
        self._listeners: list[Callable[[Key], None]] = []

    def take(self, changes: Iterable[CredentialChange]) -> None:
        """Take ``changes`` in."""
        for change in changes:
            if change.object is not None and change.object.entries:
                self._entries[change.key] = change.object.entries
            elif self._entries.pop(change.key, None) is None:
                continue
            for each in self._listeners:
                each(change.key)

    async def follow(self, key: Key) -> None:
        """Return at once."""

    def drop(self, key: Key) -> None:
        """Do nothing."""

    def entries(self, key: Key) -> Entries | None:
        """Return what ``key`` has."""
        return self._entries.get(key)

    def trouble(self, key: Key) -> str | None:
        """Return nothing."""
        del key
        return None

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with whatever has become another."""
        self._listeners.append(listener)


@dataclass(slots=True)
class _WatchedSecret:
    reflector: Reflector
    task: asyncio.Task[None]
    known: asyncio.Event = field(default_factory=asyncio.Event)
    entries: Entries | None = None


class WatchedSecrets:
    """What an API server has: each object that is asked for is watched alone, as kubelets do, so that no others are read."""

    def __init__(self, client: WatchClient, timing: ReflectorTiming, random: Callable[[], float]) -> None:
        """Watch by ``client``."""
        self._client = client
        self._timing = timing
        self._random = random
        self._followed: dict[Key, _WatchedSecret] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._listeners: list[Callable[[Key], None]] = []

    async def run(self) -> None:
        """Watch what is asked for, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    async def follow(self, key: Key) -> None:
        """Know what ``key`` has from now on, and return as soon as that is known, or why it cannot be."""
        if self._tasks is None:
            return
        found = self._followed.get(key)
        if found is None:
            reflector = Reflector(
                self._client,
                _RESOURCES[key.kind],
                self._timing,
                self._random,
                namespace=key.namespace,
                name=key.name,
                on_trouble=lambda: self._heard(key),
            )
            found = self._followed[key] = _WatchedSecret(reflector, self._tasks.create_task(self._watch(key, reflector)))
        await found.known.wait()

    def drop(self, key: Key) -> None:
        """Know it no longer."""
        if found := self._followed.pop(key, None):
            found.task.cancel()
            found.known.set()  # whoever waits for it would do so for ever, and hold back the credentials of all

    def entries(self, key: Key) -> Entries | None:
        """Return what ``key`` had last."""
        found = self._followed.get(key)
        return found.entries if found else None

    def trouble(self, key: Key) -> str | None:
        """Return why it is not known what ``key`` has."""
        found = self._followed.get(key)
        return found.reflector.trouble if found else None

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` with whatever has become another."""
        self._listeners.append(listener)

    async def _watch(self, key: Key, reflector: Reflector) -> None:
        while True:
            with contextlib.suppress(ResourceMissing):
                await reflector.run(partial(self._take, key))
            await asyncio.sleep(self._timing.missing_s)

    def _take(self, key: Key, news: Replaced | Changed) -> None:
        found = self._followed.get(key)
        if found is None:
            return
        events = [(True, each) for each in news.items] if isinstance(news, Replaced) else list(news.events)
        before, found.entries = found.entries, None if isinstance(news, Replaced) else found.entries
        for is_there, value in events:
            parsed = parse(value).object if is_there else None
            found.entries = parsed.entries if isinstance(parsed, Secret | ConfigMap) else None
        found.known.set()
        if found.entries != before:
            for each in self._listeners:
                each(key)

    def _heard(self, key: Key) -> None:
        if found := self._followed.get(key):
            found.known.set()
