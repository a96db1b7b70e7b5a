"""What a user got wrong, as a value that travels with the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from controlplane.model.keys import Key

_NOTHING = Key("", "", "")


class Severity(StrEnum):
    """How much a Problem takes away."""

    ERROR = "error"  # the object is quarantined: its last good meaning stays, or one of security is closed
    WARNING = "warning"  # an unknown field; a kind or field that is not translated
    INFO = "info"


REFUSED = "Refused"  # the code of what some proxy does not take, though all checks of ours do
CLOSED = "Closed"
LAST_GOOD = "LastGood"
NOT_IN_EFFECT = "NotInEffect"
CONSEQUENCES = (CLOSED, LAST_GOOD, NOT_IN_EFFECT)  # codes that tell what becomes of an object that cannot be used
HELD_BACK = "HeldBack"  # the code of rules that are valid and not published yet


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with one field of one object, with what was expected.

    ``object`` is ``None`` where a document is too broken to say which object it is. ``field`` reads like
    ``spec.http[0].route[1].weight`` and is empty for the object as a whole. ``code`` is stable, for machines:
    ``UnknownField``, ``WrongType``, ``OutOfRange``, ``NotTranslated``, …
    """

    object: Key | None
    field: str
    severity: Severity
    code: str
    message: str


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return ``problems``, each once, sorted by object."""
    return tuple(sorted(set(problems), key=lambda problem: (problem.object or _NOTHING, problem.field, problem.code, problem.message)))


class FieldAtFault(NamedTuple):
    """A field of an object, as Problems name it, that made something that a proxy refuses."""

    key: Key
    field: str
