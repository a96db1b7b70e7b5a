"""Gateways: what a change of one costs, and rules of theirs that a golden does not show."""

from __future__ import annotations

from collections import Counter

import pytest
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import LDS, RDS, VHDS
from controlplane.mesh.gateway import virtual_hosts
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.routing import virtual_services
from controlplane.model.proxies import proxy_from_node
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

ROUTER = proxy_from_node("router~10.0.0.1~gw.edge~edge.svc.cluster.local", {"LABELS": {"istio": "ingressgateway"}})


def gateway(*servers: object, **selector: str) -> dict[str, object]:
    return networking("Gateway", "gw", selector=selector or {"istio": "ingressgateway"}, servers=list(servers))


def networking(kind: str, name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "edge"}, "spec": spec}


def server(protocol: str = "HTTP", number: int = 8080, **more: object) -> dict[str, object]:
    return {"port": {"number": number, "name": f"p{number}", "protocol": protocol}, "hosts": ["*"], **more}


def routed(name: str, status: int, gateway: str = "gw") -> dict[str, object]:
    return networking("VirtualService", name, hosts=[f"{name}.example"], gateways=[gateway], http=[{"directResponse": {"status": status}}])


def test_one_virtual_service_among_300_at_a_gateway_changes_its_virtual_host_alone() -> None:
    mesh = Mesh()
    mesh.apply([change(gateway(server()))])
    mesh.apply([change(routed(f"h{at}", 200)) for at in range(300)])
    sessions = [mesh.connect(ROUTER, Variant.DELTA) for _ in range(2)]
    mesh.refresh()
    mesh.apply([change(routed("h7", 201))])
    before = Counter(mesh.database.runs)

    published = mesh.refresh()

    ran = Counter(mesh.database.runs) - before
    [(_, changed)] = published.changes
    assert {kind: set(names) for kind, names in changed.updated.items()} == {VHDS: {"http.8080/h7.example:8080"}}
    assert not any(changed.removed.values())
    ran_once = (virtual_services.rules_of_virtual_service, virtual_hosts.gateway_virtual_host_body, virtual_hosts.gateway_virtual_host)
    assert [ran[query.name] for query in ran_once] == [1, 1, 1]
    assert sum(ran.values()) < 12
    assert sessions[0].view.tables == sessions[1].view.tables


def test_one_gateway_more_and_one_policy_more_leave_the_virtual_hosts_of_the_others_alone() -> None:
    mesh = Mesh()
    mesh.apply([change(gateway(server()))])
    mesh.apply([change(routed(f"h{at}", 200)) for at in range(50)])
    session = mesh.connect(ROUTER, Variant.DELTA)
    mesh.refresh()
    root = session.roots
    more = networking("Gateway", "more", servers=[server(number=8081), server(number=8080)])
    policy = {**networking("AuthorizationPolicy", "closed"), "apiVersion": "security.istio.io/v1"}

    for added, kinds in ((more, {LDS, RDS}), (policy, {LDS})):
        before = Counter(mesh.database.runs)
        mesh.apply([change(added)])
        [(_, changed)] = mesh.refresh().changes
        ran = Counter(mesh.database.runs) - before
        assert {kind for kind, names in changed.updated.items() if names} == kinds
        assert (ran[virtual_hosts.gateway_virtual_host.name], ran[virtual_hosts.gateway_virtual_host_body.name]) == (0, 0)
    assert session.roots == root


def test_a_gateway_that_loses_its_label_loses_what_it_listened_on() -> None:
    mesh = Mesh()
    mesh.apply([change(gateway(server()))])
    session = mesh.connect(ROUTER, Variant.DELTA)
    mesh.refresh()
    assert [each.name for each in session.view.resources(LDS)] == ["0.0.0.0_8080"]

    mesh.apply([change(gateway(server(), istio="egressgateway"))])
    mesh.refresh()

    assert list(session.view.resources(LDS)) == []


def test_a_default_endpoint_takes_requests_that_no_virtual_service_takes() -> None:
    mesh = Mesh()
    mesh.apply([change(gateway(server(defaultEndpoint="127.0.0.1:9000"))), change(routed("h", 200))])
    session = mesh.connect(ROUTER, Variant.DELTA)
    mesh.refresh()

    assert {each.name for each in session.view.resources(VHDS)} == {"http.8080/*:8080", "http.8080/h.example:8080"}


def test_a_bind_to_every_address_is_the_same_as_none() -> None:
    mesh = Mesh()
    mesh.apply([change(gateway(server(), server("HTTP2", bind="0.0.0.0", port={"number": 8080, "name": "h2", "protocol": "HTTP2"})))])
    session = mesh.connect(ROUTER, Variant.DELTA)
    mesh.refresh()

    assert [each.name for each in session.view.resources(LDS)] == ["0.0.0.0_8080"]


@pytest.mark.parametrize(("redirecting", "plain"), [("one", "two"), ("two", "one")])  # as old as each other: they go by their names
def test_a_redirect_of_one_gateway_leaves_the_hosts_that_another_routes(redirecting: str, plain: str) -> None:
    selector = {"istio": "ingressgateway"}
    mesh = Mesh()
    mesh.apply([change(networking("Gateway", redirecting, selector=selector, servers=[server(tls={"httpsRedirect": True})]))])
    mesh.apply([change(networking("Gateway", plain, selector=selector, servers=[{**server(), "hosts": ["some.example"]}]))])
    mesh.apply([change(routed("some", 200, gateway=plain)), change(routed("other", 200, gateway=redirecting))])
    session = mesh.connect(ROUTER, Variant.SOTW)
    mesh.refresh()

    [table] = [RouteConfiguration.FromString(each.value) for each in session.view.resources(RDS)]

    assert {each.domains[0]: each.require_tls for each in table.virtual_hosts} == {
        "*": VirtualHost.ALL,
        "other.example": VirtualHost.ALL,
        "some.example": VirtualHost.NONE,
    }


def listened_on(*objects: dict[str, object]) -> set[str]:
    mesh = Mesh()
    mesh.apply([change(obj) for obj in objects])
    session = mesh.connect(ROUTER, Variant.DELTA)
    mesh.refresh()
    return {listener.name for listener in session.view.resources(LDS)}


@pytest.mark.parametrize("number", [15000, 15001, 15008, 15021, 15090])
def test_a_proxys_own_ports_are_given_to_no_gateway_and_its_other_servers_stay(number: int) -> None:
    mine = gateway(server(), server(number=number))

    assert listened_on(mine) == listened_on(gateway(server()))

    mesh = Mesh()
    mesh.apply([change(mine)])
    assert {(problem.code, problem.field) for problem in mesh.problems()} == {("ReservedPort", "spec.servers[1].port.number")}


def test_ports_of_a_control_plane_are_given_to_gateways_of_the_proxys_namespace_alone() -> None:
    mine = gateway(server(number=15012))
    metadata = {"name": "gw", "namespace": "elsewhere"}

    assert listened_on(mine)
    assert not listened_on({**mine, "metadata": metadata})


def test_an_object_that_says_nothing_of_its_age_counts_after_all_that_do() -> None:
    undated = {**gateway(server("TCP", 9000)), "metadata": {"name": "a", "namespace": "edge"}}
    dated = {**gateway(server("TCP", 9000)), "metadata": {"name": "z", "namespace": "edge", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    mesh = Mesh()

    mesh.apply([change(undated), change(dated)])

    told = [(problem.object.name, problem.field, problem.code) for problem in mesh.problems() if problem.object]
    assert told == [("a", "spec.servers[0]", "Conflict"), ("z", "spec.servers", "Conflict")]  # the first does without
