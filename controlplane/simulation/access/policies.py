"""What the policies of an RBAC filter say: which of them fits, and whether that lets in or keeps out.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envoy.config.rbac.v3.rbac_pb2 import RBAC, Policy

from controlplane.simulation.access.combined import every, some
from controlplane.simulation.access.conditions import permission_holds, principal_holds
from controlplane.simulation.access.facts import AccessFacts, ConditionResult
from controlplane.simulation.result import Lost


class Ruling(NamedTuple):
    """What policies say: whether they ``allow``, ``None`` where that is not known; ``policy`` is the one that fits, if one does."""

    allow: bool | None
    policy: str
    why: str
    lost: tuple[Lost, ...] = ()  # the policies that do not fit


def ruling(rules: RBAC, facts: AccessFacts) -> Ruling:
    """Return what ``rules`` say of what ``facts`` are about: the first policy that fits, by name, decides."""
    lost: list[Lost] = []
    unknown: Lost | None = None
    for name, policy in sorted(rules.policies.items()):
        finding = _fits(policy, facts)
        if finding.holds:
            return Ruling(rules.action != RBAC.DENY, name, finding.why or "it is for everything", tuple(lost))
        if finding.holds is None:
            unknown = unknown or Lost(name, finding.why)
        else:
            lost.append(Lost(name, finding.why))
    if unknown is not None and rules.action != RBAC.LOG:
        return Ruling(None, unknown.what, unknown.why, tuple(lost))
    return _unfitting(rules.action, tuple(lost))


def _fits(policy: Policy, facts: AccessFacts) -> ConditionResult:
    return every(_conditions(policy, facts))


def _conditions(policy: Policy, facts: AccessFacts) -> Iterator[ConditionResult]:
    yield some(permission_holds(each, facts) for each in policy.permissions)
    yield some(principal_holds(each, facts) for each in policy.principals)
    if policy.HasField("condition") or policy.HasField("checked_condition"):
        yield ConditionResult(None, "it has a condition in CEL, which is not simulated")


def _unfitting(action: RBAC.Action, lost: tuple[Lost, ...]) -> Ruling:
    if action == RBAC.ALLOW:
        why = "no rule that allows fits" if lost else "no policy that allows has a rule that could fit"
        return Ruling(allow=False, policy="", why=why, lost=lost)
    why = "no rule that denies fits" if action == RBAC.DENY else "auditing refuses nothing"
    return Ruling(allow=True, policy="", why=why, lost=lost)
