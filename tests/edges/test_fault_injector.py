"""The injector of faults: what it waits for, what it renews, and what it takes out when nobody asks for it any more."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from controlplane.app.faults.injector import MOST_FAULTS, FaultInjector
from controlplane.app.update_loop import UpdateLoop
from controlplane.envoy.type_urls import ECDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.faults.faults import FaultId, FaultStage
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.sources.files.once import read_manifests
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Progress, Variant
from controlplane.xds.view import TableChange, View
from tests.support.fault_mesh import ID, MANIFESTS, fault
from tests.support.waiting import until

HOLD_S = 60.0


@dataclass(eq=False)
class Stream:
    """A stream of a callee, which accepts what it is told when the test says so."""

    session: Session
    connection: int = 1
    accepts: bool = True
    renewals: int = 0
    accepted: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def open_names(self) -> int:
        return 0

    def progress(self, resource: Resource) -> Progress:
        told = (resource.type_url, resource.name, resource.version)
        if self.accepts:
            self.accepted.add(told)
        return Progress.ACCEPTED if told in self.accepted else Progress.PENDING

    def refuses(self, type_url: str, name: str) -> bool:
        del type_url, name
        return False

    def renew(self) -> None:
        self.renewals += 1

    def changed(self, change: TableChange) -> None:
        del change

    def see(self, view: View) -> None:
        del view


class Plane:
    """A mesh that is kept up to date, an injector, and one callee."""

    def __init__(self) -> None:
        self.now = 0.0
        self.mesh = Mesh()
        self.updates = UpdateLoop(self.mesh, ())
        self.subscribers = Subscribers(self.mesh, self.updates.wake)
        self.faults = FaultInjector(self.updates.submit, self.subscribers, lambda: self.updates.refreshes, lambda: self.now)
        proxy = proxy_from_node("sidecar~10.1.1.1~cart-1.shop~shop.svc.cluster.local", {"LABELS": {"app": "cart"}})
        self.stream = Stream(self.subscribers.connect(proxy, Variant.DELTA))

    def filters(self) -> dict[str, int]:
        """Return the TTLs of the filters of drills, by name."""
        return {each.name: each.ttl_ms for each in self.stream.session.view.resources(ECDS)}


@asynccontextmanager
async def running() -> AsyncIterator[Plane]:
    plane = Plane()
    _, changes = read_manifests(["-"], io.BytesIO(MANIFESTS.encode()))
    for_mesh, _ = split(changes)
    plane.updates.submit("files", for_mesh)
    plane.subscribers.join(plane.stream)
    tasks = [
        asyncio.create_task(plane.updates.run(plane.faults.published(plane.subscribers.publish))),
        asyncio.create_task(plane.faults.run()),
    ]
    try:
        await until(lambda: plane.stream.session.view.tables)
        yield plane
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_stage_is_reached_when_every_proxy_concerned_has_accepted_it() -> None:
    async with running() as plane:
        plane.faults.prepare([fault()], hold_s=HOLD_S)
        prepared = await plane.faults.reached(ID)
        plane.stream.accepts = False
        plane.faults.begin(ID)
        begun = asyncio.create_task(plane.faults.reached(ID))
        await until(lambda: set(plane.filters().values()) == {10_000})
        plane.faults.changed()
        waits = plane.faults.progress(ID)

        plane.now = 5.0
        plane.stream.accepts = True
        plane.faults.changed()
        reached = await begun

    assert prepared.progress.accepted == waits.pending == ("sidecar~10.1.1.1~cart-1.shop~shop.svc.cluster.local",)
    assert not waits.is_reached
    assert reached.at == 5.0


async def test_a_removal_is_reached_when_what_had_it_has_been_replaced() -> None:
    async with running() as plane:
        plane.faults.prepare([fault()], hold_s=HOLD_S)
        plane.faults.begin(ID)
        await plane.faults.reached(ID)
        plane.stream.accepts = False
        plane.faults.remove(ID)
        gone = asyncio.create_task(plane.faults.reached(ID))
        await until(lambda: not plane.filters())
        plane.faults.changed()
        waits = plane.faults.progress(ID)

        plane.stream.accepts = True
        plane.faults.changed()
        await gone

    assert waits.pending
    assert plane.faults.staged == ()


async def test_a_fault_in_force_is_renewed_and_one_that_is_only_prepared_is_not() -> None:
    async with running() as plane:
        plane.faults.prepare([fault()], hold_s=HOLD_S, lease_ms=40)
        await plane.faults.reached(ID)
        before = plane.stream.renewals
        plane.faults.begin(ID)
        await until(lambda: plane.stream.renewals > 3)

    assert before == 0


async def test_a_fault_that_its_runner_no_longer_renews_is_taken_out() -> None:
    async with running() as plane:
        plane.faults.prepare([fault()], hold_s=HOLD_S, lease_ms=40)
        plane.faults.begin(ID)
        await plane.faults.reached(ID)

        plane.now = HOLD_S - 1
        plane.faults.renew(ID)
        plane.now = HOLD_S + 1
        before = plane.stream.renewals
        await until(lambda: plane.stream.renewals > before + 2)
        renewed = plane.faults.staged
        plane.now = 2 * HOLD_S
        await until(lambda: not plane.filters())

    assert [each.stage for each in renewed] == [FaultStage.IN_FORCE]
    assert plane.faults.staged == ()


async def test_what_cannot_be_done_is_refused_before_anything_is_put_in() -> None:
    async with running() as plane:
        many = [replace(fault(), id=FaultId("shop", "drill", str(number))) for number in range(MOST_FAULTS + 1)]

        with pytest.raises(ValueError, match="at most 64 faults"):
            plane.faults.prepare(many, hold_s=HOLD_S)
        with pytest.raises(ValueError, match="callers are not told apart by their zone"):
            plane.faults.prepare([replace(fault(), caller=replace(fault().caller, zone="eu"))], hold_s=HOLD_S)

    assert plane.faults.staged == ()
