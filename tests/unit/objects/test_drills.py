"""Drills: what they must keep to, and which of them are warned of."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.drills.drill import Drill
from controlplane.objects.drills.rules import CANNOT_MOVE
from controlplane.objects.parse import ParsedObject, parse

STEADY = {"service": "reviews", "successRate": 99.0}
ABORT = {"service": "reviews", "duration": "5s", "abort": {"httpStatus": 503}}


def drill(fault: Mapping[str, object] | None = None, **spec: object) -> ParsedObject:
    whole = {"steadyState": [STEADY], "inject": [{**ABORT, **(fault or {})}], **spec}
    return parse({"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": {"name": "one", "namespace": "shop"}, "spec": whole})


def test_a_drill_is_read_with_its_defaults() -> None:
    parsed = drill()

    assert parsed.problems == ()
    assert isinstance(parsed.object, Drill)
    [fault] = parsed.object.spec.inject
    assert (fault.side, fault.percentage, fault.duration, fault.sorts) == ("Callee", 100.0, 5000, ("abort",))


@pytest.mark.parametrize(
    ("parsed", "field"),
    [
        (drill(steadyState=[]), "spec.steadyState"),
        (drill(inject=[]), "spec.inject"),
        (drill(interval="50ms"), "spec.interval"),
        (drill({"duration": "2h"}), "spec"),
        (drill(steadyState=[{"service": "reviews"}]), "spec.steadyState[0]"),
        (drill(steadyState=[{**STEADY, "window": "100ms"}]), "spec.steadyState[0].window"),
        (drill(steadyState=[{**STEADY, "service": "-"}]), "spec.steadyState[0].service"),
        (drill({"delay": {"fixed": "1s"}}), "spec.inject[0]"),
        (drill({"abort": {}}), "spec.inject[0].abort"),
        (drill({"abort": {"grpcStatus": "MAYBE"}}), "spec.inject[0].abort.grpcStatus"),
        (drill({"abort": {"httpStatus": 99}}), "spec.inject[0].abort.httpStatus"),
        (drill({"match": {}}), "spec.inject[0].match"),
        (drill({"match": {"pathPrefix": "a"}}), "spec.inject[0].match.pathPrefix"),
        (drill({"match": {"headers": {"a b": "c"}}}), "spec.inject[0].match.headers"),
        (drill({"percentage": 50.0}, blastRadius={"percentage": 10.0}), "spec.inject[0].percentage"),
        (drill({"caller": {"namespace": "other"}}), "spec.inject[0].caller.namespace"),
        (drill({"abort": None, "blackhole": {}, "percentige": 5}), "spec.inject[0].percentige"),
        (drill({"abort": None, "zoneLoss": {"zone": "a"}, "percentage": 50.0}), "spec.inject[0].percentage"),
        (drill({"abort": None, "saturation": {"concurrent": 4, "delay": "1s"}, "side": "Caller"}), "spec.inject[0].side"),
        (drill({"abort": None, "instanceRemoval": {"instances": 3}}, blastRadius={"pods": 2}), "spec.inject[0].instanceRemoval.instances"),
    ],
)
def test_what_a_drill_gets_wrong_is_told_with_its_field(parsed: ParsedObject, field: str) -> None:
    errors = [problem for problem in parsed.problems if problem.severity is Severity.ERROR]

    assert parsed.object is None
    assert [problem.field for problem in errors] == [field]


def test_a_fault_on_the_side_that_cannot_move_anything_is_warned_of() -> None:
    parsed = drill({"side": "Caller"})

    assert parsed.object is not None
    [problem] = parsed.problems
    assert (problem.field, problem.code, problem.severity) == ("spec.inject[0].side", CANNOT_MOVE, Severity.WARNING)
    assert "side Callee" in problem.message
