"""What the status of an object says: of mistakes, of rules that are held back, and of what proxies refuse."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.fleet.rollout import ResourceRefusal, Rollout
from controlplane.model.keys import AUTHORIZATION_POLICY, VIRTUAL_SERVICE
from controlplane.model.problems import Problem, Severity
from controlplane.writeback.conditions import mean_the_same, updated_conditions

POLICY = AUTHORIZATION_POLICY.key("shop", "lock")
WRONG = Problem(POLICY, "spec.rules", Severity.ERROR, "Required", "expected rules")
KEY = VIRTUAL_SERVICE.key("shop", "routes")
NOW = "2026-11-30T12:00:00Z"


def said(*problems: Problem) -> list[tuple[object, object, object]]:
    """Return type, status and reason of the conditions of an object with ``problems``."""
    found = updated_conditions((), 2, problems, None, NOW)
    assert found
    return [(condition["type"], condition["status"], condition["reason"]) for condition in found]


def conditions(problem: Problem, rollout: Rollout) -> Mapping[object, tuple[object, object, object]]:
    found = updated_conditions((), 1, [problem], rollout, NOW)
    assert found is not None
    return {condition["type"]: (condition["status"], condition["reason"], condition["message"]) for condition in found}


def test_what_stands_for_an_object_of_security_that_is_refused_is_told() -> None:
    closed = Problem(POLICY, "", Severity.ERROR, "Closed", "until this is mended, what it selects answers every request with 403")

    assert said(WRONG, closed)[:2] == [("Accepted", "False", "Required"), ("Programmed", "False", "Closed")]
    assert said(WRONG)[:2] == [("Accepted", "False", "Required"), ("Programmed", "False", "NotAccepted")]


def test_what_is_held_back_is_accepted_and_not_programmed() -> None:
    held = Problem(KEY, "", Severity.WARNING, "HeldBack", "since 12:00: waiting for typo.example:80")

    found = conditions(held, Rollout(1, needed=1, accepted=1))

    assert found["Accepted"][0] == "True"
    assert found["Programmed"] == ("False", "HeldBack", "since 12:00: waiting for typo.example:80")


def test_what_a_proxy_refuses_is_accepted_and_not_programmed() -> None:
    unknown = Problem(KEY, "spec.http[0].route[0].destination.host", Severity.WARNING, "UnknownHost", "no such service")

    found = conditions(unknown, Rollout(1, needed=2, accepted=1, refusals=(ResourceRefusal("web-1", "VirtualHost 80/a", "spec.http: no"),)))

    assert found["Accepted"][:2] == ("True", "UnknownHost")
    assert found["Programmed"] == ("False", "Refused", "1 of 2 proxies; web-1 refused VirtualHost 80/a: spec.http: no")


def test_how_many_proxies_there_are_and_which_of_them_refuses_is_no_other_meaning() -> None:
    before = updated_conditions((), 1, [], Rollout(1, 3, 3), NOW)
    assert before
    refusals = [(ResourceRefusal(f"web-{number}.shop", "VirtualHost 80/a", "no"),) for number in (1, 2)]

    more = updated_conditions(before, 1, [], Rollout(1, 4, 4), NOW)
    uncounted = updated_conditions(before, 1, [], Rollout(1, 1, 1, counted=False), NOW)
    pending = updated_conditions(before, 1, [], Rollout(1, 4, 3), NOW)
    refused = [updated_conditions(before, 1, [], Rollout(1, 2, 1, each), NOW) for each in refusals]

    assert more
    assert mean_the_same(more, before)
    assert uncounted
    assert mean_the_same(uncounted, before)
    assert pending
    assert not mean_the_same(pending, before)
    assert refused[0]
    assert refused[1]
    assert mean_the_same(refused[1], refused[0])
    assert not mean_the_same(refused[0], before)


def test_a_condition_of_somebody_else_need_not_say_all_that_ours_do() -> None:
    theirs = {"type": "Theirs", "status": "False"}
    before = updated_conditions((theirs,), 1, [], Rollout(1, 3, 3), NOW)
    assert before
    after = updated_conditions(before, 1, [], Rollout(1, 4, 4), NOW)

    assert after
    assert mean_the_same(after, before)


def test_another_mistake_is_another_meaning() -> None:
    before = updated_conditions((), 1, [WRONG], None, NOW)
    other = Problem(POLICY, "spec.rules", Severity.ERROR, "Required", "expected 2 rules")
    assert before
    after = updated_conditions(before, 1, [other], None, NOW)

    assert after
    assert not mean_the_same(after, before)
