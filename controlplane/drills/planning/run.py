"""How far the run of a drill is: a state machine that is told what was seen, and says which faults are wanted.

It goes forward only, and ends whatever happens: each phase has a limit, and from every one there is a way to the end on which all faults
are taken back. What runs it asks ``wanted`` after each step and sees to it that this, and nothing else, is in the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

_BECOMES_S = 30.0  # for a fault to be in force, or gone, at every proxy


class RunPhase(StrEnum):
    """What a run does."""

    BEFORE = "before"  # it measures the steady state
    FAULTS = "faults"
    RECOVERY = "recovery"  # the faults are gone, and it is not steady yet
    AFTER = "after"  # it is steady again
    ENDED = "ended"


class FaultStep(StrEnum):
    """How far a fault is."""

    WAITING = "waiting"
    ASKED = "asked"  # for, and not in force at every proxy yet
    IN_FORCE = "in force"
    LIFTED = "lifted"  # asked to end, and not gone from every proxy yet
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """For how many seconds each phase is, and each fault; whether these come one after the other."""

    before_s: float
    faults_s: tuple[float, ...]
    recovery_s: float
    after_s: float
    sequence: bool = False


@dataclass(frozen=True, slots=True)
class InjectionProgress:
    """How far a fault is, and when it came there; times are seconds since the run began."""

    step: FaultStep = FaultStep.WAITING
    since: float = 0.0
    in_force_at: float | None = None  # when the last proxy had accepted it
    lifted_at: float | None = None  # when it was asked to end
    gone_at: float | None = None  # when the last proxy had accepted that


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run is; ``aborted`` and ``not_run`` say why it does less than its plan."""

    phase: RunPhase
    since: float
    faults: tuple[InjectionProgress, ...]
    aborted: str = ""
    not_run: str = ""
    late: str = ""  # it was not steady again in time

    @property
    def wanted(self) -> tuple[bool, ...]:
        """Return which faults are to be in force."""
        return tuple(fault.step in (FaultStep.ASKED, FaultStep.IN_FORCE) for fault in self.faults)

    @property
    def gone_at(self) -> float | None:
        """Return when the last fault was gone; ``None``: one is not, or none ever was there."""
        times = [fault.gone_at for fault in self.faults if fault.step is not FaultStep.WAITING]
        return max((time for time in times if time is not None), default=None) if None not in times else None

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Return from when to when some fault was in force; faults that overlap make one span."""
        spans: list[tuple[float, float]] = []
        for fault in sorted((fault for fault in self.faults if fault.in_force_at is not None), key=lambda fault: fault.in_force_at or 0.0):
            start, end = fault.in_force_at or 0.0, fault.lifted_at if fault.lifted_at is not None else float("inf")
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], end))
            else:
                spans.append((start, end))
        return tuple(spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """What was seen at the time ``now``: by position, which faults all proxies have accepted, and which are gone from all."""

    now: float
    in_force: Mapping[int, float] = field(default_factory=dict)
    gone: Mapping[int, float] = field(default_factory=dict)
    unsteady: str = ""  # which objective of the steady state does not hold
    guard: str = ""  # which guard does not hold
    abort: str = ""  # who wants it to end, and why
    unread: str = ""  # why nothing can be measured


def begin(plan: RunPlan) -> RunState:
    """Return where the run of ``plan`` begins."""
    return RunState(RunPhase.BEFORE, 0.0, tuple(InjectionProgress() for _ in plan.faults_s))


def step(plan: RunPlan, state: RunState, seen: RunSeen) -> RunState:
    """Return where the run of ``plan`` is that was at ``state``, after what is ``seen``."""
    match state.phase:
        case RunPhase.BEFORE:
            return _before(plan, state, seen)
        case RunPhase.FAULTS:
            return _faults(plan, state, seen)
        case RunPhase.RECOVERY:
            return _recovery(plan, state, seen)
        case RunPhase.AFTER:
            over = seen.abort or seen.now - state.since >= plan.after_s
            return replace(state, phase=RunPhase.ENDED, since=seen.now) if over else state
        case RunPhase.ENDED:
            return state


def _before(plan: RunPlan, state: RunState, seen: RunSeen) -> RunState:
    if seen.abort:
        return replace(state, phase=RunPhase.ENDED, since=seen.now, aborted=seen.abort)
    if seen.now < plan.before_s:
        return state
    if why := seen.unread or seen.unsteady or seen.guard:
        return replace(state, phase=RunPhase.ENDED, since=seen.now, not_run=f"it was not steady before anything was broken: {why}")
    return _faults(plan, replace(state, phase=RunPhase.FAULTS, since=seen.now), seen)


def _faults(plan: RunPlan, state: RunState, seen: RunSeen) -> RunState:
    aborted = state.aborted or seen.abort or (f"guard: {seen.guard}" if seen.guard else "")
    faults = [_fault(plan, position, fault, seen, aborted=bool(aborted)) for position, fault in enumerate(state.faults)]
    for position, fault in enumerate(faults):
        its_turn = not plan.sequence or all(before.step is FaultStep.GONE for before in faults[:position])
        if fault.step is FaultStep.WAITING and its_turn and not aborted:
            faults[position] = replace(fault, step=FaultStep.ASKED, since=seen.now)
        if fault.step is FaultStep.ASKED and seen.now - fault.since > _BECOMES_S:
            aborted = aborted or f"a fault was not in force at every proxy after {_BECOMES_S:.0f} s"
            faults[position] = replace(fault, step=FaultStep.LIFTED, since=seen.now, lifted_at=seen.now)
    state = replace(state, faults=tuple(faults), aborted=aborted)
    left = [fault.step for fault in faults if fault.step is not FaultStep.GONE and (not aborted or fault.step is not FaultStep.WAITING)]
    return state if left else replace(state, phase=RunPhase.RECOVERY, since=seen.now)


def _fault(plan: RunPlan, position: int, fault: InjectionProgress, seen: RunSeen, *, aborted: bool) -> InjectionProgress:
    if fault.step is FaultStep.ASKED and (accepted := seen.in_force.get(position)) is not None:
        fault = replace(fault, step=FaultStep.IN_FORCE, since=seen.now, in_force_at=accepted)
    over = fault.in_force_at is not None and seen.now >= fault.in_force_at + plan.faults_s[position]
    if (aborted or over) and fault.step in (FaultStep.ASKED, FaultStep.IN_FORCE):
        return replace(fault, step=FaultStep.LIFTED, since=seen.now, lifted_at=seen.now)
    if fault.step is FaultStep.LIFTED:
        gone = seen.gone.get(position)
        if gone is None and seen.now - fault.since > _BECOMES_S:
            gone = seen.now  # who has not said that it is gone by then has lost it by its lease
        if gone is not None:
            return replace(fault, step=FaultStep.GONE, since=seen.now, gone_at=max(gone, fault.lifted_at or 0.0))
    return fault


def _recovery(plan: RunPlan, state: RunState, seen: RunSeen) -> RunState:
    gone_at = state.gone_at
    if gone_at is None:  # aborted before any fault was there
        return replace(state, phase=RunPhase.ENDED, since=seen.now)
    if seen.now > gone_at and not seen.unsteady and not seen.unread:
        return replace(state, phase=RunPhase.AFTER, since=seen.now)
    if seen.now - gone_at > plan.recovery_s:
        why = f"not steady {plan.recovery_s:g} s after the faults were gone: {seen.unsteady or seen.unread}"
        return replace(state, phase=RunPhase.ENDED, since=seen.now, late=why)
    return state
