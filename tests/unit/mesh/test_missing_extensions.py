"""What proxies are sent whose builds lack extensions: the same, but for what names one of these."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from controlplane.envoy.type_urls import CDS, ECDS, LDS, RDS, VHDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.publish.reduced_parts import reductions
from controlplane.mesh.sessions import Session
from controlplane.model.identity import Identity
from controlplane.model.proxies import proxy_from_node
from controlplane.translate.without_extensions import Consequence
from controlplane.xds.resource import Resource
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

FAULT, CORS, RBAC = "envoy.filters.http.fault", "envoy.filters.http.cors", "envoy.filters.http.rbac"
NETWORK_RBAC, TLS, HOSTS = "envoy.filters.network.rbac", "envoy.transport_sockets.tls", "envoy.retry_host_predicates.previous_hosts"
RUNTIME = "envoy.wasm.runtime.v8"
INSPECTOR = "envoy.filters.listener.tls_inspector"
Json = dict[str, object]
SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 90}]},
}
ROUTE: Json = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "hosts": ["web"],
        "http": [
            {
                "fault": {"abort": {"percentage": {"value": 10}, "httpStatus": 418}},
                "corsPolicy": {"allowOrigins": [{"exact": "https://a.example"}]},
                "route": [{"destination": {"host": "web", "port": {"number": 80}}}],
            }
        ],
    },
}
POLICY: Json = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "all", "namespace": "shop"},
    "spec": {"rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]},
}
POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "security.istio.io/tlsMode": "istio"}},
    "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}], "serviceAccountName": "web"},
    "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running"},
}
STOCK: frozenset[str] = frozenset()


def mesh_of(*objects: Json) -> Mesh:
    mesh = Mesh()
    mesh.apply([change(each) for each in (SERVICE, ROUTE, POD, *objects)])
    return mesh


def connected(mesh: Mesh, *lacking: str, variant: Variant = Variant.DELTA, name: str = "web-1") -> Session:
    proxy = proxy_from_node(f"sidecar~10.0.0.1~{name}.shop~shop.svc.cluster.local", {"LABELS": {"app": "web"}})
    session = mesh.connect(replace(proxy, identity=Identity("cluster.local", "shop", "web"), lacking=frozenset(lacking)), variant)
    published = mesh.refresh()
    assert published.failed == ()
    return session


def seen(session: Session, type_url: str, name: str) -> Resource:
    found = session.view.get(type_url, name)
    assert found is not None
    return found


def consequences(mesh: Mesh, session: Session) -> Counter[tuple[str, Consequence]]:
    found = (reduction for root in session.roots for reduction in reductions(mesh.database, root))
    return Counter((left_out.extension, left_out.consequence) for reduction in found for left_out in reduction.left_out)


@pytest.mark.parametrize("variant", list(Variant))
def test_filters_that_add_something_are_left_out_with_what_routes_tell_them(variant: Variant) -> None:
    mesh = mesh_of()

    session = connected(mesh, FAULT, CORS, variant=variant)

    assert {consequence for _, consequence in consequences(mesh, session)} == {Consequence.LEFT_OUT}
    everything = b"".join(resource.value for type_url in (LDS, RDS, VHDS, CDS) for resource in session.view.resources(type_url))
    assert b"filters.http.router" in everything
    assert b"http.fault" not in everything
    assert b"http.cors" not in everything
    hosts = [VirtualHost.FromString(each.value) for each in session.view.resources(VHDS)]
    hosts += [host for each in session.view.resources(RDS) for host in RouteConfiguration.FromString(each.value).virtual_hosts]
    assert any(route.route.cluster == "outbound|80||web.shop.svc.cluster.local" for host in hosts for route in host.routes)


def test_what_retries_would_do_besides_is_left_out() -> None:
    mesh = mesh_of()

    session = connected(mesh, HOSTS)

    assert {consequence for _, consequence in consequences(mesh, session)} == {Consequence.LEFT_OUT}
    host = VirtualHost.FromString(seen(session, VHDS, "80/web.shop.svc.cluster.local:80").value)
    assert host.routes[0].route.retry_policy.retry_on
    assert not host.routes[0].route.retry_policy.retry_host_predicate


def wasm_plugin(strategy: str, level: str) -> Json:
    spec = {"url": "file:///one.wasm", "failStrategy": strategy, "type": level, "match": [{"mode": "SERVER"}]}
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "one", "namespace": "shop"},
        "spec": spec,
    }


@pytest.mark.parametrize("level", ["HTTP", "NETWORK"])
def test_a_plugin_that_fails_open_is_left_out_where_there_is_no_filter_for_it(level: str) -> None:
    mesh = mesh_of(wasm_plugin("FAIL_OPEN", level))

    session = connected(mesh, f"envoy.filters.{level.lower()}.wasm", RUNTIME)

    inbound = seen(session, LDS, "virtualInbound")
    assert inbound.value == seen(connected(mesh_of(), RUNTIME), LDS, "virtualInbound").value
    assert {consequence for _, consequence in consequences(mesh, session)} == {Consequence.LEFT_OUT}


@pytest.mark.parametrize(("strategy", "consequence"), [("FAIL_OPEN", Consequence.LEFT_OUT), ("FAIL_CLOSE", Consequence.REFUSED)])
@pytest.mark.parametrize("level", ["HTTP", "NETWORK"])
def test_what_stands_in_for_a_plugin_is_sent_where_nothing_runs_it(strategy: str, consequence: Consequence, level: str) -> None:
    mesh = mesh_of(wasm_plugin(strategy, level))

    session, stock = connected(mesh, RUNTIME), connected(mesh)

    name = f"wasmplugin/{level.lower()}/shop.one"
    whole = seen(stock, ECDS, name)
    assert seen(session, ECDS, name) == whole.fallback
    assert seen(session, LDS, "virtualInbound") is seen(stock, LDS, "virtualInbound")
    assert consequences(mesh, session) == {(RUNTIME, consequence): 1}


def test_a_plugin_that_fails_closed_closes_where_there_is_no_filter_for_it() -> None:
    mesh = mesh_of(wasm_plugin("FAIL_CLOSE", "HTTP"))

    session = connected(mesh, "envoy.filters.http.wasm")

    for manager in managers(Listener.FromString(seen(session, LDS, "virtualInbound").value)):
        assert [each.name for each in manager.http_filters] == ["envoy.filters.http.router"]
    assert (("envoy.filters.http.wasm", Consequence.REQUESTS_REFUSED)) in consequences(mesh, session)


def managers(listener: Listener) -> list[HttpConnectionManager]:
    found = (each for chain in listener.filter_chains for each in chain.filters if "http_connection_manager" in each.name)
    return [HttpConnectionManager.FromString(each.typed_config.value) for each in found]


def test_where_nothing_can_decide_about_requests_all_are_refused() -> None:
    mesh = mesh_of(POLICY)

    session = connected(mesh, RBAC)

    inbound = Listener.FromString(seen(session, LDS, "virtualInbound").value)
    with_policy = managers(inbound)
    assert with_policy
    for manager in with_policy:
        assert [each.name for each in manager.http_filters] == ["envoy.filters.http.router"]
        assert [route.direct_response.status for host in manager.route_config.virtual_hosts for route in host.routes] == [403]
    assert consequences(mesh, session) == {(RBAC, Consequence.REQUESTS_REFUSED): 1}


def test_where_nothing_can_decide_about_connections_all_are_closed() -> None:
    mesh = mesh_of(POLICY)

    session = connected(mesh, NETWORK_RBAC)

    inbound = Listener.FromString(seen(session, LDS, "virtualInbound").value)
    closed = [chain for chain in inbound.filter_chains if len(chain.filters) == 1 and "tcp_proxy" in chain.filters[0].name]
    assert {TcpProxy.FromString(chain.filters[0].typed_config.value).cluster for chain in closed} == {"BlackHoleCluster"}
    assert b"network.rbac" not in inbound.SerializeToString()
    assert consequences(mesh, session) == {(NETWORK_RBAC, Consequence.CONNECTIONS_CLOSED): 1}


def test_without_tls_nothing_is_sent_in_the_clear() -> None:
    mesh = mesh_of()

    session = connected(mesh, TLS)

    assert session.view.get(LDS, "virtualInbound") is None
    cluster = Cluster.FromString(seen(session, CDS, "outbound|80||web.shop.svc.cluster.local").value)
    assert cluster.type == Cluster.STATIC
    assert not cluster.load_assignment.endpoints
    assert not cluster.HasField("transport_socket")
    assert {consequence for _, consequence in consequences(mesh, session)} == {Consequence.NOT_SENT, Consequence.UNREACHABLE}


def test_a_listener_that_cannot_tell_connections_apart_is_not_sent_and_comes_when_it_can() -> None:
    mesh = mesh_of()
    lacking, stock = connected(mesh, INSPECTOR), connected(mesh)

    assert lacking.view.get(LDS, "virtualInbound") is None
    assert stock.view.get(LDS, "virtualInbound") is not None


def test_equal_proxies_share_all_and_a_stock_one_has_no_part_of_it() -> None:
    mesh = mesh_of(POLICY)
    one, other, stock = connected(mesh, FAULT), connected(mesh, FAULT, name="web-2"), connected(mesh)

    assert one.roots[0] == other.roots[0]
    assert one.view.tables[0] is other.view.tables[0]
    assert consequences(mesh, stock) == Counter()
    # What names nothing that is lacking is the very same resource.
    untouched = "outbound|80||web.shop.svc.cluster.local"
    assert seen(one, CDS, untouched) is seen(stock, CDS, untouched)


def test_a_change_reaches_what_was_reduced() -> None:
    mesh = mesh_of()
    session = connected(mesh, FAULT)
    before = seen(session, VHDS, "80/web.shop.svc.cluster.local:80")
    http = {"timeout": "7s", "fault": {"abort": {"percentage": {"value": 10}, "httpStatus": 418}}}
    edited: Json = {
        **ROUTE,
        "spec": {"hosts": ["web"], "http": [{**http, "route": [{"destination": {"host": "web", "port": {"number": 80}}}]}]},
    }

    mesh.apply([change(edited)])
    mesh.refresh()

    after = seen(session, VHDS, "80/web.shop.svc.cluster.local:80")
    assert after != before
    assert VirtualHost.FromString(after.value).routes[0].route.timeout.seconds == 7
    assert b"fault" not in after.value
