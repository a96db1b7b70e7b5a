"""Follows a Consul: blocking queries for the catalog, the checks and the protocols, and a few askers for services that may have changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeAlias
from urllib.parse import quote

from controlplane.background import in_background
from controlplane.settings import ConsulSettings
from controlplane.sources.consul.catalogue import Catalogue, ToAsk
from controlplane.sources.consul.queries import BlockingQuery, ConsulAnswer, ConsulQueries
from controlplane.sources.consul.reading import (
    checked_instances_of,
    checks_of,
    instances_of,
    proxy_defaults_of,
    service_defaults_of,
    services_of,
)
from controlplane.sources.consul.refresh_queue import BURST, RefreshQueue
from controlplane.sources.registry.entries import Convention
from controlplane.sources.registry.http import RegistryHttp, RegistryUnreachable, SecretFile, json_of
from controlplane.sources.registry.mirror import RegistryMirror
from controlplane.sources.registry.pacing import RetryDelay, TokenBucket
from controlplane.sources.registry.source import Listener, RegistrySource

log = logging.getLogger(__name__)

GRACE_S = 60.0  # for which what a Consul lacks that came back without its state is not believed to be gone
_FETCHERS = 4
_WATCHES = 4  # blocking queries
_BURST, _INTERVAL_S = 2, 0.1  # of answers to one blocking query
_COMPARE_S = 0.5  # between two looks at all checks
_AGAIN_S = 0.2  # until a service is asked about again of which less was said than its checks say
_REFUSED = (403, 404, 405)
Work: TypeAlias = Coroutine[object, object, None]
_NOT_PASSING = {"filter": 'Status != "passing"'}


def consul_source(settings: ConsulSettings, sync_timeout_s: float, random: Callable[[], float]) -> RegistrySource:
    """Return the source for ``settings``."""
    name = f"consul {settings.url}" + (f" {settings.datacenter}" if settings.datacenter else "")
    mirror = RegistryMirror(name, Convention("Consul", settings.namespace), GRACE_S)
    return RegistrySource(name, ConsulRegistry(settings, random), mirror, sync_timeout_s)


class ConsulRegistry:
    """The services of one datacenter, as a registry."""

    def __init__(self, settings: ConsulSettings, random: Callable[[], float]) -> None:
        """Follow what ``settings`` name; ``random`` gives numbers below 1."""
        self._settings = settings
        self._random = random
        self._token = SecretFile(settings.token_file) if settings.token_file else None
        domain = f"{settings.datacenter}.{settings.domain}" if settings.datacenter else settings.domain
        self._catalogue = Catalogue(domain, settings.port or 0)
        self._queue = RefreshQueue()
        self._answered: set[str] = set()  # watches that have had an answer
        self._reasons: dict[str, str] = {}  # why nothing is heard, by what is asked
        self._limits: dict[str, str] = {}
        self._catalog_changed = asyncio.Event()
        self._filtered = False
        self._complete = False

    async def follow(self, listener: Listener) -> None:
        """Tell ``listener`` what there is, and from then on what changes, without end."""
        http = RegistryHttp(self._settings.url, self._settings.tls, self._headers, connections=_WATCHES + _FETCHERS + 1)
        queries = ConsulQueries(http, self._settings)
        self._answered.clear()
        self._complete = False

        def watch(name: str, path: str, take: Callable[[ConsulAnswer], None], params: Mapping[str, str] | None = None) -> Work:
            return self._watch(name, BlockingQuery(queries, path, params), take, listener)

        try:
            async with asyncio.TaskGroup() as tasks:
                watches = (
                    watch("the catalog", "/v1/catalog/services", lambda answer: self._take_catalog(answer, listener)),
                    watch("the checks", "/v1/health/state/any", lambda answer: self._take_checks(answer, listener), _NOT_PASSING),
                    watch("service-defaults", "/v1/config/service-defaults", lambda answer: self._take_service_defaults(answer, listener)),
                    watch("proxy-defaults", "/v1/config/proxy-defaults", lambda answer: self._take_proxy_defaults(answer, listener)),
                )
                for coroutine in (
                    *watches,
                    self._compare_instances(queries, listener),
                    *(self._ask(queries, listener) for _ in range(_FETCHERS)),
                ):
                    tasks.create_task(coroutine)
        finally:
            await http.close()

    async def _watch(self, name: str, query: BlockingQuery, take: Callable[[ConsulAnswer], None], listener: Listener) -> None:
        """Hand every answer to ``query`` that differs from the one before to ``take``."""
        delay = RetryDelay(self._random)
        bucket = TokenBucket(_BURST, _INTERVAL_S)
        last: tuple[bytes, int] | None = None
        while True:
            await asyncio.sleep(bucket.take(time.monotonic()))
            try:
                answer = await query.next()
                if answer.regressed:
                    listener.lost_state(f"the index of {name} went back to {answer.as_of}")
                if last is None or (answer.body, answer.as_of) != last:
                    take(answer)
                last = answer.body, answer.as_of
            except RegistryUnreachable as error:
                last = None
                if error.status in _REFUSED and name.endswith("defaults"):
                    self._refuse(name, str(error), listener)
                else:
                    self._fail(name, str(error), listener)
                await asyncio.sleep(delay.failed())
                continue
            delay.worked()
            self._answered.add(name)
            self._work(name, listener)
            self._tell_all(listener)

    def _take_catalog(self, answer: ConsulAnswer, listener: Listener) -> None:
        names = services_of(answer.json, self._settings)
        if answer.filtered and not self._filtered and self._catalogue.names.keys() - names.keys():
            listener.lost_state("its token lets it see less than before")
        self._filtered = answer.filtered
        self._limit("ACLs", "its token does not let it see everything" if answer.filtered else None, listener)
        for name in [name for name in self._catalogue.names if name not in names]:
            self._queue.forget(name)
            listener.remove(name)
        self._wake(self._catalogue.take_catalog(names))
        if len(names) > BURST:
            self._catalog_changed.set()

    async def _compare_instances(self, queries: ConsulQueries, listener: Listener) -> None:
        """Look whose instances have come and gone, whenever the catalog has changed and there are many services."""
        delay = RetryDelay(self._random)
        bucket = TokenBucket(_BURST, _COMPARE_S)
        while True:
            await self._catalog_changed.wait()
            await asyncio.sleep(bucket.take(time.monotonic()))
            self._catalog_changed.clear()
            try:
                answer = await queries.ask("/v1/health/state/any", stale=self._settings.stale)
                instances = await in_background(lambda body: checked_instances_of(json_of(body)), answer.body)
                self._wake(self._catalogue.take_instances(instances))
            except RegistryUnreachable as error:
                self._fail("the instances", str(error), listener)
                self._catalog_changed.set()
                await asyncio.sleep(delay.failed())
            else:
                delay.worked()
                self._work("the instances", listener)

    def _take_checks(self, answer: ConsulAnswer, _listener: Listener) -> None:
        self._wake(self._catalogue.take_checks(checks_of(answer.json), answer.as_of))

    def _take_service_defaults(self, answer: ConsulAnswer, listener: Listener) -> None:
        self._limit("service-defaults", None, listener)
        self._change_defaults(service_defaults_of(answer.json), self._catalogue.defaults.everywhere, listener)

    def _take_proxy_defaults(self, answer: ConsulAnswer, listener: Listener) -> None:
        self._limit("proxy-defaults", None, listener)
        self._change_defaults(self._catalogue.defaults.of_services, proxy_defaults_of(answer.json), listener)

    def _change_defaults(self, of_services: Mapping[str, str], everywhere: str, listener: Listener) -> None:
        before = self._catalogue.defaults
        self._catalogue.defaults = after = before._replace(of_services=of_services, everywhere=everywhere)
        for name in self._catalogue.names:
            if before.protocol(name) != after.protocol(name):
                self._tell(name, listener)

    async def _ask(self, queries: ConsulQueries, listener: Listener) -> None:
        """Ask about one service after another."""
        delay = RetryDelay(self._random)
        while True:
            name = await self._queue.next()
            try:
                answer = await queries.ask(f"/v1/health/service/{quote(name, safe='')}", stale=self._settings.stale)
                self._take_service(name, answer, listener)
            except RegistryUnreachable as error:
                self._fail("services", str(error), listener)
                await asyncio.sleep(delay.failed())
                self._queue.add((name,))
            else:
                delay.worked()
                self._work("services", listener)
            finally:
                self._queue.done(name)
            self._tell_all(listener)

    def _take_service(self, name: str, answer: ConsulAnswer, listener: Listener) -> None:
        service = instances_of(answer.json, self._settings)
        if name not in self._catalogue.names:
            return  # it has gone meanwhile
        if self._catalogue.is_regressed(name, answer.as_of) and not self._settings.stale:
            listener.lost_state(f"the index of the service {name} went back to {answer.as_of}")
        if self._catalogue.take_service(name, service, answer.as_of):
            asyncio.get_running_loop().call_later(_AGAIN_S, self._wake, ToAsk(now=frozenset((name,))))
        self._tell(name, listener)

    def _wake(self, to_ask: ToAsk) -> None:
        self._queue.add((name for name in to_ask.now if name in self._catalogue.names), to_ask.later)

    def _tell(self, name: str, listener: Listener) -> None:
        if registration := self._catalogue.registration(name):
            listener.put(registration)

    def _tell_all(self, listener: Listener) -> None:
        """Tell ``listener`` that all there is has been told, as soon as it has been."""
        if not self._complete and len(self._answered) == _WATCHES and self._catalogue.complete:
            self._complete = True
            listener.listed(self._catalogue.names.keys())

    def _refuse(self, name: str, reason: str, listener: Listener) -> None:
        """Do without the protocols that ``name`` would say."""
        self._answered.add(name)
        self._limit(name, f"{name} cannot be read, so that instances alone say protocols: {reason}", listener)
        self._work(name, listener)
        self._tell_all(listener)

    def _limit(self, name: str, reason: str | None, listener: Listener) -> None:
        if reason is None:
            self._limits.pop(name, None)
        else:
            self._limits[name] = reason
        listener.limited(next(iter(self._limits.values()), None))

    def _fail(self, name: str, reason: str, listener: Listener) -> None:
        self._reasons[name] = f"{name} cannot be read: {reason}"
        self._report(listener)

    def _work(self, name: str, listener: Listener) -> None:
        self._reasons.pop(name, None)
        self._report(listener)

    def _report(self, listener: Listener) -> None:
        if self._reasons:
            listener.failed(next(iter(self._reasons.values())))
        else:
            listener.worked()

    def _headers(self) -> Mapping[str, str]:
        return {"X-Consul-Token": self._token.read()} if self._token else {}
