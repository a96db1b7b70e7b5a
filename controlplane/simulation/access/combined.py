"""Conditions put together, where of some it is not known whether they hold."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.simulation.access.facts import ConditionResult

_MOST = 3  # conditions that are named of those that do not hold


def every(findings: Iterable[ConditionResult]) -> ConditionResult:
    """Return whether all ``findings`` hold; why not: the first that does not, or else the first that is not known."""
    unknown: ConditionResult | None = None
    held: list[str] = []
    for finding in findings:
        if finding.holds is False:
            return finding
        if finding.holds is None:
            unknown = unknown or finding
        elif finding.why:
            held.append(finding.why)
    return unknown or ConditionResult(holds=True, why=", ".join(held))


def some(findings: Iterable[ConditionResult]) -> ConditionResult:
    """Return whether one of ``findings`` holds."""
    unknown: ConditionResult | None = None
    others: list[str] = []
    for finding in findings:
        if finding.holds:
            return finding
        if finding.holds is None:
            unknown = unknown or finding
        else:
            others.append(finding.why)
    if unknown:
        return unknown
    distinct = list(dict.fromkeys(filter(None, others)))
    more = f", and {len(distinct) - _MOST} more" if len(distinct) > _MOST else ""
    return ConditionResult(holds=False, why="; ".join(distinct[:_MOST]) + more if distinct else "nothing is asked that can hold")


def other(finding: ConditionResult) -> ConditionResult:
    """Return whether ``finding`` does not hold."""
    return finding if finding.holds is None else ConditionResult(holds=not finding.holds, why=finding.why)
