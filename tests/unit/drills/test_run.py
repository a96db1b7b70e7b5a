"""The state machine of a run, scenario by scenario."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.drills.planning.run import FaultStep, RunPhase, RunPlan, RunSeen, RunState, begin, step

ONE = RunPlan(before_s=4, faults_s=(5,), recovery_s=10, after_s=2)


class Run:
    """A run that is told what is seen, second by second, and whose faults are accepted as soon as they are asked for."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.state = begin(plan)
        self.phases: list[RunPhase] = []
        self.now = 0.0
        self.accepts = True

    def at(self, now: float, **seen: str) -> RunState:
        reached: Mapping[int, float] = dict.fromkeys(range(len(self.plan.faults_s)), self.now) if self.accepts else {}
        self.now = now
        self.state = step(self.plan, self.state, RunSeen(now=now, in_force=reached, gone=reached, **seen))
        return self.state


def test_a_run_goes_from_the_steady_state_to_the_fault_and_back() -> None:
    run = Run(ONE)

    steps = [(run.at(now).phase, run.state.faults[0].step) for now in (1, 4, 5, 8, 9, 10, 11, 12, 13, 14)]

    assert [phase for phase, _ in steps] == [
        RunPhase.BEFORE,
        *[RunPhase.FAULTS] * 4,
        RunPhase.RECOVERY,
        RunPhase.AFTER,
        RunPhase.AFTER,
        RunPhase.ENDED,
        RunPhase.ENDED,
    ]
    assert [step for _, step in steps[1:6]] == [FaultStep.ASKED, FaultStep.IN_FORCE, FaultStep.IN_FORCE, FaultStep.LIFTED, FaultStep.GONE]
    assert run.state.spans == ((4.0, 9.0),)
    assert run.state.wanted == (False,)
    assert (run.state.aborted, run.state.not_run, run.state.late) == ("", "", "")


def test_what_is_not_steady_before_is_not_run() -> None:
    run = Run(ONE)

    run.at(4, unsteady="success")

    assert run.state.phase is RunPhase.ENDED
    assert "success" in run.state.not_run
    assert run.state.faults[0].step is FaultStep.WAITING


@pytest.mark.parametrize(("seen", "words"), [({"guard": "success"}, "guard: success"), ({"abort": "somebody"}, "somebody")])
def test_a_guard_or_somebody_ends_the_faults_at_once(seen: dict[str, str], words: str) -> None:
    run = Run(ONE)
    for now in (4, 5):
        run.at(now)

    lifted = run.at(6, **seen)

    assert lifted.wanted == (False,)
    assert run.at(7).phase is RunPhase.RECOVERY
    assert run.state.aborted == words
    assert run.state.faults[0].lifted_at == 6


def test_faults_come_one_after_the_other_in_a_sequence() -> None:
    run = Run(RunPlan(before_s=1, faults_s=(2, 2), recovery_s=10, after_s=0, sequence=True))

    wanted = [run.at(now).wanted for now in range(1, 9)]

    assert wanted == [(True, False)] * 2 + [(False, False), (False, True), (False, True), (False, False), (False, False), (False, False)]
    assert len(run.state.spans) == 2


def test_an_abort_in_a_sequence_leaves_later_faults_where_they_are() -> None:
    run = Run(RunPlan(before_s=1, faults_s=(5, 5), recovery_s=10, after_s=0, sequence=True))
    for now in (1, 2):
        run.at(now)
    for now in (3, 4, 5, 6):
        run.at(now, abort="enough")

    assert [fault.step for fault in run.state.faults] == [FaultStep.GONE, FaultStep.WAITING]
    assert run.state.phase is RunPhase.ENDED


def test_a_fault_that_does_not_come_into_force_is_given_up() -> None:
    run = Run(ONE)
    run.accepts = False
    run.at(4)

    run.at(40)

    assert "in force" in run.state.aborted
    assert run.state.wanted == (False,)
    assert run.at(100).phase is RunPhase.RECOVERY


def test_what_is_not_steady_again_in_time_is_late() -> None:
    run = Run(ONE)
    for now in (4, 5, 9, 10):
        run.at(now)

    for now in (12, 16, 21):
        run.at(now, unsteady="slow")

    assert run.state.phase is RunPhase.ENDED
    assert "slow" in run.state.late


def test_a_run_that_is_ended_before_it_broke_anything_is_aborted() -> None:
    run = Run(ONE)

    run.at(2, abort="somebody")

    assert (run.state.phase, run.state.aborted, run.state.spans) == (RunPhase.ENDED, "somebody", ())
