"""Experiments of Chaos Toolkit and Litmus, as drills; and the journal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.drills.experiments.chaos_toolkit import NotConverted, converted_experiment, is_experiment
from controlplane.drills.experiments.litmus import converted_chaos_engine, is_chaos_engine
from controlplane.objects.drills.drill import Drill
from controlplane.objects.parse import parse

ACTION = {
    "type": "action",
    "name": "reviews fail",
    "provider": {
        "type": "python",
        "module": "navarch.drills.actions",
        "func": "abort",
        "arguments": {"service": "reviews", "duration": "5s", "httpStatus": 503, "percentage": 50.0},
    },
}
PROBE = {
    "type": "probe",
    "name": "most succeed",
    "tolerance": {"type": "range", "range": [99, 100]},
    "provider": {"type": "python", "module": "navarch.drills.probes", "func": "success_rate", "arguments": {"service": "reviews"}},
}
HTTP = {"type": "probe", "name": "the page is there", "tolerance": 200, "provider": {"type": "http", "url": "http://shop/"}}
LITMUS = {
    "apiVersion": "litmuschaos.io/v1alpha1",
    "kind": "ChaosEngine",
    "metadata": {"name": "nginx-chaos"},
    "spec": {
        "appinfo": {"appns": "shop", "applabel": "app=nginx", "appkind": "deployment"},
        "experiments": [{"name": "pod-delete", "spec": {"components": {"env": [{"name": "TOTAL_CHAOS_DURATION", "value": "30"}]}}}],
    },
}


def experiment(*method: object, probes: tuple[object, ...] = (PROBE, HTTP), **more: object) -> Mapping[str, object]:
    return {
        "title": "Do reviews hold?",
        "steady-state-hypothesis": {"title": "all well", "probes": list(probes)},
        "method": list(method),
        **more,
    }


def test_an_experiment_is_a_drill() -> None:
    found = converted_experiment(experiment(ACTION, rollbacks=[{"type": "action"}]))
    parsed = parse(found.document)

    assert is_experiment(experiment(ACTION))
    assert isinstance(parsed.object, Drill)
    assert parsed.problems == ()
    assert parsed.object.meta.name == "do-reviews-hold"
    [fault] = parsed.object.spec.inject
    assert (fault.sorts, fault.percentage, fault.duration) == (("abort",), 50.0, 5000)
    assert [objective.success_rate for objective in parsed.object.spec.steady_state] == [99.0]
    assert [(probe.url, probe.statuses) for probe in found.probes] == [("http://shop/", (200,))]
    assert any("rollbacks" in note for note in found.notes)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (experiment(), "no action"),
        (experiment({**ACTION, "provider": {"type": "process", "path": "kubectl"}}), "provider process"),
        (experiment({**ACTION, "provider": {"type": "python", "module": "chaosk8s.pod.actions"}}), "chaosk8s"),
        (experiment({**ACTION, "provider": {**ACTION["provider"], "func": "explode"}}), "explode"),  # type: ignore[dict-item]
        (experiment(ACTION, probes=({**PROBE, "tolerance": "many"},)), "tolerance"),
        (experiment(ACTION, probes=({**HTTP, "tolerance": {"type": "regex"}},)), "status"),
    ],
)
def test_what_no_drill_can_be_is_refused_with_words(wrong: Mapping[str, object], words: str) -> None:
    with pytest.raises(NotConverted, match=words):
        converted_experiment(wrong)


def test_an_experiment_without_objectives_wants_requests_to_succeed() -> None:
    found = converted_experiment(experiment(ACTION, probes=()))

    drill = parse(found.document).object
    assert isinstance(drill, Drill)
    assert [(each.service, each.success_rate) for each in drill.spec.steady_state] == [("reviews", 99.0)]


def test_litmus_pod_delete_takes_an_instance_out() -> None:
    found = converted_chaos_engine(LITMUS)
    drill = parse(found.document).object

    assert is_chaos_engine(LITMUS)
    assert isinstance(drill, Drill)
    [fault] = drill.spec.inject
    assert (drill.meta.namespace, fault.service, fault.sorts, fault.duration) == ("shop", "nginx", ("instance_removal",), 30_000)
    assert any("not deleted" in note for note in found.notes)


@pytest.mark.parametrize(
    "spec",
    [
        {"experiments": [{"name": "pod-cpu-hog"}]},
        {"appinfo": {"applabel": "nginx"}, "experiments": [{"name": "pod-delete"}]},
        {
            "appinfo": {"applabel": "app=nginx"},
            "experiments": [{"name": "pod-delete", "spec": {"components": {"env": [{"name": "PODS_AFFECTED_PERC", "value": "50"}]}}}],
        },
    ],
)
def test_other_engines_of_litmus_are_refused_with_words(spec: Mapping[str, object]) -> None:
    with pytest.raises(NotConverted):
        converted_chaos_engine({**LITMUS, "spec": spec})
