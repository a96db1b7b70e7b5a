"""Wires the rooms together and runs them, until somebody says stop."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from controlplane.admin.api import Facts, admin_app
from controlplane.admin.health import health_app
from controlplane.admin.metrics import collector
from controlplane.admin.web import Web
from controlplane.books import Books
from controlplane.mesh.mesh import Mesh
from controlplane.serve.hub import Hub
from controlplane.serve.server import Server
from controlplane.settings import Settings
from controlplane.sources.files import Files

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a control plane can be reached, as ``host:port``."""

    xds: str
    admin: str
    health: str | None


class ControlPlane:
    """One control plane: everything between the sources and the proxies."""

    def __init__(self, settings: Settings) -> None:
        """Open the admin ports that ``settings`` names; raises OSError where that cannot be."""
        self._settings = settings
        self._sources = [Files(root) for root in settings.files]
        self._mesh = Mesh()
        self._hub = Hub(self._mesh, [source.name for source in self._sources])
        self._books = Books()
        self._server = Server(self._hub, self._books, settings.xds)
        registry = CollectorRegistry()
        facts = Facts(self._mesh, self._books.fleet, self._hub.sessions, lambda: [source.places() for source in self._sources], self._not_ready)
        registry.register(collector(facts, lambda: self._hub.refreshes))
        self._admin = Web(admin_app(facts, registry, settings.admin_hosts), settings.admin)
        self._health = Web(health_app(self._not_ready, registry), settings.health) if settings.health else None

    async def run(self, stop: asyncio.Event, announce: Callable[[Addresses], None] | None = None) -> None:
        """Serve until ``stop`` is set, then let the proxies go in good order; ``announce`` is told where, as soon as all ports are open."""
        port = await self._server.start()
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self._hub.run()), *(tasks.create_task(self._read(source)) for source in self._sources)]
            webs = [web for web in (self._admin, self._health) if web]
            for web in webs:
                tasks.create_task(web.run())
            if announce:
                announce(self._addresses(port))
            await stop.wait()
            log.info("stopping")
            await self._server.stop(self._settings.grace_s, random.random)
            for web in webs:
                web.stop()
            for task in work:
                task.cancel()
        log.info("stopped")

    async def _read(self, source: Files) -> None:
        await source.run(lambda changes: self._hub.submit(source.name, changes))

    def _not_ready(self) -> str | None:
        if self._server.draining:
            return "this control plane is stopping"
        return None if self._hub.synced.is_set() else "not every source has been read yet"

    def _addresses(self, port: int) -> Addresses:
        settings = self._settings
        health = f"{_host(settings.health)}:{self._health.port}" if settings.health and self._health else None
        return Addresses(f"{_host(settings.xds)}:{port}", f"{_host(settings.admin)}:{self._admin.port}", health)


async def run_until_signalled(settings: Settings, announce: Callable[[Addresses], None]) -> None:
    """Run a control plane by ``settings`` until this process is told to end (SIGTERM, SIGINT)."""
    plane = ControlPlane(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await plane.run(stop, announce)


def _host(address: str) -> str:
    return address.rpartition(":")[0]
