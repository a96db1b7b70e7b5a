"""What a source of a registry hands on, while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from controlplane.objects.changes import Change
from controlplane.objects.networking.service_entry import ServiceEntry
from controlplane.sources.registry.source import RegistrySource
from tests.support.waiting import until


class Heard:
    """The batches, and the addresses of each service by its name as they are now."""

    def __init__(self, source: RegistrySource) -> None:
        self.source = source
        self.batches: list[dict[str, list[str]]] = []
        self.entries: dict[str, ServiceEntry] = {}

    @property
    def endpoints(self) -> dict[str, list[str]]:
        """Return the addresses of each service."""
        return {name: [endpoint.address for endpoint in entry.spec.endpoints] for name, entry in self.entries.items()}

    def deliver(self, changes: tuple[Change, ...]) -> None:
        """Take ``changes`` in."""
        for change in changes:
            if isinstance(change.object, ServiceEntry):
                self.entries[change.key.name] = change.object
            else:
                self.entries.pop(change.key.name, None)
        self.batches.append({change.key.name: self.endpoints.get(change.key.name, []) for change in changes})

    def troubles(self) -> set[str]:
        """Return the codes of what is wrong with the registry as a whole."""
        [of_registry, *_] = self.source.locations().problems_by_document()
        return {located.problem.code for located in of_registry}


@contextlib.asynccontextmanager
async def heard(source: RegistrySource, *, wait: bool = True) -> AsyncIterator[Heard]:
    """Run ``source`` until the block ends; it has handed on what there is when the block begins, unless nobody is to ``wait`` for that."""
    hears = Heard(source)
    task = asyncio.create_task(source.run(hears.deliver))
    try:
        if wait:
            await until(lambda: hears.batches or task.done(), "the first batch")
        yield hears
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
