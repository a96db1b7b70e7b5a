"""The report of a drill against what its client has seen of every request, on real Envoys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controlplane.drill_runs.client import NotAnswered
from controlplane.drills.judging.report import DrillVerdict, EdgeReport, Report
from controlplane.untyped import Json, section
from tests.support.drilled_demo import DrilledDemo, Record, drilled_demo, steadily
from tests.support.envoys import REVIEWS
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRODUCTPAGE = {"selector": {"matchLabels": {"app": "productpage"}}}
STEADY = {"service": "reviews", "successRate": 99.0, "caller": PRODUCTPAGE}


def drill(name: str, fault: Json, **spec: object) -> Json:
    whole = {
        "steadyState": [STEADY],
        "inject": [{"service": "reviews", **fault}],
        "before": "2s",
        "after": "2s",
        "interval": "250ms",
        **spec,
    }
    return {"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": {"name": name, "namespace": "default"}, "spec": whole}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drilled() -> AsyncIterator[DrilledDemo]:
    async with drilled_demo() as started:
        yield started


def edge(report: Report) -> EdgeReport:
    [found] = report.edges
    return found


async def test_the_report_has_each_request_as_its_client_saw_it(drilled: DrilledDemo) -> None:
    record = Record()
    before = await drilled.ejections()

    report = await drilled.run(drill("all-fail", {"abort": {"httpStatus": 503}, "duration": "2s"}), record)

    failures = record.failures
    whole = edge(report).whole
    assert report.verdict is DrillVerdict.DEVIATED
    assert failures
    assert (whole.requests, whole.failures) == (len(record.answers), len(failures))
    assert whole.ejections == await drilled.ejections() - before > 0
    [fault] = report.faults
    assert fault.gone_at is not None
    assert report.recovered_after is not None
    recovered_after = max(0.0, max(failures) - report.started_at - fault.gone_at)
    assert abs(report.recovered_after - recovered_after) <= report.recovery_precision
    assert any("ejections by outlier detection" in words for words in report.conclusions)


async def test_a_guard_ends_a_drill_within_two_seconds(drilled: DrilledDemo) -> None:
    record = Record()
    guard = {**STEADY, "successRate": 90.0, "window": "1s"}

    report = await drilled.run(drill("guarded", {"abort": {"httpStatus": 503}, "duration": "60s"}, abortIf=[guard]), record)

    [fault] = report.faults
    assert report.verdict is DrillVerdict.ABORTED
    assert "guard" in report.reason
    assert fault.in_force_at is not None
    assert fault.gone_at is not None
    assert fault.gone_at - fault.in_force_at <= 2.0
    assert max(record.failures) - report.started_at - fault.gone_at <= 3.0


async def test_what_reaches_too_far_is_not_run(drilled: DrilledDemo) -> None:
    too_far = drill("too-far", {"abort": {"httpStatus": 503}, "duration": "2s"}, blastRadius={"pods": 1})

    with pytest.raises(NotAnswered, match="blast radius") as refused:
        await drilled.run(too_far, Record())

    assert refused.value.refused


async def test_a_fault_goes_with_who_has_started_the_drill(drilled: DrilledDemo) -> None:
    long = drill("left-alone", {"abort": {"httpStatus": 503}, "duration": "60s"}, before="250ms")
    async with drilled.caller() as caller:
        await caller.get(REVIEWS)
        load = asyncio.create_task(steadily(caller, Record(), stop := asyncio.Event()))
        lines = drilled.client.lines("/v1/runs", {"document": long})
        async for line in lines:
            if "in force" in section(section(line, "progress"), "faults").values():
                break
        await lines.aclose()  # type: ignore[attr-defined]
        stop.set()
        await load

        async def answers_again() -> bool:
            return (await caller.get(REVIEWS)).status_code == 200

        await until(answers_again, "the fault is gone")
        answers = [(await caller.get(REVIEWS)).status_code for _ in range(20)]

    assert answers == [200] * 20
