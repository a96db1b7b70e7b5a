"""How facts come in and are published: at once, in one piece, and what arrives meanwhile together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from controlplane.app import update_loop
from controlplane.app.update_loop import UpdateLoop
from controlplane.envoy.type_urls import EDS
from controlplane.mesh.facts import CredentialFault, CredentialVerdict, Fact, IssuerKeys
from controlplane.mesh.fetched.wanted import Wanted
from controlplane.mesh.mesh import Mesh, Published
from controlplane.model.keys import WORKLOAD_ENTRY, Key
from controlplane.objects.changes import MeshChange
from controlplane.objects.security.jwks import KeySet
from controlplane.xds.view import Table, TableChange
from tests.support.waiting import until

URI = "https://issuer.example/keys"


class SlowMesh(Mesh):
    """A mesh whose refresh needs as many slices as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = 0
        self.wanted: Mapping[str, int | None] | None = None
        self.done: list[object] = []

    def apply(self, facts: Iterable[Fact]) -> frozenset[Key]:
        for fact in facts:
            if fact == change("bad"):
                raise RuntimeError("a mistake of ours")
            self.done.append(fact.key.name if isinstance(fact, MeshChange) else fact)
        return frozenset()

    def refresh(self, stop: Callable[[], bool] = bool, now: float = 0.0) -> Published:
        del stop, now
        if self.slices:
            self.slices -= 1
            self.done.append("slice")
            return Published(done=False)
        self.done.append("published")
        return Published(wanted=Wanted(self.wanted))

    def refresh_endpoints(self, stop: Callable[[], bool] = bool) -> Published:
        del stop
        self.done.append("endpoints")
        return Published(changes=((Table("table"), TableChange()),))


@dataclass
class Issuers:
    settled: bool = False
    wanted: list[Mapping[str, int | None]] = field(default_factory=list)

    def want(self, timeouts: Mapping[str, int | None]) -> None:
        self.wanted.append(timeouts)


@contextlib.asynccontextmanager
async def working(
    mesh: Mesh, *sources: str, issuers: Issuers | None = None, publish: Callable[[Published], None] = lambda _: None
) -> AsyncIterator[UpdateLoop]:
    loop = UpdateLoop(mesh, sources, issuers)
    task = asyncio.create_task(loop.run(publish))
    try:
        yield loop
    finally:
        task.cancel()


def change(name: str) -> MeshChange:
    return MeshChange(Key("Service", "shop", name), None)


async def test_what_arrives_while_a_batch_is_worked_on_is_one_batch_after_it() -> None:
    mesh = SlowMesh()

    async with working(mesh) as loop:
        mesh.slices = 3
        loop.submit("files", (change("a"),))
        await until(lambda: "slice" in mesh.done)
        loop.submit("files", (change("b"),))
        loop.submit("files", (change("c"),))
        await until(lambda: mesh.done.count("published") == 2)

    assert mesh.done == ["a", "slice", "slice", "slice", "published", "b", "c", "published"]


async def test_the_next_batch_waits_until_streams_have_composed_what_was_published() -> None:
    mesh, composed = SlowMesh(), asyncio.Event()

    async def all_composed() -> None:
        await composed.wait()

    loop = UpdateLoop(mesh, ())
    task = asyncio.create_task(loop.run(lambda _: None, all_composed))
    loop.submit("files", (change("a"),))
    for _ in range(10):
        await asyncio.sleep(0)
    waiting = list(mesh.done)
    loop.submit("files", (change("b"),))
    composed.set()
    await until(lambda: "published" in mesh.done)
    task.cancel()

    assert waiting == []
    assert mesh.done == ["a", "b", "published"]


async def endless(mesh: SlowMesh, loop: UpdateLoop) -> None:
    """Begin a batch that goes on until the test lets it end."""
    mesh.slices = 1 << 30
    loop.submit("files", (change("a"),))
    await until(lambda: "slice" in mesh.done)


def instance(name: str) -> MeshChange:
    return MeshChange(WORKLOAD_ENTRY.key("shop", name), None)


async def test_endpoints_that_arrive_while_a_batch_takes_long_go_ahead_of_it_and_nothing_else_does() -> None:
    mesh, published = SlowMesh(), list[Published]()

    async with working(mesh, publish=published.append) as loop:
        await endless(mesh, loop)
        loop.submit("files", (change("b"), instance("w")))
        await until(lambda: "w" in mesh.done and published)
        before = list(mesh.done)
        mesh.slices = 0
        await until(lambda: mesh.done.count("published") == 2)

    assert "endpoints" in before[before.index("w") :]
    assert not {"b", "published"} & set(before)
    assert mesh.done[-2:] == ["b", "published"]


async def test_endpoints_alone_do_not_go_ahead_of_themselves_and_of_a_table_there_is_one_change() -> None:
    mesh, published = SlowMesh(), list[Published]()
    one = Table("table")
    parts = [Published(changes=((one, TableChange(updated={EDS: frozenset({name})})),), done=name == "c") for name in "abc"]
    mesh.refresh_endpoints = lambda *_: parts.pop(0)  # type: ignore[method-assign]

    async with working(mesh, publish=published.append) as loop:
        mesh.slices = 20
        loop.submit("files", (instance("w"),))
        await until(lambda: published)
        alone = list(published)
        await endless(mesh, loop)
        await until(lambda: len(published) > 1)

    assert alone == [Published(wanted=Wanted(None))]
    assert published[1].changes == ((one, TableChange(updated={EDS: frozenset("abc")})),)


async def test_a_batch_that_takes_very_long_is_added_to_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_loop, "_AHEAD_S", 0.0)
    mesh = SlowMesh()

    async with working(mesh) as loop:
        mesh.slices = 300
        loop.submit("files", (change("a"),))
        await until(lambda: "slice" in mesh.done)
        loop.submit("files", (instance("w"),))
        await until(lambda: mesh.done.count("published") == 2)

    assert mesh.done[-3:] == ["published", "w", "published"]


async def test_of_two_facts_about_the_same_thing_that_wait_the_later_one_counts_and_objects_come_first() -> None:
    mesh = SlowMesh()
    old, new = (IssuerKeys(URI, KeySet(text)) for text in ("old", "new"))
    unusable, usable = (
        CredentialVerdict("kubernetes://shop", (CredentialFault("edge", "expired"),)),
        CredentialVerdict("kubernetes://shop", ()),
    )

    async with working(mesh) as loop:
        loop.submit("credentials", (unusable,))
        loop.submit("issuers", (old,))
        loop.submit("files", (change("a"), change("b")))
        loop.submit("files", (change("a"),))
        loop.submit("issuers", (new,))
        loop.submit("credentials", (usable,))
        await until(lambda: "published" in mesh.done)

    assert mesh.done == ["a", "b", new, usable, "published"]
    assert loop.key_updates == 2


async def test_the_event_loop_breathes_between_slices() -> None:
    mesh = SlowMesh()
    breaths = 0

    async with working(mesh) as loop:
        mesh.slices = 50
        loop.submit("files", (change("a"),))
        while "published" not in mesh.done:
            await asyncio.sleep(0)
            breaths += 1

    assert breaths >= 50


async def test_the_event_loop_breathes_between_pieces_of_a_large_batch() -> None:
    mesh = SlowMesh()
    breaths = 0

    async with working(mesh) as loop:
        loop.submit("files", [change(str(number)) for number in range(2000)])
        while "published" not in mesh.done:
            await asyncio.sleep(0)
            breaths += 1

    assert breaths >= 10


async def test_it_is_woken_without_facts_by_whoever_needs_a_refresh() -> None:
    mesh = SlowMesh()

    async with working(mesh) as loop:
        loop.wake()
        await until(lambda: loop.refreshes)

    assert mesh.done == ["published"]


async def test_it_is_synced_when_each_source_has_handed_in_something_be_it_nothing() -> None:
    async with working(SlowMesh(), "files", "more files") as loop:
        loop.submit("files", (change("a"),))
        loop.submit("files", (change("b"),))
        await until(lambda: loop.refreshes)
        before = loop.synced.is_set()
        loop.submit("more files", ())
        await until(loop.synced.is_set)

    assert not before


async def test_it_is_not_synced_before_the_keys_of_issuers_are_settled_and_has_them_fetched_meanwhile() -> None:
    mesh, issuers = SlowMesh(), Issuers()
    mesh.wanted = {URI: 7000}

    async with working(mesh, "files", issuers=issuers) as loop:
        loop.submit("files", ())
        await until(lambda: issuers.wanted)
        before = loop.synced.is_set()
        issuers.settled = True
        loop.submit("issuers", ())
        await until(loop.synced.is_set)

    assert not before
    assert issuers.wanted[0] == {URI: 7000}


async def test_an_exception_ends_its_batch_and_the_source_counts_as_read_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    mesh = SlowMesh()

    async with working(mesh, "files") as loop:
        loop.submit("files", (change("bad"), change("a")))
        await until(loop.synced.is_set)
        loop.submit("files", (change("b"),))
        await until(lambda: loop.refreshes)

    assert mesh.done == ["b", "published"]
    assert "refresh failed" in caplog.text
