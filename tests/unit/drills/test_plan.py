"""What a drill would do and reach, and why it may not."""

# ruff: noqa: ARG002 - a fake answers the same, whatever is asked
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from controlplane.drills.planning.plan import DrilledInstance, DrilledProxy, DrilledTraffic, PlannedRun, plan
from controlplane.model.faults.faults import FaultSide
from controlplane.model.faults.kinds import AnswerHttp, LoseZone
from controlplane.objects.drills.drill import Drill
from controlplane.objects.parse import parse

HOST = "reviews.shop.svc.cluster.local"
WEB = {"selector": {"matchLabels": {"app": "web"}}}


@dataclass
class FakeMesh:
    """A mesh with one service of three instances in two zones, and one caller."""

    excluded: frozenset[str] = frozenset()
    rates: Mapping[str, float] = field(default_factory=dict)
    callers: Sequence[DrilledProxy] = (DrilledProxy("web", "10.0.0.1", "shop"),)
    addresses: Mapping[str, str] = field(default_factory=lambda: {"10.0.0.2": "eu/a", "10.0.0.3": "eu/b", "10.0.0.4": "eu/b"})

    def host(self, service: str, namespace: str) -> str | None:
        return HOST if service == "reviews" else None

    def namespace(self, host: str, client_namespace: str) -> str:
        return "shop"

    def proxies(self, namespace: str, labels: Sequence[tuple[str, str]]) -> Sequence[DrilledProxy]:
        own = tuple(DrilledProxy(f"reviews-{address}", address, "shop") for address in self.addresses)
        return self.callers if labels else (*self.callers, *own)

    def instances(self, host: str, client_namespace: str) -> Sequence[DrilledInstance]:
        return [DrilledInstance(address, "shop", (("version", zone),), zone) for address, zone in self.addresses.items()]

    def is_excluded(self, namespace: str) -> bool:
        return namespace in self.excluded

    def has_outlier_detection(self, host: str, client_namespace: str) -> bool:
        return True

    def virtual_services(self, host: str) -> Sequence[str]:
        return ["shop/reviews"]

    def requests_per_s(self) -> Mapping[str, float]:
        return self.rates


def planned(fault: Mapping[str, object], mesh: FakeMesh | None = None, **spec: object) -> PlannedRun:
    inject = [{"service": "reviews", "duration": "5s", **fault}]
    whole = {"steadyState": [{"service": "reviews", "successRate": 99.0, "caller": WEB}], "inject": inject, **spec}
    metadata = {"name": "one", "namespace": "shop"}
    drill = parse({"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": metadata, "spec": whole}).object
    assert isinstance(drill, Drill)
    return plan(drill, mesh or FakeMesh())


def test_a_drill_becomes_faults_edges_and_targets() -> None:
    found = planned({"abort": {"httpStatus": 503}, "percentage": 50.0, "caller": WEB})

    [fault] = found.faults
    assert (fault.host, fault.kind, fault.side, fault.per_million) == (HOST, AnswerHttp(503), FaultSide.CALLEE, 500_000)
    assert fault.caller.labels == (("app", "web"),)
    assert [(edge.name, edge.host, edge.callers) for edge in found.edges] == [("web -> reviews", HOST, frozenset(("web",)))]
    assert [target.success for target in found.targets] == [99.0]
    assert found.refused == ()
    assert "50 %" in found.reaches[0]


def test_it_says_how_much_of_the_traffic_a_drill_concerns_and_by_whose_routes() -> None:
    abort = {"abort": {"httpStatus": 503}}

    [traffic] = planned(abort, FakeMesh(rates={HOST: 30.0, "other": 90.0})).traffic
    [unknown] = planned(abort).traffic

    assert traffic == DrilledTraffic(HOST, ("shop/reviews",), 30.0, 25.0)
    assert unknown == DrilledTraffic(HOST, ("shop/reviews",), 0.0, None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (planned({"abort": {"httpStatus": 503}, "service": "nobody"}), "no service nobody"),
        (planned({"abort": {"httpStatus": 503}}, blastRadius={"pods": 2}), "3 pods, 2 are allowed"),
        (planned({"abort": {"httpStatus": 503}}, blastRadius={"namespaces": ["other"]}), "shop is not a namespace"),
        (planned({"abort": {"httpStatus": 503}}, FakeMesh(excluded=frozenset(("shop",)))), "navarch.dev/drills: never"),
        (planned({"abort": {"httpStatus": 503}}, FakeMesh(callers=())), "no caller"),
        (planned({"zoneLoss": {"zone": "us/a"}}), "no instance in the zone"),
        (planned({"instanceRemoval": {"instances": 4}}), "3 instances, 4 cannot"),
        (planned({"instanceRemoval": {"deletePods": True}}), "not deleted"),
        (planned({"controlPlaneOutage": {}}), "cannot take itself away"),
        (planned({"abort": {"httpStatus": 503}, "instances": {"matchLabels": {"version": "v9"}}}), "with these labels"),
    ],
)
def test_what_is_in_the_way_is_told(found: PlannedRun, words: str) -> None:
    assert any(words in reason for reason in found.refused), found.refused


def test_the_loss_of_a_zone_reaches_its_instances() -> None:
    found = planned({"zoneLoss": {"zone": "eu/b"}}, blastRadius={"pods": 2})

    assert [fault.kind for fault in found.faults] == [LoseZone("eu/b")]
    assert found.refused == ()


def test_aborts_at_the_caller_are_counted_as_requests_that_failed() -> None:
    [edge] = planned({"abort": {"httpStatus": 503}, "side": "Caller"}).edges

    assert edge.aborts == "5xx"
