"""Faults of drills in the mesh: what each stage changes and for whom, and that nothing of them is left."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.json_format import MessageToDict

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, PUSH_ORDER
from controlplane.mesh.facts import FaultChange
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.faults.faults import (
    DrillFault,
    FaultId,
    FaultSide,
    FaultStage,
    HeaderText,
    HitRequests,
    StagedFault,
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
from controlplane.model.identity import Identity
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.sources.files.once import read_manifests
from controlplane.translate.faults.chosen_endpoints import chosen_by
from controlplane.xds.stream import Variant

UNAVAILABLE = AnswerHttp(503)
HOST = "cart.shop.svc.cluster.local"
CLUSTER = f"outbound|80||{HOST}"
ID = FaultId("shop", "slow-cart", "delay")
_POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}, istio-locality: eu.{zone}}}}}
spec: {{serviceAccountName: {app}}}
status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], phase: Running}}
"""
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.0.0.80
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90, targetPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.0.0.81, selector: {app: cart}, ports: [{name: http, port: 81, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
""" + "".join(
    _POD.format(name=f"{app}-{number}", namespace=namespace, app=app, zone=f"z{number}", ip=f"10.1.{net}.{number}")
    for app, namespace, net in (("cart", "shop", 1), ("web", "shop", 2), ("bank", "bank", 3))
    for number in (1, 2, 3)
)


class World:
    """A mesh with a sidecar of each of three workloads."""

    def __init__(self, *, identified: bool = True) -> None:
        self.mesh = Mesh()
        _, changes = read_manifests(["-"], io.BytesIO(MANIFESTS.encode()))
        for_mesh, _ = split(changes)
        self.mesh.apply(for_mesh)
        self.sessions = {
            name: self._connect(name, namespace, ip, identified=identified)
            for name, namespace, ip in (("cart", "shop", "10.1.1.1"), ("web", "shop", "10.1.2.1"), ("bank", "bank", "10.1.3.1"))
        }
        self.mesh.refresh()

    def _connect(self, name: str, namespace: str, ip: str, *, identified: bool) -> Session:
        node = f"sidecar~{ip}~{name}-1.{namespace}~{namespace}.svc.cluster.local"
        proxy = proxy_from_node(node, {"LABELS": {"app": name}})
        return self.mesh.connect(
            replace(proxy, identity=Identity("cluster.local", namespace, name)) if identified else proxy, Variant.DELTA
        )

    def put(self, fault: DrillFault, stage: FaultStage | None = FaultStage.IN_FORCE) -> Published:
        self.mesh.apply([FaultChange(fault.id, StagedFault(fault, stage) if stage else None)])
        published = self.mesh.refresh()
        assert not published.failed
        return published

    def kept(self) -> int:
        """Return how many values the database has."""
        graph = self.mesh.database.graph
        return sum(map(len, graph.nodes.values())) + sum(map(len, graph.cells.values()))

    def views(self) -> dict[str, dict[tuple[str, str], bytes]]:
        return {
            name: {(type_url, each.name): each.frame for type_url in PUSH_ORDER for each in session.view.resources(type_url)}
            for name, session in self.sessions.items()
        }

    def filters(self, name: str) -> dict[str, Mapping[str, object]]:
        """Return what the filters of drills do at the proxy ``name``."""
        found = {}
        for each in self.sessions[name].view.resources(ECDS):
            config = TypedExtensionConfig.FromString(each.value).typed_config
            found[each.name] = {"type": config.type_url.rpartition(".")[2], "bytes": len(config.value), "ttl": each.ttl_ms}
        return found

    def chains_with(self, name: str, wanted: str) -> list[str]:
        found = self.sessions[name].view.resources(LDS)
        return sorted(each.name for each in found if (ECDS, wanted) in each.uses)

    def ports_with(self, name: str, wanted: str) -> set[int]:
        """Return the ports of inbound chains whose requests pass the filter ``wanted``."""
        resource = self.sessions[name].view.get(LDS, "virtualInbound")
        assert resource
        chains = Listener.FromString(resource.value).filter_chains
        passing = [each for each in chains if any(wanted.encode() in one.typed_config.value for one in each.filters)]
        return {each.filter_chain_match.destination_port.value for each in passing}

    def assignment(self, name: str, cluster: str = CLUSTER) -> set[str]:
        """Return the addresses of the endpoints that remain, as the proxy ``name`` is told."""
        resource = self.sessions[name].view.get(EDS, cluster)
        assert resource
        message = ClusterLoadAssignment.FromString(resource.value)
        marked = [each for locality in message.endpoints for each in locality.lb_endpoints if "envoy.lb" in each.metadata.filter_metadata]
        return {each.endpoint.address.socket_address.address for each in marked}


def fault(kind: FaultKind = UNAVAILABLE, side: FaultSide = FaultSide.CALLEE, **more: object) -> DrillFault:
    return replace(DrillFault(id=ID, kind=kind, host=HOST, side=side), **more)


def touched(published: Published) -> set[tuple[str, str]]:
    return {
        (type_url, name)
        for _, change in published.changes
        for type_url, names in (*change.updated.items(), *change.removed.items())
        for name in names
    }


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("side", FaultSide)
def test_nothing_of_a_fault_is_left(kind: FaultKind, side: FaultSide) -> None:
    world = World()
    before = world.views()

    for stage in (FaultStage.PREPARED, FaultStage.IN_FORCE, FaultStage.PREPARED, FaultStage.IN_FORCE, None):
        world.put(fault(kind, side), stage)

    assert world.views() == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
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


def _config(world: World, name: str) -> dict[str, object]:
    (resource,) = world.sessions[name].view.resources(ECDS)
    found = MessageToDict(TypedExtensionConfig.FromString(resource.value))["typedConfig"]
    assert isinstance(found, dict)
    return found


def test_a_match_becomes_conditions_on_headers() -> None:
    world = World()
    match = HitRequests(headers=(HeaderText("x-user", "ann"),), path_prefixes=("/a.b", "/c"), methods=("GET",))

    world.put(fault(match=match))

    headers = _config(world, "cart")["headers"]
    assert [(each["name"], each["stringMatch"]) for each in headers] == [
        ("x-user", {"exact": "ann"}),
        (":method", {"safeRegex": {"regex": "(?:GET)"}}),
        (":path", {"safeRegex": {"regex": r"(?:\/a\.b|\/c).*"}}),
    ]


def test_callers_are_known_at_the_callee_by_their_certificates() -> None:
    world = World()

    world.put(fault(caller=WorkloadSelection(namespaces=("bank",))))
    by_namespace = json.dumps(_config(world, "cart"))
    world.put(fault(caller=WorkloadSelection(namespaces=("shop",), labels=(("app", "web"),))))
    by_account = json.dumps(_config(world, "cart"))
    world.put(fault(caller=WorkloadSelection(namespaces=("shop",), labels=(("app", "nobody"),))))

    assert "spiffe://cluster.local/ns/bank/sa/" in by_namespace
    assert '"exact": "spiffe://cluster.local/ns/shop/sa/web"' in by_account
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
