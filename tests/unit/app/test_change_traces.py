"""What becomes of batches of changes, folded into traces."""

from __future__ import annotations

import itertools

import pytest

from controlplane.app.observability.change_traces import MOST_OPEN, ChangeTrace, ChangeTraces
from controlplane.envoy.type_urls import CDS, EDS
from controlplane.mesh.mesh import Published


class World:
    """Traces, a clock that goes on with each look at it, and what has ended."""

    def __init__(self) -> None:
        ticks = itertools.count(1000)
        self.ended: list[ChangeTrace] = []
        self.traces = ChangeTraces(self.ended.append, lambda: next(ticks))

    def publish(self, *connections: int) -> ChangeTrace:
        """Publish a batch that ``connections`` are told of."""
        trace = self.traces.begin({"files": 900}, 1)

        def tell(_: Published) -> None:
            for connection in connections:
                self.traces.changed(connection)

        self.traces.publishing(trace, tell)(Published())
        self.traces.all_published(trace)
        return trace

    def accept(self, connection: int, type_url: str) -> None:
        self.traces.answered(connection, type_url, accepted=True)


def test_a_batch_that_nobody_sees_has_ended_with_its_publication() -> None:
    world = World()

    trace = world.publish()

    assert world.ended == [trace]
    assert [step.name for step in trace.steps] == ["source files", "publish"]
    assert trace.began == 900
    assert trace.ended == trace.steps[-1].ended


def test_it_ends_when_the_last_connection_is_settled() -> None:
    world = World()

    trace = world.publish(1, 2)
    for connection in (1, 2):
        world.traces.sent(connection, CDS)
    world.accept(1, CDS)
    world.traces.settled(1)
    assert world.ended == []
    world.accept(2, CDS)
    world.traces.sent(2, EDS)
    world.traces.answered(2, EDS, accepted=False)
    world.traces.settled(2)

    assert world.ended == [trace]
    counts = {kind: (each.count, each.accepted, each.refused) for kind, each in trace.responses.items()}
    assert counts == {CDS: (2, 2, 0), EDS: (1, 0, 1)}
    assert trace.ended == trace.responses[EDS].last_answered


def test_one_response_may_bring_two_batches() -> None:
    world = World()

    first, second = world.publish(1), world.publish(1)
    world.traces.sent(1, CDS)
    world.accept(1, CDS)
    world.traces.settled(1)

    assert world.ended == [first, second]
    assert first.responses[CDS].accepted == second.responses[CDS].accepted == 1


def test_an_answer_to_what_was_sent_before_says_nothing() -> None:
    world = World()

    trace = world.publish(1)
    world.accept(1, CDS)

    assert trace.responses == {}


def test_who_never_answers_costs_no_more_than_a_bound() -> None:
    world = World()

    traces = [world.publish(7) for _ in range(MOST_OPEN + 5)]

    assert world.ended == traces[:5]
    assert [trace.complete for trace in (traces[0], traces[5])] == [False, True]
    world.traces.settled(7)
    assert world.ended == traces


def test_a_step_that_fails_is_a_failure_of_the_trace() -> None:
    world = World()
    trace = world.traces.begin({"files": 900}, 1)

    with pytest.raises(ValueError, match="bad"), world.traces.step(trace, "refresh"):
        raise ValueError("bad")

    assert trace.failed
    assert trace.steps[-1].name == "refresh"
