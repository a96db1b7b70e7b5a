"""Follows an etcd: a list, then a watch that goes on from it, at whichever member answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from controlplane.settings import EtcdSettings
from controlplane.slices import next_turn
from controlplane.sources.etcd.gateway import EtcdGateway, Happened
from controlplane.sources.etcd.services import MAX_KEYS, EtcdServices
from controlplane.sources.registry.entries import Convention
from controlplane.sources.registry.http import RegistryUnreachable
from controlplane.sources.registry.mirror import RegistryMirror
from controlplane.sources.registry.pacing import RetryDelay
from controlplane.sources.registry.source import Listener, RegistrySource

_PIECE = 200  # keys that are read without giving way to others
GRACE_S = 60.0  # for which what an etcd has that was restored to an earlier state lacks is not believed to be gone


def etcd_source(settings: EtcdSettings, sync_timeout_s: float, random: Callable[[], float]) -> RegistrySource:
    """Return the source for ``settings``."""
    name = f"etcd {settings.urls[0]}{settings.prefix}"
    mirror = RegistryMirror(name, Convention("etcd", settings.namespace), GRACE_S)
    return RegistrySource(name, EtcdRegistry(settings, random), mirror, sync_timeout_s)


class EtcdRegistry:
    """The keys of one etcd cluster below a prefix, as a registry."""

    def __init__(self, settings: EtcdSettings, random: Callable[[], float]) -> None:
        """Follow what ``settings`` name; ``random`` gives numbers below 1."""
        self._settings = settings
        self._services = EtcdServices(settings)
        self._delay = RetryDelay(random)
        self._revision = 0  # up to which everything is known; 0: nothing is
        self._cluster = ""
        self._behind = False  # at the last look there was a change that the watch had not told

    async def follow(self, listener: Listener) -> None:
        """Tell ``listener`` what there is, and from then on what changes, without end."""
        self._revision = 0
        while True:
            for url in self._settings.urls:
                gateway = EtcdGateway(url, self._settings)
                try:
                    await self._follow_member(gateway, listener)
                except RegistryUnreachable as error:
                    listener.failed(f"{url}: {error}")
                finally:
                    await gateway.close()
                await asyncio.sleep(self._delay.failed())

    async def _follow_member(self, gateway: EtcdGateway, listener: Listener) -> None:
        """Follow as long as this member answers; raises RegistryUnreachable."""
        if not self._revision:
            await self._list(gateway, listener)
        else:
            await self._look(gateway, listener)
        while True:
            compacted = False
            watch = gateway.watch(self._revision + 1)
            async with contextlib.aclosing(watch):
                async for happened in watch:
                    self._delay.worked()
                    if happened is None:
                        await self._look(gateway, listener)
                    elif happened.compacted:
                        compacted = True
                        break
                    else:
                        self._take(happened, listener)
            if not compacted:
                raise RegistryUnreachable("the watch ended")
            await self._list(gateway, listener)

    async def _list(self, gateway: EtcdGateway, listener: Listener) -> None:
        listed = await gateway.list(MAX_KEYS)
        if self._cluster and (listed.cluster != self._cluster or listed.revision < self._revision):
            listener.lost_state(
                f"its revision is {listed.revision} of cluster {listed.cluster}, and was {self._revision} of {self._cluster}"
            )
        self._cluster, self._revision, self._behind = listed.cluster, listed.revision, False
        self._services.clear()
        for number, (key, value) in enumerate(listed.pairs, start=1):
            self._services.put(key, value)
            if number % _PIECE == 0:
                await next_turn()
        listener.limited(f"expected at most {MAX_KEYS} keys: those after are passed over" if self._services.passed_over else None)
        for name in list(self._services.names):
            self._tell(name, listener)
        listener.listed(self._services.names)
        listener.worked()

    async def _look(self, gateway: EtcdGateway, listener: Listener) -> None:
        """Ask whether anything has happened that the watch did not tell, as a connection may be dead and nobody says so."""
        revision, changed = await gateway.latest()
        if revision < self._revision:
            await self._list(gateway, listener)
            raise RegistryUnreachable("its state is an earlier one")
        if changed > self._revision and self._behind:
            self._behind = False
            raise RegistryUnreachable("the watch does not tell what happens")
        self._behind = changed > self._revision
        listener.worked()

    def _take(self, happened: Happened, listener: Listener) -> None:
        touched = [
            self._services.delete(event.key) if event.value is None else self._services.put(event.key, event.value)
            for event in happened.events
        ]
        for name in dict.fromkeys(name for name in touched if name):
            self._tell(name, listener)
        self._revision = max((self._revision, *(event.revision for event in happened.events)))

    def _tell(self, name: str, listener: Listener) -> None:
        registration = self._services.registration(name)
        if registration is None:
            listener.remove(name)
        else:
            listener.put(registration)
