"""Faults of drills on real Envoys: what each side's retries, timeouts and ejections make of them, and that they end by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controlplane.model.faults.faults import FaultSide
from controlplane.model.faults.kinds import AnswerHttp, DelayRequests
from tests.support.drill_world import DrillWorld, drill_world, fault
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRIES = ("upstream_rq_total", "upstream_rq_retry", "outlier_detection.ejections_enforced_total")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DrillWorld]:
    async with drill_world(tmp_path_factory.mktemp("drills")) as started:
        yield started


async def test_an_abort_at_the_caller_moves_neither_retries_nor_ejections(world: DrillWorld) -> None:
    abort = fault(AnswerHttp(503), FaultSide.CALLER)
    prepared = await world.plane.prepare(abort)
    assert prepared.accepted == (f"sidecar~{world.ip('web')}~web.shop~shop.svc.cluster.local",)
    before = await world.counters()

    await world.plane.begin(abort.id)
    answers = await world.ask(20)
    await world.plane.end(abort.id)

    assert [each.status for each in answers] == [503] * 20
    assert await world.moved(before, *_TRIES) == (0, 0, 0)
    assert {each.status for each in await world.ask(20)} == {200}
    await world.plane.remove(abort.id)


async def test_an_abort_at_the_callee_is_tried_again_and_has_the_instance_ejected(world: DrillWorld) -> None:
    abort = fault(AnswerHttp(503), FaultSide.CALLEE)
    await world.plane.prepare(abort)
    await world.ask(5)
    before = await world.counters()

    await world.plane.begin(abort.id)
    answers = await world.ask(20)
    await world.plane.end(abort.id)

    assert [each.status for each in answers] == [503] * 20
    assert await world.moved(before, *_TRIES) == (60, 40, 1)
    assert {each.status for each in await world.ask(20)} == {200}
    await world.plane.remove(abort.id)


async def test_a_delay_at_the_caller_is_longer_than_the_timeout_of_the_route_and_at_the_callee_it_is_not(world: DrillWorld) -> None:
    caller, callee = fault(DelayRequests(2000), FaultSide.CALLER), fault(DelayRequests(2000), FaultSide.CALLEE)
    await world.plane.prepare(caller, callee)
    await world.ask(5)

    await world.plane.begin(caller.id)
    (late,) = await world.ask()
    await world.plane.end(caller.id)
    await world.plane.begin(callee.id)
    (timed_out,) = await world.ask()
    await world.plane.end(callee.id)
    await world.plane.remove(caller.id, callee.id)

    assert late.status == 200
    assert late.after_s >= 2
    assert timed_out.status == 504
    assert 1 <= timed_out.after_s < late.after_s


async def test_a_fault_ends_within_its_lease_when_every_control_plane_is_killed(world: DrillWorld) -> None:
    abort = fault(AnswerHttp(503), FaultSide.CALLEE)
    await world.plane.prepare(abort, lease_ms=2000)
    await world.ask(5)
    await world.plane.begin(abort.id)
    for _ in range(15):  # twice as long as the lease: it is renewed
        assert [each.status for each in await world.ask()] == [503]

    assert world.plane.process
    await world.plane.process.stop(kill=True)

    async def ended() -> bool:
        return [each.status for each in await world.ask()] == [200]

    await until(ended, "the fault is gone", deadline_s=30)
    assert {each.status for each in await world.ask(50)} == {200}
    await world.start_plane()
    await world.until_serving()
    assert {each.status for each in await world.ask(50)} == {200}
