"""Selectors of labels as kubectl has them: ``app=web,tier in (a, b),!canary``.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.errors import UserError
from controlplane.objects.types.names import label_error

_MAX_LENGTH = 2048
_REQUIREMENT = re.compile(
    r"\s*(?P<absent>!)?\s*(?P<key>[^\s!=,()]+)\s*"
    r"(?:(?P<equal>==?|!=)\s*(?P<value>[^\s,()=!]*)|(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*(?:,|\Z)"
)


class BadSelector(UserError, ValueError):
    """A text that selects nothing: what was expected."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label has to be: one of ``values``, or present where these are None; the opposite where that is not ``expected``."""

    key: str
    values: frozenset[str] | None
    expected: bool

    def is_met_by(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` meet it."""
        value = labels.get(self.key)
        is_met = value is not None if self.values is None else value in self.values
        return is_met is self.expected


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that labels have to meet, all of them."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` are selected."""
        return all(requirement.is_met_by(labels) for requirement in self.requirements)


def label_selector(text: str) -> LabelSelector:
    """Return the selector ``text``; raises BadSelector. One that would select everything is none."""
    requirements: list[Requirement] = []
    position = 0
    while position < len(text) <= _MAX_LENGTH:
        match = _REQUIREMENT.match(text, position)
        if match is None:
            break
        requirements.append(_requirement(match))
        position = match.end()
    if position != len(text) or not requirements:
        raise BadSelector(f"expected a selector, as app=web,tier in (a,b); found {text[:80]!r}")
    return LabelSelector(tuple(requirements))


def _requirement(match: re.Match[str]) -> Requirement:
    key = match["key"]
    values: frozenset[str] | None = None
    if match["equal"]:
        values = frozenset((match["value"],))
    elif match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
    fault = next(filter(None, (label_error(key, value) for value in values or ("",))), None)
    if fault or (match["absent"] and values is not None):
        raise BadSelector(fault or f"expected a key after '!', found {match[0].strip()[:80]!r}")
    return Requirement(key, values, expected=not match["absent"] and match["equal"] != "!=" and match["set"] != "notin")
