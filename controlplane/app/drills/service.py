"""Drills as a part of a control plane that serves: runs, and the socket at which they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import aiohttp

from controlplane.admin.http_server import HttpServer
from controlplane.app.drills.mesh_view import MeshView
from controlplane.app.faults.injector import FaultInjector
from controlplane.drill_runs.api import drill_app
from controlplane.drill_runs.runs import DrillRuns, RunClocks
from controlplane.drill_runs.scraper import StatsScraper
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session

_TAKEN_BACK_S = 2.0  # for proxies to accept that faults end, when the control plane stops


class Drills:
    """The drills of a control plane."""

    def __init__(self, mesh: Mesh, sessions: Callable[[], Sequence[Session]], injector: FaultInjector) -> None:
        """Run drills in ``mesh``, whose proxies are those of ``sessions``, by ``injector``."""
        self._scraper = StatsScraper()
        self.runs = DrillRuns(MeshView(mesh, sessions), injector, self._scraper, RunClocks(time.time, time.monotonic))
        self._mesh = mesh
        self._injector = injector

    def server(self, socket: str) -> HttpServer:
        """Return what answers `navarch drill` at the Unix ``socket``."""
        return HttpServer(drill_app(self.runs, self._mesh.object), f"unix:{socket}", option="--drills")

    async def run(self) -> None:
        """Run what is started, until cancelled."""
        async with aiohttp.ClientSession() as session:
            self._scraper.open(session)
            await self.runs.run()

    async def stop(self) -> None:
        """Have all faults end, and wait a moment until proxies know: the streams by which they hear of it are to end next."""
        ids = self.runs.stop()
        if ids:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TAKEN_BACK_S):
                    await self._injector.reached(*ids)
