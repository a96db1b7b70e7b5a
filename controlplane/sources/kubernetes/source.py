"""The source ``kubernetes``: mirrors what matters of an API server. It waits and hands on; what that means is decided in ``store``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from controlplane.kube.client import Client
from controlplane.kube.reflector import Changed, Reflector, ReflectorTiming, Replaced, ResourceMissing
from controlplane.kube.resources import CRDS, ApiResource
from controlplane.model.keys import Key
from controlplane.objects.changes import Change
from controlplane.sources.kubernetes.store import ObjectStore
from controlplane.sources.kubernetes.watched import Collection, Definition, built_in_collections, collections_of, definition_of
from controlplane.sources.source import Noticed
from controlplane.untyped import Json, section, text

log = logging.getLogger(__name__)

_PIECE = 100  # objects taken in without a breath
_DEFINITIONS = Collection(CRDS)


@dataclass(slots=True)
class _WatchedCollection:
    """One collection while it is watched."""

    reflector: Reflector
    task: asyncio.Task[None]


@dataclass(slots=True)
class _CustomKind:
    """A kind that a CustomResourceDefinition brings; for a while after it went, its objects are kept."""

    resource: ApiResource | None = None
    grace: asyncio.TimerHandle | None = None
    unconfirmed: set[Key] = field(default_factory=set)  # objects that a definition made anew does not have


class KubernetesSource:
    """Mirrors the API server that ``client`` speaks to: all of it, or some namespaces."""

    name = "kubernetes"

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        random: Callable[[], float],
        timing: ReflectorTiming | None = None,
        grace_s: float = 30.0,
    ) -> None:
        """Mirror ``namespaces``, or everything where none is named.

        The objects of a kind whose definition goes are kept for ``grace_s``: it may be about to be made again, and nobody has said that
        the mesh should lose all its routes.
        """
        self.noticed = Noticed()
        self._client = client
        self._namespaces = namespaces
        self._random = random
        self._timing = timing or ReflectorTiming()
        self._grace_s = grace_s
        self._store = ObjectStore()
        self._inbox: deque[tuple[Collection, Replaced | Changed | None]] = deque()  # None: a kind's grace is over
        self._news = asyncio.Event()
        self._watched: dict[Collection, _WatchedCollection] = {}
        self._definitions: dict[str, Definition] = {}  # by the name of the CustomResourceDefinition
        self._kinds: dict[tuple[str, str], _CustomKind] = {}
        self._waiting: set[Collection] = set()  # whose first list has not come yet
        self._syncing = True  # until every first list has come
        self._pending: dict[Key, Change] = {}  # not handed on yet

    def locations(self) -> ObjectStore:
        """Return what is wrong with the objects, to be asked in another thread."""
        return self._store.copy()

    @property
    def store(self) -> ObjectStore:
        """Return the records of the objects: live."""
        return self._store

    def not_ready(self) -> str | None:
        """Return why the first look is not complete, ``None`` if it is."""
        if not self._syncing:
            return None
        for collection in sorted(self._waiting, key=lambda collection: collection.resource):
            mirror = self._watched.get(collection)
            if mirror and mirror.reflector.trouble:
                return f"{collection.resource.plural} cannot be read: {mirror.reflector.trouble}"
        return "waiting for " + ", ".join(sorted({collection.resource.plural for collection in self._waiting}))

    def silences(self) -> dict[str, float]:
        """Return for how many seconds nothing was heard of each resource: the longest of its watches."""
        silences: dict[str, float] = {}
        for collection, mirror in self._watched.items():
            name = collection.resource.plural
            silences[name] = max(silences.get(name, 0.0), mirror.reflector.silent_s)
        return silences

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, and from then on what changes."""
        began = time.monotonic()
        self._syncing, self._watched, self._waiting = True, {}, set()
        self._inbox.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                for collection in (_DEFINITIONS, *built_in_collections(self._namespaces)):
                    self._watch(collection, tasks)
                while True:
                    await self._news.wait()
                    self._news.clear()
                    await self._process_inbox(tasks)
                    if self._syncing and not self._waiting:
                        self._syncing = False
                        log.info("kubernetes synced", extra={"objects": len(self._pending), "seconds": round(time.monotonic() - began, 2)})
                    elif self._syncing or not self._pending:
                        self.noticed.take()
                        continue
                    deliver(tuple(self._pending.values()))
                    self._pending.clear()
        finally:
            for kind in self._kinds.values():
                if kind.grace:
                    kind.grace.cancel()
            self._kinds.clear()

    def _watch(self, collection: Collection, tasks: asyncio.TaskGroup) -> None:
        reflector = Reflector(
            self._client, collection.resource, self._timing, self._random, namespace=collection.namespace, name=collection.name
        )
        if self._syncing:
            self._waiting.add(collection)
        task = tasks.create_task(self._follow(collection, reflector))
        self._watched[collection] = _WatchedCollection(reflector, task)

    async def _follow(self, collection: Collection, reflector: Reflector) -> None:
        while True:
            try:
                await reflector.run(partial(self._enqueue, collection))
            except ResourceMissing as missing:
                log.info("resource is not there", extra={"resource": collection.resource.plural, "reason": str(missing)})
                self._waiting.discard(collection)
                self._news.set()
                await asyncio.sleep(self._timing.missing_s)

    def _enqueue(self, collection: Collection, news: Replaced | Changed) -> None:
        self._inbox.append((collection, news))
        self.noticed.note()
        self._news.set()

    async def _process_inbox(self, tasks: asyncio.TaskGroup) -> None:
        """Note what changes by all that has come in, one change an object."""
        while self._inbox:
            collection, news = self._inbox.popleft()
            if collection == _DEFINITIONS and news is not None:
                self._update_definitions(news, tasks)
            for index, change in enumerate(self._changes_of(collection, news)):
                if change is not None:
                    self._pending[change.key] = change
                if index % _PIECE == _PIECE - 1:
                    await asyncio.sleep(0)
            if isinstance(news, Replaced):
                self._waiting.discard(collection)

    def _changes_of(self, collection: Collection, news: Replaced | Changed | None) -> Iterator[Change | None]:
        """Yield the changes that ``news`` of ``collection`` mean, and ``None`` in between where nothing changes."""
        resource = collection.resource
        kind = self._kinds.get((resource.group, resource.kind), _CustomKind())
        if news is None:
            removed = self._store.missing_from(collection, ()) if kind.resource is None else tuple(kind.unconfirmed)
            kind.unconfirmed.clear()
            for key in removed:
                yield from self._store.remove(key)
        elif collection == _DEFINITIONS or collection not in self._watched:
            return  # of a kind that is going: that its objects go with it is not believed yet
        elif isinstance(news, Changed):
            for is_there, document in news.events:
                key = _key(resource, document)
                kind.unconfirmed.discard(key)
                yield from self._store.update(resource, document) if is_there else self._store.remove(key)
        else:
            yield from self._changes_of_list(collection, news, kind)

    def _changes_of_list(self, collection: Collection, news: Replaced, kind: _CustomKind) -> Iterator[Change | None]:
        present: set[Key] = set()
        for document in news.items:
            present.add(_key(collection.resource, document))
            yield from self._store.update(collection.resource, document)
            yield None
        kind.unconfirmed -= present
        absent = self._store.missing_from(collection, present)
        if kind.grace:
            kind.unconfirmed.update(absent)
            return
        for key in absent:
            yield from self._store.remove(key)

    def _update_definitions(self, news: Replaced | Changed, tasks: asyncio.TaskGroup) -> None:
        """Watch the kinds that are there by ``news`` of definitions."""
        events = [(True, crd) for crd in news.items] if isinstance(news, Replaced) else list(news.events)
        if isinstance(news, Replaced):
            self._definitions.clear()
        for is_there, crd in events:
            name = text(section(crd, "metadata"), "name")
            known_definition = definition_of(crd) if is_there else None
            if known_definition is None:
                self._definitions.pop(name, None)
            else:
                self._definitions[name] = known_definition
        served = {(known.group, known.kind): known.resource for known in self._definitions.values()}
        for group_and_kind in served.keys() | self._kinds.keys():
            self._watch_kind(group_and_kind, served.get(group_and_kind), tasks)

    def _watch_kind(self, group_and_kind: tuple[str, str], resource: ApiResource | None, tasks: asyncio.TaskGroup) -> None:
        kind = self._kinds.setdefault(group_and_kind, _CustomKind())
        if kind.resource == resource:
            return
        if kind.resource is not None:
            for collection in collections_of(kind.resource, self._namespaces):
                self._waiting.discard(collection)
                if mirror := self._watched.pop(collection, None):
                    mirror.task.cancel()
        old, kind.resource = kind.resource, resource
        if resource is not None:
            log.info("kind is there", extra={"kind": resource.kind, "version": resource.version})
            for collection in collections_of(resource, self._namespaces):
                self._watch(collection, tasks)
        elif old is not None:
            log.warning("kind is going", extra={"kind": old.kind, "kept_s": self._grace_s})
            if kind.grace:
                kind.grace.cancel()
            kind.grace = asyncio.get_running_loop().call_later(self._grace_s, self._end_grace, kind, old)

    def _end_grace(self, kind: _CustomKind, resource: ApiResource) -> None:
        """Believe, a while after the kind of ``resource`` went, that the objects are gone which did not come back."""
        kind.grace = None
        for collection in collections_of(resource, self._namespaces):
            self._inbox.append((collection, None))
        self._news.set()


def _key(resource: ApiResource, document: Json) -> Key:
    metadata = section(document, "metadata")
    return Key(resource.kind, text(metadata, "namespace"), text(metadata, "name"), resource.group)
