"""What the status of an object says."""

from __future__ import annotations

from controlplane.model.keys import AUTHORIZATION_POLICY
from controlplane.model.problems import Problem, Severity
from controlplane.writeback.conditions import updated_conditions

KEY = AUTHORIZATION_POLICY.key("shop", "lock")
WRONG = Problem(KEY, "spec.rules", Severity.ERROR, "Required", "expected rules")


def said(*problems: Problem) -> list[tuple[object, object, object]]:
    """Return type, status and reason of the conditions of an object with ``problems``."""
    found = updated_conditions((), 2, problems, None, "2026-01-01T00:00:00Z")
    assert found
    return [(condition["type"], condition["status"], condition["reason"]) for condition in found]


def test_what_stands_for_an_object_of_security_that_is_refused_is_told() -> None:
    closed = Problem(KEY, "", Severity.ERROR, "Closed", "until this is mended, what it selects answers every request with 403")

    assert said(WRONG, closed)[:2] == [("Accepted", "False", "Required"), ("Programmed", "False", "Closed")]
    assert said(WRONG)[:2] == [("Accepted", "False", "Required"), ("Programmed", "False", "NotAccepted")]
