"""From what is known of an object to the conditions it should have. Pure: the time is an argument.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.fleet.rollout import Rollout
from controlplane.model.problems import Problem, Severity

Condition = Mapping[str, object]
_MAX_MESSAGE = 4000  # the API allows 32768
_MAX_REASON = 64
_COMPARED = ("type", "status", "reason", "message", "observedGeneration")


@dataclass(frozen=True, slots=True)
class _WantedCondition:
    type: str
    status: str
    reason: str
    message: str


def updated_conditions(
    current: Sequence[Condition], generation: int, problems: Iterable[Problem], standing: Rollout | None, now: str
) -> tuple[Condition, ...] | None:
    """Return the conditions that an object of ``generation`` should have at ``now`` (RFC 3339), ``None`` if they are the ``current`` ones.

    ``problems`` are all of the object; ``rollout`` sums up the proxies, ``None`` while a replica does not serve this generation.
    Conditions of others stay as they are.
    """
    wanted = {each.type: each for each in _wanted(tuple(problems), standing)}
    before = {str(each.get("type")): each for each in current}
    made = [_made(each, before.get(each.type), generation, now) for each in wanted.values()]
    kept = [each for each in current if str(each.get("type")) not in wanted]
    if all(_same(each, before.get(str(each["type"]))) for each in made):
        return None
    return (*kept, *made)


def _wanted(problems: Sequence[Problem], standing: Rollout | None) -> Iterator[_WantedCondition]:
    errors = [each for each in problems if each.severity is Severity.ERROR]
    warnings = [each for each in problems if each.severity is Severity.WARNING]
    if errors:
        yield _WantedCondition("Accepted", "False", errors[0].code[:_MAX_REASON], _told(errors))
        yield _WantedCondition("Programmed", "False", "NotAccepted", "the last version that was accepted, if there is one, stays in effect")
        yield _WantedCondition("Reconciled", "False", "NotAccepted", "not accepted")
        return
    yield _WantedCondition("Accepted", "True", "Accepted" if not warnings else warnings[0].code[:_MAX_REASON], _told(warnings))
    if any(each.code == "KindNotTranslated" for each in problems):
        yield _WantedCondition("Programmed", "False", "NotTranslated", "objects of this kind have no effect yet")
        return
    if standing is None:
        yield _WantedCondition("Programmed", "False", "Pending", "not every replica of the control plane serves this generation yet")
        yield _WantedCondition("Reconciled", "False", "Pending", "pending")
        return
    count = f"{standing.accepted} of {standing.needed} proxies"
    if standing.refusals:
        words = "; ".join(f"{each.proxy} refused {each.resource}: {each.message}" for each in standing.refusals)
        yield _WantedCondition("Programmed", "False", "Refused", f"{count}; {words}"[:_MAX_MESSAGE])
    else:
        yield _WantedCondition("Programmed", str(standing.settled), "Programmed" if standing.settled else "Pending", count)
    reconciled = f"{standing.accepted}/{standing.needed} proxies up to date."
    yield _WantedCondition("Reconciled", str(standing.settled), "Reconciled" if standing.settled else "Pending", reconciled)


def _told(problems: Iterable[Problem]) -> str:
    return "; ".join(f"{each.field}: {each.message}" if each.field else each.message for each in problems)[:_MAX_MESSAGE]


def _made(wanted: _WantedCondition, before: Condition | None, generation: int, now: str) -> Condition:
    since = before.get("lastTransitionTime") if before and before.get("status") == wanted.status else None
    return {
        "type": wanted.type,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _same(made: Condition, before: Condition | None) -> bool:
    # The API server of some kinds drops fields that their schema does not know, as the observedGeneration of Istio's conditions.
    return before is not None and all(before.get(name, made[name]) == made[name] for name in _COMPARED)
