"""Faults of drills on real Envoys: what each side's retries, timeouts and ejections make of them, and that they end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from controlplane.model.faults.faults import FaultSide, HitRequests
from controlplane.model.faults.kinds import (
    AnswerHttp,
    CloseConnections,
    DelayRequests,
    DistrustCallers,
    FaultKind,
    LimitRequests,
    LoseZone,
    PartCallers,
    RemoveInstances,
    SaturateInstances,
    SwallowRequests,
)
from tests.support.drill_world import FLEET, DrillWorld, drill_world, fault
from tests.support.proofs import TIMES
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRIES = ("upstream_rq_total", "upstream_rq_retry", "outlier_detection.ejections_enforced_total")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DrillWorld]:
    async with drill_world(tmp_path_factory.mktemp("drills")) as started:
        yield started


async def test_an_abort_at_the_caller_moves_neither_retries_nor_ejections(world: DrillWorld) -> None:
    abort = fault(AnswerHttp(503), FaultSide.CALLER)
    prepared = await world.prepare(abort)
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
    await world.prepare(abort)
    before = await world.counters()

    await world.plane.begin(abort.id)
    answers = await world.ask(20)
    await world.plane.end(abort.id)

    assert [each.status for each in answers] == [503] * 20
    assert await world.moved(before, *_TRIES) == (60, 40, 1)
    assert {each.status for each in await world.ask(20)} == {200}
    await world.plane.remove(abort.id)


async def test_the_faults_of_a_virtual_service_are_made_by_the_callee_where_its_annotation_says_so(world: DrillWorld) -> None:
    abort = "\n    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}"
    world.save(more=abort)
    await world.until_answered(503)
    before = await world.counters()
    await world.ask(20)
    at_caller = await world.moved(before, *_TRIES[:2])

    world.save(more=abort, annotations="{navarch.dev/fault-side: callee}")
    await world.until_moved("upstream_rq_retry")
    before = await world.counters()
    answers = await world.ask(20)
    at_callee = await world.moved(before, *_TRIES[:2])
    world.save()
    await world.until_answered(200)

    assert at_caller == (0, 0)
    assert at_callee == (60, 40)
    assert [each.status for each in answers] == [503] * 20


async def test_a_delay_at_the_caller_is_longer_than_the_timeout_of_the_route_and_at_the_callee_it_is_not(world: DrillWorld) -> None:
    caller, callee = fault(DelayRequests(2000), FaultSide.CALLER), fault(DelayRequests(2000), FaultSide.CALLEE)
    await world.prepare(caller, callee)

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


@pytest.mark.parametrize(
    "kind", (LoseZone("eu/z2"), RemoveInstances(names=("fleet-2", "fleet-3")))[:TIMES], ids=lambda kind: type(kind).__name__
)
async def test_endpoints_that_are_taken_out_get_no_requests_until_they_are_back(world: DrillWorld, kind: FaultKind) -> None:
    loss = fault(kind, FaultSide.CALLER, FLEET)
    await world.prepare(loss)
    prepared = await world.served_by(30)

    await world.plane.begin(loss.id)
    during = await world.served_by(30)
    await world.plane.end(loss.id)
    after = await world.served_by(30)
    await world.plane.remove(loss.id)

    assert set(prepared) == set(after) == {"fleet-1", "fleet-2", "fleet-3"}
    assert during == {"fleet-1": 30}


async def test_requests_without_any_endpoint_left_are_answered_503(world: DrillWorld) -> None:
    loss = fault(LoseZone("eu"), FaultSide.CALLER, FLEET)
    await world.prepare(loss)

    await world.plane.begin(loss.id)
    during = await world.ask(5, FLEET)
    await world.plane.end(loss.id)
    after = await world.ask(5, FLEET)
    await world.plane.remove(loss.id)

    assert ([each.status for each in during], [each.status for each in after]) == ([503] * 5, [200] * 5)


@pytest.mark.parametrize("kind", (CloseConnections(), PartCallers(), DistrustCallers())[:TIMES], ids=lambda kind: type(kind).__name__)
async def test_connections_are_closed_at_the_callee_and_work_again_afterwards(world: DrillWorld, kind: FaultKind) -> None:
    closed = fault(kind, FaultSide.CALLEE)
    await world.prepare(closed)

    await world.plane.begin(closed.id)
    answers, talked = await world.until_closed(), await world.talk(b"hello")
    await world.plane.end(closed.id)
    after = await world.ask(20), await world.talk(b"hello")
    await world.plane.remove(closed.id)

    assert (answers, talked) == ([503] * 5, b"")
    assert ({each.status for each in after[0]}, after[1]) == ({200}, b"hello")


async def test_what_is_swallowed_is_never_answered_and_the_route_gives_up(world: DrillWorld) -> None:
    swallowed = fault(SwallowRequests(), FaultSide.CALLEE)
    await world.prepare(swallowed)

    await world.plane.begin(swallowed.id)
    (given_up,) = await world.ask()
    silent = asyncio.create_task(world.talk(b"hello"))
    await asyncio.wait([silent], timeout=0.5)
    answered = silent.done()
    silent.cancel()
    await world.plane.end(swallowed.id)
    after = await world.ask(20), await world.talk(b"hello")
    await world.plane.remove(swallowed.id)

    assert (given_up.status, answered) == (504, False)
    assert ({each.status for each in after[0]}, after[1]) == ({200}, b"hello")


async def test_more_requests_than_a_limit_lets_through_are_answered_429(world: DrillWorld) -> None:
    limited = fault(LimitRequests(5, per_ms=60_000), FaultSide.CALLEE)
    await world.prepare(limited)

    await world.plane.begin(limited.id)
    answers = await world.ask(8)
    await world.plane.end(limited.id)
    after = await world.ask(8)
    await world.plane.remove(limited.id)

    assert [each.status for each in answers] == [200] * 5 + [429] * 3
    assert {each.status for each in after} == {200}


async def test_a_saturated_callee_works_on_so_many_at_a_time_and_refuses_the_rest(world: DrillWorld) -> None:
    busy = fault(SaturateInstances(1, 500), FaultSide.CALLEE)
    busy = replace(busy, match=HitRequests(path_prefixes=("/slow",)))
    await world.prepare(busy)
    before = await world.counters()

    await world.plane.begin(busy.id)
    answers = await world.ask_at_once(8, "/slow/request")
    (other,) = await world.ask(1, path="/other")
    await world.plane.end(busy.id)
    after = await world.ask(8, path="/slow/request")
    await world.plane.remove(busy.id)

    assert {each.status for each in answers} == {200, 503}
    assert min(each.after_s for each in answers if each.status == 200) >= 0.5
    assert await world.moved(before, "upstream_rq_retry") > (0,)
    assert other.status == 200
    assert {each.status for each in after} == {200}


async def test_a_fault_ends_within_its_lease_when_every_control_plane_is_killed(world: DrillWorld) -> None:
    abort = fault(AnswerHttp(503), FaultSide.CALLEE)
    await world.prepare(abort, lease_ms=2000)
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
    await world.envoys["cart"].stop(kill=True)
    await world.start_envoy("cart")
    await world.until_serving()

    assert {each.status for each in await world.ask(50)} == {200}
    assert [name for name in world.envoys if "drill/" in await world.configuration(name)] == []
