"""Workloads that register themselves: gives the fleet the time, logs what matters, and signals when the entries may have changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from controlplane.fleet.registrations import Objects, RegisteredEntry, Registrations, probe_of
from controlplane.ir.health_checks import HealthCheck
from controlplane.model.keys import Key
from controlplane.model.proxies import Proxy

log = logging.getLogger(__name__)


class WorkloadRegistrar:
    """The registrations of one replica."""

    def __init__(self, objects: Objects, grace_s: float, *, observes: bool = False) -> None:
        """Look up groups among ``objects``; keep workloads that have disconnected for ``grace_s``. Who only ``observes`` registers none."""
        self._observes = observes
        self._objects = objects
        self._registrations = Registrations(grace_s)
        self._logged: Mapping[str, str] = {}
        self.changed = asyncio.Event()

    def connected(self, connection: int, proxy: Proxy) -> None:
        """Note that ``proxy`` has opened ``connection``."""
        if self._observes:
            if proxy.group:
                log.warning("workload not registered", extra={"proxy": proxy.id, "reason": "this control plane only observes"})
        elif self._registrations.connected(connection, proxy, time.time()):
            self.changed.set()
        elif proxy.group:
            log.warning("workload not registered", extra={"proxy": proxy.id, "reason": "it came in where nobody is asked who they are"})

    def disconnected(self, connection: int) -> None:
        """Note that ``connection`` has ended."""
        if self._registrations.disconnected(connection, time.time()):
            self.changed.set()

    def health_checked(self, proxy: Proxy, *, healthy: bool) -> None:
        """Take in the result of the checks of ``proxy``."""
        if self._registrations.health_checked(proxy, time.time(), healthy=healthy):
            log.info("workload checked", extra={"proxy": proxy.id, "healthy": healthy})
            self.changed.set()

    def probe(self, proxy: Proxy) -> HealthCheck | None:
        """Return how the health of ``proxy`` is to be checked, ``None`` if it is not."""
        return probe_of(proxy, self._objects)

    def entries(self) -> Mapping[Key, RegisteredEntry]:
        """Return the entries that there have to be now."""
        refused = self._registrations.refused(self._objects)
        for proxy, reason in refused.items():
            if self._logged.get(proxy) != reason:
                log.warning("workload not registered", extra={"proxy": proxy, "reason": reason})
        self._logged = refused
        return self._registrations.entries(self._objects, time.time())

    def documents(self) -> Mapping[Key, Mapping[str, object]]:
        """Return the entries as documents."""
        return {key: entry.document for key, entry in self.entries().items()}

    def statuses(self) -> Mapping[str, str]:
        """Return as which entry each proxy that asked for it is registered, or why it is not."""
        return self._registrations.statuses(self._objects)
