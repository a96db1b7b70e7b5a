"""How changes come in and go out: at once, in one piece, and what arrives meanwhile together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from controlplane.mesh.mesh import Mesh, Published
from controlplane.model.keys import Key
from controlplane.objects.changes import Change
from controlplane.serve.xds.hub import Hub
from tests.edges.waiting import until


class SlowMesh(Mesh):
    """A mesh whose refresh needs as many slices as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = 0
        self.done: list[str] = []

    def apply(self, changes: Iterable[Change]) -> frozenset[Key]:
        self.done.extend(change.key.name for change in changes)
        return frozenset()

    def refresh(self, stop: Callable[[], bool] = bool) -> Published:
        del stop
        if self.slices:
            self.slices -= 1
            self.done.append("slice")
            return Published(done=False)
        self.done.append("published")
        return Published()


@contextlib.asynccontextmanager
async def working(mesh: Mesh, *sources: str) -> AsyncIterator[Hub]:
    hub = Hub(mesh, sources)
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()


def change(name: str) -> Change:
    return Change(Key("Service", "shop", name), None)


async def test_what_arrives_while_a_batch_is_worked_on_is_one_batch_after_it() -> None:
    mesh = SlowMesh()

    async with working(mesh) as hub:
        mesh.slices = 3
        hub.submit("files", (change("a"),))
        await until(lambda: "slice" in mesh.done)
        hub.submit("files", (change("b"),))
        hub.submit("files", (change("c"),))
        await until(lambda: mesh.done.count("published") == 2)

    assert mesh.done == ["a", "slice", "slice", "slice", "published", "b", "c", "published"]


async def test_the_event_loop_breathes_between_slices() -> None:
    mesh = SlowMesh()
    breaths = 0

    async with working(mesh) as hub:
        mesh.slices = 50
        hub.submit("files", (change("a"),))
        while "published" not in mesh.done:
            await asyncio.sleep(0)
            breaths += 1

    assert breaths >= 50


async def test_it_is_synced_when_each_source_has_handed_in_something_be_it_nothing() -> None:
    async with working(SlowMesh(), "files", "more files") as hub:
        hub.submit("files", (change("a"),))
        hub.submit("files", (change("b"),))
        await until(lambda: hub.refreshes)
        before = hub.synced.is_set()
        hub.submit("more files", ())
        await until(hub.synced.is_set)

    assert not before
