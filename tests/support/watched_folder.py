"""A folder of manifests with the source that watches it, and what that has handed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from controlplane.objects.changes import Change
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.sources.files.source import FileSource
from tests.support.waiting import until


class Watched:
    """What a running source has handed over."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.batches: list[tuple[Change, ...]] = []

    def has(self, name: str, port: int) -> bool:
        return self.ports.get(name) == port

    @property
    def ports(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for change in (each for batch in self.batches for each in batch):
            if isinstance(change.object, KubernetesService):
                found[change.key.name] = change.object.spec.ports[0].port
            else:
                del found[change.key.name]
        return found


@contextlib.asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Watched]:
    watched = Watched(FileSource(str(folder)))
    task = asyncio.create_task(watched.source.run(watched.batches.append))
    try:
        await until(lambda: watched.batches or task.done())
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
