"""Faults of drills in the mesh: what each stage changes and for whom, and that nothing of them is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from google.protobuf.json_format import MessageToDict

from controlplane.envoy.type_urls import CDS, ECDS, LDS
from controlplane.model.faults.faults import (
    FaultId,
    FaultSide,
    FaultStage,
    HeaderText,
    HitRequests,
    WorkloadSelection,
)
from controlplane.model.faults.kinds import (
    AnswerGrpc,
    AnswerHttp,
    CloseConnections,
    DelayRequests,
    DistrustCallers,
    FaultKind,
    LimitRequests,
    LoseZone,
    PartCallers,
    RemoveInstances,
    SaturateInstances,
    SwallowRequests,
)
from controlplane.model.keys import SERVICE
from controlplane.model.problems import Severity
from controlplane.translate.faults.chosen_endpoints import chosen_by
from controlplane.untyped import items
from tests.support.fault_mesh import CLUSTER, HOST, ID, World, fault, touched

KINDS = (
    DelayRequests(2000),
    AnswerHttp(503),
    AnswerGrpc(14),
    CloseConnections(),
    LimitRequests(5),
    RemoveInstances(count=1),
    LoseZone("eu/z1"),
    PartCallers(),
    SwallowRequests(),
    SaturateInstances(2, 100),
    DistrustCallers(),
)
OF_CONNECTIONS = CloseConnections | PartCallers | SwallowRequests | DistrustCallers


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("side", FaultSide)
def test_nothing_of_a_fault_is_left(kind: FaultKind, side: FaultSide) -> None:
    world = World()
    before = world.views()

    for stage in (FaultStage.PREPARED, FaultStage.IN_FORCE, FaultStage.PREPARED, FaultStage.IN_FORCE, None):
        world.put(fault(kind, side), stage)

    assert world.views() == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not isinstance(kind, OF_CONNECTIONS)], ids=lambda kind: type(kind).__name__)
def test_what_begins_and_ends_a_fault_is_what_its_filters_do_and_nothing_else(kind: FaultKind) -> None:
    world = World()
    world.put(fault(kind), FaultStage.PREPARED)
    quiet = {name: world.filters(name) for name in world.sessions}

    begun = world.put(fault(kind))
    leased = {name: world.filters(name) for name in world.sessions}
    ended = world.put(fault(kind), FaultStage.PREPARED)

    assert {type_url for type_url, _ in touched(begun)} == {type_url for type_url, _ in touched(ended)} == {ECDS}
    assert {name: world.filters(name) for name in world.sessions} == quiet
    assert {each["ttl"] for filters in quiet.values() for each in filters.values()} == {0}
    assert {each["ttl"] for filters in leased.values() for each in filters.values()} == {10_000}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if isinstance(kind, OF_CONNECTIONS)], ids=lambda kind: type(kind).__name__)
def test_a_filter_of_connections_comes_with_the_fault_so_that_open_ones_are_left(kind: FaultKind) -> None:
    world = World()
    world.put(fault(kind), FaultStage.PREPARED)

    begun = world.put(fault(kind))
    ended = world.put(fault(kind), FaultStage.PREPARED)

    assert (LDS, "virtualInbound") in touched(begun) & touched(ended)


def test_a_fault_at_the_callee_stands_before_its_instances_at_the_services_ports() -> None:
    world = World()

    published = world.put(fault())

    (name,) = world.filters("cart")
    assert name == "drill/shop.slow-cart.delay/0"
    assert world.chains_with("cart", name) == ["virtualInbound"]
    assert touched(published) == {(LDS, "virtualInbound"), (ECDS, name)}
    assert world.filters("web") == world.filters("bank") == {}


def test_a_fault_at_the_caller_is_for_the_clusters_of_the_service_at_the_callers_selected() -> None:
    world = World()

    world.put(fault(side=FaultSide.CALLER, caller=WorkloadSelection(namespaces=("shop",), labels=(("app", "web"),))))

    assert len(world.filters("web")) == 2  # of the service, and of its subset
    assert world.filters("cart") == world.filters("bank") == {}


def _conditions(world: World) -> list[tuple[object, object]]:
    """Return on which headers the one fault filter of the callee depends."""
    (resource,) = world.sessions["cart"].view.resources(ECDS)
    config = MessageToDict(TypedExtensionConfig.FromString(resource.value))["typedConfig"]
    return [(each["name"], each["stringMatch"]) for each in items(config, "headers")]


def test_a_match_becomes_conditions_on_headers() -> None:
    world = World()
    match = HitRequests(headers=(HeaderText("x-user", "ann"),), path_prefixes=("/a.b", "/c"), methods=("GET",))

    world.put(replace(fault(), match=match))

    assert _conditions(world) == [
        ("x-user", {"exact": "ann"}),
        (":method", {"safeRegex": {"regex": "(?:GET)"}}),
        (":path", {"safeRegex": {"regex": r"(?:\/a\.b|\/c).*"}}),
    ]


def test_callers_are_known_at_the_callee_by_their_certificates() -> None:
    world = World()

    world.put(fault(caller=WorkloadSelection(namespaces=("bank",))))
    by_namespace = _conditions(world)
    world.put(fault(caller=WorkloadSelection(namespaces=("shop",), labels=(("app", "web"),))))
    by_account = _conditions(world)
    world.put(fault(caller=WorkloadSelection(namespaces=("shop",), labels=(("app", "nobody"),))))

    begin = r".*;URI=(?:spiffe\:\/\/cluster\.local\/ns\/"
    assert by_namespace == [("x-forwarded-client-cert", {"safeRegex": {"regex": rf"{begin}bank\/sa\/[^,;]*)"}})]
    assert by_account == [("x-forwarded-client-cert", {"safeRegex": {"regex": rf"{begin}shop\/sa\/web)"}})]
    assert world.filters("cart") == {}


def test_endpoints_that_are_taken_out_are_those_that_are_not_marked() -> None:
    world = World()

    world.put(fault(LoseZone("eu/z1")))
    after_zone = world.assignment("web")
    world.put(fault(RemoveInstances(percent=50.0)))
    after_half = world.assignment("web")
    world.put(fault(RemoveInstances(names=("cart-2",))))

    assert after_zone == {"10.1.1.2", "10.1.1.3"}
    assert len(after_half) == 1
    assert world.assignment("web") == {"10.1.1.1", "10.1.1.3"}
    cluster = world.sessions["web"].view.get(CDS, CLUSTER)
    assert cluster
    (selector,) = Cluster.FromString(cluster.value).lb_subset_config.subset_selectors
    assert list(selector.keys) == list(chosen_by(ID))


def test_another_service_of_the_same_workloads_is_left_alone() -> None:
    world = World()

    world.put(replace(fault(), host="other.shop.svc.cluster.local"))

    (name,) = world.filters("cart")
    assert world.ports_with("cart", name) == {8081}


def test_many_faults_leave_nothing_in_the_database() -> None:
    world = World()
    world.put(fault())
    world.put(fault(), None)
    before, kept = world.views(), world.kept()

    for number in range(50):
        each = replace(fault(KINDS[number % len(KINDS)]), id=FaultId("shop", f"drill-{number}", "x"))
        for stage in (FaultStage.PREPARED, FaultStage.IN_FORCE, None):
            world.put(each, stage)

    assert world.views() == before
    assert world.kept() == kept


def test_a_fault_in_force_is_told_at_the_service() -> None:
    world = World()
    world.put(fault(), FaultStage.PREPARED)
    quiet = world.mesh.problems_about(SERVICE.key("shop", "cart"))

    world.put(fault())

    (told,) = world.mesh.problems_about(SERVICE.key("shop", "cart"))
    assert quiet == ()
    assert (told.severity, told.code) == (Severity.INFO, "DrillInForce")
    assert told.message == f"a drill is in force: requests are answered 503 at the callee, by shop/slow-cart/delay on {HOST}"


def test_a_fault_without_effect_says_why() -> None:
    world = World()
    nobody = WorkloadSelection(namespaces=("shop",), labels=(("app", "nobody"),))
    tcp = replace(fault(), port=90)

    world.put(fault(caller=nobody))
    (no_caller,) = world.mesh.problems_about(SERVICE.key("shop", "cart"))
    world.put(tcp)
    (no_requests,) = world.mesh.problems_about(SERVICE.key("shop", "cart"))

    assert no_caller.code == no_requests.code == "Ineffective"
    assert no_caller.message.endswith("no workload is known that it is for, or their accounts are not")
    assert no_requests.message.endswith("none of its ports carries requests")
