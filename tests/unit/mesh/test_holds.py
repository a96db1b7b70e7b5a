"""A published rule whose new version leads to what is not there stays as it was for a while, and its neighbours do not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from controlplane.envoy.type_urls import CDS, LDS, RDS, VHDS
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.cluster_names import BLACK_HOLE
from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

HOLD_S = 10.0
SIDECAR = proxy_from_node("sidecar~127.0.0.1~c.d~d.svc.cluster.local", {})
GATEWAY = proxy_from_node("router~127.0.0.1~g.d~d.svc.cluster.local", {"LABELS": {"app": "g"}})
SHOP = VIRTUAL_SERVICE.key("d", "shop")
V1 = "outbound|80||v1.example"
V2 = "outbound|80||v2.example"


def given(mesh: Mesh, kind: str, name: str, **spec: object) -> None:
    written = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "d"}, "spec": spec}
    parsed = parse(written)
    assert parsed.key is not None
    assert parsed.object is not None, parsed
    mesh.apply(split([Change(parsed.key, parsed.object)])[0])


def service(mesh: Mesh, host: str, protocol: str = "HTTP") -> None:
    ports = [{"number": 80, "name": "p", "protocol": protocol}]
    address = {} if protocol == "HTTP" else {"addresses": ["10.9.9.9"]}
    given(mesh, "ServiceEntry", host, hosts=[host], ports=ports, resolution="DNS", **address)


def routed(mesh: Mesh, name: str, *hosts: str) -> None:
    """Route the requests to the host of ``name`` to ``hosts``, in equal shares."""
    route = [{"destination": {"host": host}, "weight": 100 // len(hosts)} for host in hosts]
    given(mesh, "VirtualService", name, hosts=[f"{name}.example"], gateways=["mesh", "g"], http=[{"route": route}])


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh(hold_unknown_s=HOLD_S)
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    given(made, "Gateway", "g", selector={"app": "g"}, servers=servers)
    for host in ("v1.example", "shop.example", "other.example"):
        service(made, host)
    routed(made, "shop", "v1.example")
    routed(made, "other", "v1.example")
    return made


def clusters(session: Session) -> Mapping[str, set[str]]:
    """Return the clusters that each virtual host of ``session`` leads to, by its first domain."""
    found = [VirtualHost.FromString(each.value) for each in session.view.resources(VHDS)]
    for each in session.view.resources(RDS):
        found += RouteConfiguration.FromString(each.value).virtual_hosts
    return {
        host.domains[0]: {
            name
            for route in host.routes
            for name in (route.route.cluster, *(cluster.name for cluster in route.route.weighted_clusters.clusters))
            if name
        }
        for host in found
    }


def held(published: Published) -> Mapping[Key, str]:
    return {key: held_back.destinations for key, held_back in published.held_back.items()}


CASES = pytest.mark.parametrize("proxy", [SIDECAR, GATEWAY], ids=["sidecar", "gateway"])
WIRES = pytest.mark.parametrize("variant", Variant)


@CASES
@WIRES
def test_a_rule_stays_as_it_was_until_the_time_is_up_and_its_neighbours_do_not(mesh: Mesh, proxy: Proxy, variant: Variant) -> None:
    session = mesh.connect(proxy, variant)
    mesh.refresh(now=0.0)

    routed(mesh, "shop", "v1.example", "typo.example")
    first = mesh.refresh(now=100.0)
    service(mesh, "v2.example")
    routed(mesh, "other", "v2.example")
    mesh.refresh(now=105.0)
    meanwhile = clusters(session)
    last = mesh.refresh(now=110.0)

    assert held(first) == {SHOP: "typo.example:80"}
    assert first.due == 110.0
    assert (meanwhile["shop.example"], meanwhile["other.example"]) == ({V1}, {V2})
    assert clusters(session)["shop.example"] == {V1, BLACK_HOLE}
    assert (held(last), last.due) == ({}, None)


@CASES
@WIRES
def test_what_comes_in_time_is_followed_at_once(mesh: Mesh, proxy: Proxy, variant: Variant) -> None:
    session = mesh.connect(proxy, variant)
    mesh.refresh(now=0.0)
    routed(mesh, "shop", "v1.example", "v2.example")
    mesh.refresh(now=100.0)

    service(mesh, "v2.example")
    published = mesh.refresh(now=101.0)

    assert clusters(session)["shop.example"] == {V1, V2}
    assert held(published) == {}


@WIRES
def test_a_destination_that_is_taken_away_is_kept_as_long(mesh: Mesh, variant: Variant) -> None:
    service(mesh, "v2.example")
    routed(mesh, "shop", "v2.example")
    session = mesh.connect(SIDECAR, variant)
    mesh.refresh(now=0.0)

    gone = parse({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "v2.example", "namespace": "d"}})
    assert gone.key is not None
    mesh.apply(split([Change(gone.key, None)])[0])
    mesh.refresh(now=100.0)
    meanwhile = clusters(session)["shop.example"], session.view.get(CDS, V2) is not None
    mesh.refresh(now=110.0)

    assert meanwhile == ({V2}, True)
    assert clusters(session)["shop.example"] == {BLACK_HOLE}
    assert session.view.get(CDS, V2) is None


def test_who_has_no_published_version_is_answered_503_at_once(mesh: Mesh) -> None:
    first = mesh.connect(SIDECAR, Variant.DELTA)
    mesh.refresh(now=0.0)
    routed(mesh, "shop", "typo.example")
    mesh.refresh(now=100.0)

    late = mesh.connect(GATEWAY, Variant.DELTA)
    mesh.refresh(now=101.0)

    assert clusters(first)["shop.example"] == {V1}
    assert clusters(late)["shop.example"] == {BLACK_HOLE}


def test_another_edit_of_what_is_held_does_not_begin_the_time_anew_and_what_was_let_go_is_not_held_again(mesh: Mesh) -> None:
    session = mesh.connect(SIDECAR, Variant.DELTA)
    mesh.refresh(now=0.0)
    routed(mesh, "shop", "typo.example")
    mesh.refresh(now=100.0)

    routed(mesh, "shop", "worse.example")
    mesh.refresh(now=109.0)
    mesh.refresh(now=110.0)
    let_go = clusters(session)["shop.example"]
    routed(mesh, "shop", "worse.example", "v1.example")
    published = mesh.refresh(now=111.0)

    assert let_go == {BLACK_HOLE}
    assert clusters(session)["shop.example"] == {V1, BLACK_HOLE}
    assert held(published) == {}


def test_a_listener_stays_as_it_was_too(mesh: Mesh) -> None:
    service(mesh, "raw.example", "TCP")
    given(mesh, "VirtualService", "raw", hosts=["raw.example"], tcp=[{"route": [{"destination": {"host": "v1.example"}}]}])
    session = mesh.connect(SIDECAR, Variant.DELTA)
    mesh.refresh(now=0.0)

    given(mesh, "VirtualService", "raw", hosts=["raw.example"], tcp=[{"route": [{"destination": {"host": "typo.example"}}]}])
    published = mesh.refresh(now=100.0)
    meanwhile = _tcp_clusters(session)
    mesh.refresh(now=110.0)

    assert held(published) == {VIRTUAL_SERVICE.key("d", "raw"): "typo.example:80"}
    assert meanwhile == [V1]
    assert _tcp_clusters(session) == [BLACK_HOLE]


def test_problems_say_so_while_it_lasts(mesh: Mesh) -> None:
    session = mesh.connect(SIDECAR, Variant.DELTA)
    mesh.refresh(now=0.0)

    routed(mesh, "shop", "typo.example")
    mesh.refresh(now=100.0)
    meanwhile = {problem.code: problem.message for problem in mesh.problems_about(SHOP)}
    from_proxy = mesh.deferrals_from([session])
    mesh.refresh(now=110.0)
    after = {problem.code: problem.message for problem in mesh.problems_about(SHOP)}

    assert "waiting for typo.example:80" in meanwhile["HeldBack"]
    assert "will be answered 503" in meanwhile["UnknownHost"]
    assert from_proxy[SIDECAR.id].keys() == {SHOP}
    assert after.keys() == {"UnknownHost"}
    assert "are answered 503" in after["UnknownHost"]


def test_with_no_time_given_nothing_is_held() -> None:
    mesh = Mesh()
    for host in ("v1.example", "shop.example"):
        service(mesh, host)
    routed(mesh, "shop", "v1.example")
    session = mesh.connect(SIDECAR, Variant.SOTW)
    mesh.refresh()

    routed(mesh, "shop", "typo.example")
    published = mesh.refresh()

    assert clusters(session)["shop.example"] == {BLACK_HOLE}
    assert held(published) == {}


def _tcp_clusters(session: Session) -> list[str]:
    listener = session.view.get(LDS, "10.9.9.9_80")
    assert listener is not None
    message = Listener.FromString(listener.value)
    chains = [*message.filter_chains, message.default_filter_chain]
    return [TcpProxy.FromString(chain.filters[-1].typed_config.value).cluster for chain in chains if chain.filters]
