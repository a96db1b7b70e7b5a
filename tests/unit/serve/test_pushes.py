"""How long changes take to reach a proxy, as it is measured."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, LDS
from controlplane.serve.xds.pushes import Pushes, StreamPushes
from controlplane.xds.events import Acked, Nacked, Sent


class World:
    """One stream, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pushes = Pushes(lambda: self.now)
        self.stream = StreamPushes(self.pushes, 1)

    def sent(self, type_url: str) -> None:
        self.stream.record([Sent(type_url, "1", "", 1, 0, 10)])

    def acked(self, type_url: str) -> None:
        self.stream.record([Acked(type_url, "1", "", (), ())])

    def measured(self) -> dict[str, tuple[float, float]]:
        """Return by type how many were measured, and how long all took together."""
        [metric] = self.pushes.seconds.collect()
        found = {(each.labels["type"], each.name.rpartition("_")[2]): each.value for each in metric.samples if "le" not in each.labels}
        return {kind: (found[kind, "count"], found[kind, "sum"]) for kind, what in found if what == "count"}


def test_a_push_takes_from_the_change_to_the_answer() -> None:
    world = World()

    world.stream.changed(has_work=True)
    world.now += 1
    world.sent(CDS)
    world.now += 2
    world.acked(CDS)
    world.sent(LDS)  # which waited for the clusters
    world.now += 4
    world.stream.record([Nacked(LDS, "2", "", 3, "no", (), (), final=True)])

    assert world.measured() == {"Cluster": (1, 3), "Listener": (1, 7)}


def test_what_was_asked_for_is_no_push() -> None:
    world = World()

    world.stream.changed(has_work=False)
    world.sent(CDS)
    world.now += 2
    world.acked(CDS)

    assert world.measured() == {}


def test_the_next_change_is_measured_from_when_it_came() -> None:
    world = World()
    world.stream.changed(has_work=True)
    world.sent(CDS)
    world.acked(CDS)
    world.stream.rest()

    world.now += 100
    world.stream.changed(has_work=True)
    world.sent(CDS)
    world.now += 1
    world.acked(CDS)

    assert world.measured() == {"Cluster": (2, 1)}


def test_a_change_that_overtakes_another_is_measured_from_the_first() -> None:
    world = World()

    world.stream.changed(has_work=True)
    world.now += 3
    world.stream.changed(has_work=True)
    world.sent(CDS)
    world.stream.rest()  # an answer is awaited
    world.now += 1
    world.acked(CDS)

    assert world.measured() == {"Cluster": (1, 4)}
