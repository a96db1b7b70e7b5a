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
    kept: set[Key] = field(default_factory=set)  # objects that a definition made anew does not have


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
        self._client = client
        self._namespaces = namespaces
        self._random = random
        self._timing = timing or ReflectorTiming()
        self._grace_s = grace_s
        self._store = ObjectStore()
        self._inbox: deque[tuple[Collection, Replaced | Changed | None]] = deque()  # None: a kind's grace is over
        self._news = asyncio.Event()
        self._mirrors: dict[Collection, _WatchedCollection] = {}
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
        for each in sorted(self._waiting, key=lambda each: each.resource):
            mirror = self._mirrors.get(each)
            if mirror and mirror.reflector.trouble:
                return f"{each.resource.plural} cannot be read: {mirror.reflector.trouble}"
        return "waiting for " + ", ".join(sorted({each.resource.plural for each in self._waiting}))

    def silences(self) -> dict[str, float]:
        """Return for how many seconds nothing was heard of each resource: the longest of its watches."""
        found: dict[str, float] = {}
        for collection, mirror in self._mirrors.items():
            name = collection.resource.plural
            found[name] = max(found.get(name, 0.0), mirror.reflector.silent_s)
        return found

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, and from then on what changes."""
        began = time.monotonic()
        self._syncing, self._mirrors, self._waiting = True, {}, set()
        self._inbox.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in (_DEFINITIONS, *built_in_collections(self._namespaces)):
                    self._mirror(each, tasks)
                while True:
                    await self._news.wait()
                    self._news.clear()
                    await self._take(tasks)
                    if self._syncing and not self._waiting:
                        self._syncing = False
                        log.info("kubernetes synced", extra={"objects": len(self._pending), "seconds": round(time.monotonic() - began, 2)})
                    elif self._syncing or not self._pending:
                        continue
                    deliver(tuple(self._pending.values()))
                    self._pending.clear()
        finally:
            for kind in self._kinds.values():
                if kind.grace:
                    kind.grace.cancel()
            self._kinds.clear()

    def _mirror(self, collection: Collection, tasks: asyncio.TaskGroup) -> None:
        reflector = Reflector(
            self._client, collection.resource, self._timing, self._random, namespace=collection.namespace, name=collection.name
        )
        if self._syncing:
            self._waiting.add(collection)
        task = tasks.create_task(self._follow(collection, reflector))
        self._mirrors[collection] = _WatchedCollection(reflector, task)

    async def _follow(self, collection: Collection, reflector: Reflector) -> None:
        while True:
            try:
                await reflector.run(partial(self._put, collection))
            except ResourceMissing as missing:
                log.info("resource is not there", extra={"resource": collection.resource.plural, "reason": str(missing)})
                self._waiting.discard(collection)
                self._news.set()
                await asyncio.sleep(self._timing.missing_s)

    def _put(self, collection: Collection, news: Replaced | Changed) -> None:
        self._inbox.append((collection, news))
        self._news.set()

    async def _take(self, tasks: asyncio.TaskGroup) -> None:
        """Note what changes by all that has come in, one change an object."""
        while self._inbox:
            collection, news = self._inbox.popleft()
            if collection == _DEFINITIONS and news is not None:
                self._define(news, tasks)
            for at, change in enumerate(self._meaning(collection, news)):
                if change is not None:
                    self._pending[change.key] = change
                if at % _PIECE == _PIECE - 1:
                    await asyncio.sleep(0)
            if isinstance(news, Replaced):
                self._waiting.discard(collection)

    def _meaning(self, collection: Collection, news: Replaced | Changed | None) -> Iterator[Change | None]:
        """Yield the changes that ``news`` of ``collection`` mean, and ``None`` in between where nothing changes."""
        resource = collection.resource
        kind = self._kinds.get((resource.group, resource.kind), _CustomKind())
        if news is None:
            gone = self._store.missing_from(collection, ()) if kind.resource is None else tuple(kind.kept)
            kind.kept.clear()
            for key in gone:
                yield from self._store.remove(key)
        elif collection == _DEFINITIONS or collection not in self._mirrors:
            return  # of a kind that is going: that its objects go with it is not believed yet
        elif isinstance(news, Changed):
            for is_there, value in news.events:
                key = _key(resource, value)
                kind.kept.discard(key)
                yield from self._store.update(resource, value) if is_there else self._store.remove(key)
        else:
            yield from self._replaced(collection, news, kind)

    def _replaced(self, collection: Collection, news: Replaced, kind: _CustomKind) -> Iterator[Change | None]:
        there: set[Key] = set()
        for value in news.items:
            there.add(_key(collection.resource, value))
            yield from self._store.update(collection.resource, value)
            yield None
        kind.kept -= there
        gone = self._store.missing_from(collection, there)
        if kind.grace:
            kind.kept.update(gone)
            return
        for key in gone:
            yield from self._store.remove(key)

    def _define(self, news: Replaced | Changed, tasks: asyncio.TaskGroup) -> None:
        """Watch the kinds that are there by ``news`` of definitions."""
        events = [(True, each) for each in news.items] if isinstance(news, Replaced) else list(news.events)
        if isinstance(news, Replaced):
            self._definitions.clear()
        for is_there, crd in events:
            name = text(section(crd, "metadata"), "name")
            found = definition_of(crd) if is_there else None
            if found is None:
                self._definitions.pop(name, None)
            else:
                self._definitions[name] = found
        wanted = {(each.group, each.kind): each.resource for each in self._definitions.values()}
        for which in wanted.keys() | self._kinds.keys():
            self._serve(which, wanted.get(which), tasks)

    def _serve(self, which: tuple[str, str], resource: ApiResource | None, tasks: asyncio.TaskGroup) -> None:
        kind = self._kinds.setdefault(which, _CustomKind())
        if kind.resource == resource:
            return
        if kind.resource is not None:
            for each in collections_of(kind.resource, self._namespaces):
                self._waiting.discard(each)
                if mirror := self._mirrors.pop(each, None):
                    mirror.task.cancel()
        old, kind.resource = kind.resource, resource
        if resource is not None:
            log.info("kind is there", extra={"kind": resource.kind, "version": resource.version})
            for each in collections_of(resource, self._namespaces):
                self._mirror(each, tasks)
        elif old is not None:
            log.warning("kind is going", extra={"kind": old.kind, "kept_s": self._grace_s})
            if kind.grace:
                kind.grace.cancel()
            kind.grace = asyncio.get_running_loop().call_later(self._grace_s, self._believe, kind, old)

    def _believe(self, kind: _CustomKind, resource: ApiResource) -> None:
        """Believe, a while after the kind of ``resource`` went, that the objects are gone which did not come back."""
        kind.grace = None
        for each in collections_of(resource, self._namespaces):
            self._inbox.append((each, None))
        self._news.set()


def _key(resource: ApiResource, value: Json) -> Key:
    metadata = section(value, "metadata")
    return Key(resource.kind, text(metadata, "namespace"), text(metadata, "name"), resource.group)
