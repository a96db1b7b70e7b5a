"""The demo's drill: an instance fails, retries hide it, outlier detection takes it out, and the client notices nothing."""

from __future__ import annotations

import json

from tests.support.cli import navarch


def test_the_demos_drill_holds_and_says_why() -> None:
    ended = navarch("demo", "--drill", "--json")

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    report, [edge] = told["report"], told["report"]["edges"]
    during = edge["during"]
    print(f"{report['verdict']}: {during['hidden']} errors hidden, {during['ejections']} ejections, {told['seconds']} s")
    assert (report["verdict"], told["client"]["failed"]) == ("HELD", 0)
    assert (edge["before"]["failures"], during["failures"], edge["after"]["failures"]) == (0, 0, 0)
    assert during["ejections"] >= 1
    assert during["retries"] >= during["hidden"] > 0
    assert "open" in {step["state"] for step in edge["breaker"]}
    [fault] = report["faults"]
    assert fault["inForceAt"] < fault["liftedAt"] < fault["goneAt"]
    assert any("retries hid" in words for words in report["conclusions"])
