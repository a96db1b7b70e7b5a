"""Runs the sources side by side: Secrets that they have go to the store of credentials, all other objects to the update loop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from controlplane.app.api_server import ApiServer
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.mesh.facts import Fact
from controlplane.objects.changes import Change, split
from controlplane.objects.locations import Locations
from controlplane.serve.sds.secret_stores import FileSecrets
from controlplane.settings import Settings
from controlplane.sources.consul.source import consul_source
from controlplane.sources.etcd.source import etcd_source
from controlplane.sources.files.source import FileSource
from controlplane.sources.precedence import Precedence
from controlplane.sources.registrations import RegistrationSource
from controlplane.sources.source import Source

log = logging.getLogger(__name__)

_RESTART_S = 1.0  # until a source that failed is started again
# Takes facts in, with the name of where they come from, and when the first was noticed, in nanoseconds since the epoch.
Submit: TypeAlias = Callable[[str, Sequence[Fact], int | None], None]


def sources_of(settings: Settings, api: ApiServer | None, registrar: WorkloadRegistrar | None) -> Iterator[Source]:
    """Yield the sources by ``settings``, highest precedence first; without ``api`` the workloads of ``registrar`` are one."""
    for folder in settings.files:
        yield FileSource(folder)
    if api:
        yield api.source
    if registrar and not settings.kubernetes:
        yield RegistrationSource(registrar.documents, registrar.changed)
    if settings.consul:
        yield consul_source(settings.consul, settings.sync_timeout_s, random.random)
    if settings.etcd:
        yield etcd_source(settings.etcd, settings.sync_timeout_s, random.random)


class Sources:
    """The sources of one control plane."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Run ``sources``; the first that gives an object wins."""
        self._sources = sources
        self.names = tuple(source.name for source in sources)
        self.secrets = FileSecrets()
        self._precedence = Precedence(self.names)

    async def run(self, submit: Submit) -> None:
        """Hand what changes for the mesh to ``submit``, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(self._read(source, submit))

    def locations(self) -> list[Locations]:
        """Return each source's problems and the places of its objects, to be asked elsewhere: equal as long as nothing has changed."""
        return [*(source.locations() for source in self._sources), self._precedence.copy()]

    def not_ready(self) -> list[str]:
        """Return why sources have not handed in everything yet, as far as they know."""
        return [reason for source in self._sources if (reason := source.not_ready())]

    async def _read(self, source: Source, submit: Submit) -> None:
        while True:
            try:
                await source.run(partial(self._deliver, source, submit))
            except Exception:  # an internal error; what was published stays, and the source is started again
                log.exception("source failed", extra={"source": source.name})
                await asyncio.sleep(_RESTART_S)

    def _deliver(self, source: Source, submit: Submit, changes: tuple[Change, ...]) -> None:
        for_mesh, of_credentials = split(self._precedence.take(source.name, changes))
        self.secrets.apply(of_credentials)
        submit(source.name, for_mesh, source.noticed.take())
