"""What reports say, in words, and in each of their forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser

from controlplane.drills.experiments.chaos_toolkit import ProbeResult, journal
from controlplane.drills.judging.assess import FaultAbout, RunFacts, assess
from controlplane.drills.judging.objectives import DrillTarget
from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.drills.measuring.exposition import Counts, Reading
from controlplane.drills.measuring.series import MeasuredEdge, Series
from controlplane.drills.planning.run import FaultStep, InjectionProgress, RunPhase, RunState
from controlplane.drills.rendering.markdown import markdown
from controlplane.drills.rendering.page import page
from controlplane.drills.rendering.text import lines
from controlplane.model.cluster_names import ClusterName

CLUSTER = ClusterName("outbound", 80, "", "reviews")
GONE = InjectionProgress(FaultStep.GONE, 8.0, in_force_at=4.0, lifted_at=8.0, gone_at=8.0)


def report(counted: Sequence[dict[str, int]], side: str = "Callee", aborted: str = "", late: str = "", *, ejects: bool = True) -> Report:
    """Return the report of a run with a look every second, between which so much was ``counted``; the fault is there from 4 s to 8 s."""
    series = Series([MeasuredEdge(name="web -> <reviews>", host="reviews")])
    total: dict[str, int] = {}
    series.add(0.0, {"web": Reading({CLUSTER: Counts({})}, {})})
    for second, more in enumerate(counted, start=1):
        total = {name: total.get(name, 0) + more.get(name, 0) for name in {*total, *more}}
        levels = {"ejected": more.get("ejected", 0)}
        series.add(float(second), {"web": Reading({CLUSTER: Counts({**total, **levels}, {10.0: total.get("completed", 0)})}, {})})
    facts = RunFacts(
        id="one",
        drill="shop/reviews",
        started_at=1e9,
        seconds=float(len(counted)),
        interval_s=1.0,
        seed=7,
        faults=[FaultAbout(name="", sort="abort", service="reviews", side=side, percentage=50.0)],
        targets=[DrillTarget(edge=0, name="web -> <reviews>", success=99.0, window_s=1.0)],
        has_outlier_detection=ejects,
    )
    return assess(facts, RunState(RunPhase.ENDED, 12.0, (GONE,), aborted=aborted, late=late), series)


def seconds(under_fault: dict[str, int], after: dict[str, int] | None = None) -> list[dict[str, int]]:
    """Return what is counted in 12 s, with so much ``under_fault``, and in the first second ``after`` it."""
    calm = {"completed": 100, "attempts": 100}
    return [*[calm] * 4, *[under_fault] * 4, after or calm, *[calm] * 3]


def test_errors_that_retries_hide_are_told_and_why_the_breaker_stayed_closed() -> None:
    found = report(seconds({"completed": 100, "attempts": 148, "retries": 48, "retry_successes": 48, "5xx": 0}))

    assert found.verdict is DrillVerdict.HELD
    assert (found.detected_after, found.recovered_after) == (None, None)
    assert any("retries hid 100 % of the errors (192 of 192 requests)" in words for words in found.conclusions)
    assert any("breaker never opened: retries landed on other instances" in words for words in found.conclusions)


def test_detection_and_recovery_are_counted_from_acknowledgements() -> None:
    failing = {"completed": 100, "attempts": 100, "5xx": 40}
    found = report(seconds(failing, after=failing), ejects=False)

    assert found.verdict is DrillVerdict.DEVIATED
    assert (found.detected_after, found.recovered_after, found.recovery_precision) == (1.0, 1.0, 1.25)
    assert any("none was retried; try a VirtualService" in words for words in found.conclusions)
    assert any("without outlierDetection" in words for words in found.conclusions)


def test_a_timeout_that_leaves_nothing_for_a_retry_is_told() -> None:
    found = report(seconds({"completed": 100, "attempts": 100, "5xx": 40, "timeouts": 40}))

    assert any("covers all its tries" in words for words in found.conclusions)
    assert not any("try a VirtualService with retries" in words for words in found.conclusions)


def test_ejections_and_returns_are_told() -> None:
    counted = seconds({"completed": 100, "attempts": 100, "5xx": 5})
    counted[5] = {**counted[5], "ejections": 1, "ejected": 1}
    found = report(counted)

    [edge] = found.edges
    assert [(event.state, event.at) for event in edge.breaker] == [("open", 6.0), ("half-open", 7.0)]
    assert any("1 ejections by outlier detection, first 2.0 s after" in words for words in found.conclusions)


def test_a_storm_of_retries_and_a_fault_on_the_wrong_side_are_told() -> None:
    storm = report(seconds({"completed": 100, "attempts": 250, "retries": 150, "retry_successes": 90, "5xx": 10, "retries_exhausted": 10}))
    caller = report(seconds({"completed": 100, "5xx": 50}), side="Caller")

    assert any("retries made 2.5 requests of each" in words for words in storm.conclusions)
    assert any("try side: Callee" in words for words in caller.conclusions)


def test_who_ended_it_and_that_it_was_late_decide_the_verdict() -> None:
    assert report(seconds({"completed": 100}), aborted="enough").verdict is DrillVerdict.ABORTED
    assert report(seconds({"completed": 100}), late="still slow").verdict is DrillVerdict.DEVIATED
    assert report([{}] * 12).verdict is DrillVerdict.NOT_RUN
    assert [verdict.exit_status for verdict in DrillVerdict] == [0, 1, 2, 3]


def test_json_is_read_again_as_it_was_and_fits_its_schema() -> None:
    found = report(seconds({"completed": 100, "5xx": 40}))

    again = Report.model_validate_json(found.json_text())

    assert again == found
    assert set(json.loads(found.json_text())) == set(Report.model_json_schema(by_alias=True)["properties"])


def test_texts_of_users_are_escaped_in_markdown_and_on_the_page() -> None:
    found = report(seconds({"completed": 100, "5xx": 40}))

    class Checked(HTMLParser):
        tags: set[str] = set()  # noqa: RUF012 - one page

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            del attrs
            self.tags.add(tag)

    written = page(found)
    Checked().feed(written)
    assert r"web -\> \<reviews\>" in markdown(found)
    assert "reviews" not in Checked.tags
    assert {"svg", "table", "h1"} <= Checked.tags
    assert "https://" not in written.replace("https://matplotlib.org/", "")
    assert page(found) == written
    assert next(iter(lines(found))).startswith("DEVIATED  shop/reviews, run one")


def test_the_journal_has_what_its_readers_look_for() -> None:
    found = report(seconds({"completed": 100, "5xx": 40}))

    written = journal({"title": "one"}, found, [ProbeResult("page", met=True, output=200)], [ProbeResult("page", met=False, output=503)])

    assert (written["status"], written["deviated"]) == ("completed", True)
    states = written["steady_states"]
    assert isinstance(states, dict)
    assert (states["before"]["steady_state_met"], states["after"]["steady_state_met"]) == (True, False)
