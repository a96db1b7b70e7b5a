"""What becomes of every case is what its ``out.yaml`` says; together the cases use every annotation that there is."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from controlplane.cli.main import app
from controlplane.inject.annotations import INJECTION_ANNOTATIONS, PROMETHEUS_ANNOTATIONS
from controlplane.inject.inject import Injected, inject
from tests.support.inject_cases import FOLDER, Case, annotated, cases, containers
from tests.support.injection import applied


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    made = case.made()

    assert made == case.expected.read_text(), "if this is what is wanted: make golden, and read the difference"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_patch_makes_the_pod_and_a_second_time_there_is_none(case: Case) -> None:
    outcome = case.outcome
    if not isinstance(outcome, Injected):
        return

    assert applied(outcome.patch, case.pod) == outcome.pod
    assert not isinstance(inject(outcome.pod, case.namespace, case.mesh), Injected)


def test_navarch_iptables_takes_the_arguments_of_every_pod() -> None:
    outcomes = [case.outcome for case in cases()]
    started = [
        each for outcome in outcomes if isinstance(outcome, Injected) for each in containers(outcome.pod) if each["name"] == "istio-init"
    ]
    different = {tuple(map(str, each["args"])) for each in started if isinstance(each["args"], list)}

    ran = {told: CliRunner().invoke(app, [*told, "--ipv6", "on", "--dry-run"]) for told in different}

    assert {told: each.output for told, each in ran.items() if each.exit_code} == {}
    assert len(ran) >= 12


def test_every_annotation_has_a_case() -> None:
    used = {name for case in cases() for name in annotated(case)}

    assert {each.name for each in (*INJECTION_ANNOTATIONS, *PROMETHEUS_ANNOTATIONS)} - used == set()


def test_a_case_says_why_it_exists_and_every_expectation_belongs_to_one() -> None:
    assert [case.name for case in cases() if not case.written.startswith("# ")] == []
    assert [path.parent.name for path in FOLDER.glob("*/out.yaml") if not (path.parent / "in.yaml").exists()] == []
