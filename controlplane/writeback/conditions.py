"""From what is known of an object to the conditions it should have. Pure: the time is an argument.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.fleet.rollout import Rollout
from controlplane.model.problems import CONSEQUENCES, HELD_BACK, REFUSED, Problem, Severity

Condition = Mapping[str, object]
_MAX_MESSAGE = 4000  # the API allows 32768
_MAX_REASON = 64
_COMPARED = ("type", "status", "reason", "observedGeneration")
# What of a message changes as proxies come and go, and means the same: how many there are, and which of them says why it refuses.
_VARYING = re.compile(
    r"\d+ of \d+ proxies|all proxies that need it|all but \d+ proxies|\d+/\d+ proxies|all proxies(?= up)|\S+(?: and \d+ more)? (?=refused )"
)


@dataclass(frozen=True, slots=True)
class _WantedCondition:
    type: str
    status: str
    reason: str
    message: str


def updated_conditions(
    current: Sequence[Condition], generation: int, problems: Iterable[Problem], rollout: Rollout | None, now: str
) -> tuple[Condition, ...] | None:
    """Return the conditions that an object of ``generation`` should have at ``now`` (RFC 3339), ``None`` if they are the ``current`` ones.

    ``mean_the_same`` tells which of those that differ are not urgent.

    ``problems`` are all of the object; ``rollout`` sums up the proxies, ``None`` while a replica does not serve this generation.
    Conditions of others stay as they are.
    """
    wanted = {condition.type: condition for condition in _wanted_conditions(tuple(problems), rollout)}
    current_by_type = {str(condition.get("type")): condition for condition in current}
    updated = [_condition(condition, current_by_type.get(condition.type), generation, now) for condition in wanted.values()]
    foreign = [condition for condition in current if str(condition.get("type")) not in wanted]
    if all(_is_current(condition, current_by_type.get(str(condition["type"])), _text) for condition in updated):
        return None
    return (*foreign, *updated)


def mean_the_same(updated: Iterable[Condition], current: Iterable[Condition]) -> bool:
    """Return whether the conditions ``updated`` say nothing that ``current`` do not, but for how many proxies there are, and which."""
    current_by_type = {str(condition.get("type")): condition for condition in current}
    return all(_is_current(condition, current_by_type.get(str(condition["type"])), _meaning) for condition in updated)


def is_pending(conditions: Iterable[Condition]) -> bool:
    """Return whether ``conditions`` say that there are proxies to be waited for."""
    return any(condition.get("type") == "Programmed" and condition.get("reason") == "Pending" for condition in conditions)


def was_programmed(conditions: Iterable[Condition]) -> bool:
    """Return whether ``conditions`` say that all proxies have what they need."""
    return any(condition.get("type") == "Programmed" and condition.get("status") == "True" for condition in conditions)


def _wanted_conditions(problems: Sequence[Problem], rollout: Rollout | None) -> Iterator[_WantedCondition]:
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    warnings = [problem for problem in problems if problem.severity is Severity.WARNING and problem.code != HELD_BACK]
    if errors:
        yield _WantedCondition("Accepted", "False", errors[0].code[:_MAX_REASON], _message(errors))
        consequence = next((problem for problem in problems if problem.code in CONSEQUENCES), None)
        reason, message = (consequence.code, consequence.message) if consequence else ("NotAccepted", "this version is not in effect")
        yield _WantedCondition("Programmed", "False", reason, message)
        yield _WantedCondition("Reconciled", "False", "NotAccepted", "not accepted")
        return
    yield _WantedCondition("Accepted", "True", "Accepted" if not warnings else warnings[0].code[:_MAX_REASON], _message(warnings))
    held = [problem for problem in problems if problem.code == HELD_BACK]
    if held or (rollout and rollout.held_back):  # here, or by another replica, whose proxies see other rules
        yield _WantedCondition("Programmed", "False", HELD_BACK, _message(held) if held else rollout.held_back if rollout else "")
        yield _WantedCondition("Reconciled", "False", "Pending", "pending")
        return
    if rollout is None:
        yield _WantedCondition("Programmed", "False", "Pending", "not every replica of the control plane serves this generation yet")
        yield _WantedCondition("Reconciled", "False", "Pending", "pending")
        return
    count, reconciled = _counts(rollout)
    if rollout.refusals:
        refusals = "; ".join(f"{refusal.proxy} refused {refusal.resource}: {refusal.message}" for refusal in rollout.refusals)
        yield _WantedCondition("Programmed", "False", REFUSED, f"{count}; {refusals}"[:_MAX_MESSAGE])
    else:
        yield _WantedCondition("Programmed", str(rollout.settled), "Programmed" if rollout.settled else "Pending", count)
    yield _WantedCondition("Reconciled", str(rollout.settled), "Reconciled" if rollout.settled else "Pending", reconciled)


def _counts(rollout: Rollout) -> tuple[str, str]:
    """Return in our words and in Istio's how many proxies there are, and how many of them have it."""
    if rollout.counted:
        return f"{rollout.accepted} of {rollout.needed} proxies", f"{rollout.accepted}/{rollout.needed} proxies up to date."
    if rollout.settled:
        return "all proxies that need it", "all proxies up to date."
    return f"all but {rollout.needed - rollout.accepted} proxies", "not all proxies up to date."


def _message(problems: Iterable[Problem]) -> str:
    return "; ".join(f"{problem.field}: {problem.message}" if problem.field else problem.message for problem in problems)[:_MAX_MESSAGE]


def _condition(wanted: _WantedCondition, current: Condition | None, generation: int, now: str) -> Condition:
    since = current.get("lastTransitionTime") if current and current.get("status") == wanted.status else None
    return {
        "type": wanted.type,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _is_current(updated: Condition, current: Condition | None, told: Callable[[object], str]) -> bool:
    """Return whether ``current`` says what ``updated`` does, as far as ``told`` reads messages."""
    # The API server of some kinds drops fields that their schema does not know, as the observedGeneration of Istio's conditions.
    return (
        current is not None
        and all(current.get(name, updated.get(name)) == updated.get(name) for name in _COMPARED)
        and told(current.get("message", updated.get("message"))) == told(updated.get("message"))
    )


def _text(message: object) -> str:
    return str(message)


def _meaning(message: object) -> str:
    return _VARYING.sub("proxies", str(message))
