"""Selectors of labels as kubectl has them: ``app=web,tier in (a, b),!canary``.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.objects.types.names import label_error

_MAX = 2048
_REQUIREMENT = re.compile(
    r"\s*(?P<absent>!)?\s*(?P<key>[^\s!=,()]+)\s*"
    r"(?:(?P<equal>==?|!=)\s*(?P<value>[^\s,()=!]*)|(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*(?:,|\Z)"
)


class BadSelector(ValueError):
    """A text that selects nothing: what was expected."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label has to be: one of ``values``, where there are any, or there; or not so."""

    key: str
    values: frozenset[str] | None
    wanted: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` are so."""
        value = labels.get(self.key)
        found = value is not None if self.values is None else value in self.values
        return found is self.wanted


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Labels that have to meet all of some requirements."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` are selected."""
        return all(each.holds(labels) for each in self.requirements)


def label_selector(text: str) -> LabelSelector:
    """Return the selector ``text``; raises BadSelector. One that would select everything is none."""
    found: list[Requirement] = []
    at = 0
    while at < len(text) <= _MAX:
        match = _REQUIREMENT.match(text, at)
        if match is None:
            break
        found.append(_requirement(match))
        at = match.end()
    if at != len(text) or not found:
        raise BadSelector(f"expected a selector, as app=web,tier in (a,b); found {text[:80]!r}")
    return LabelSelector(tuple(found))


def _requirement(match: re.Match[str]) -> Requirement:
    key = match["key"]
    values: frozenset[str] | None = None
    if match["equal"]:
        values = frozenset((match["value"],))
    elif match["set"]:
        values = frozenset(each.strip() for each in match["values"].split(","))
    fault = next(filter(None, (label_error(key, each) for each in values or ("",))), None)
    if fault or (match["absent"] and values is not None):
        raise BadSelector(fault or f"expected a key after '!', found {match[0].strip()[:80]!r}")
    return Requirement(key, values, wanted=not match["absent"] and match["equal"] != "!=" and match["set"] != "notin")
