"""What one namespace may do to the proxies of others where the mesh refuses it, and that it may where it does not."""

from __future__ import annotations

import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import CDS, EDS, VHDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.mesh import FOREIGN_ROUTES, SOCKET_ENDPOINTS
from controlplane.model.problems import Problem
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

WEB = "web.shop.svc.cluster.local"
LOOT, OWN = "outbound|80||loot.mallory.example", f"outbound|80||{WEB}"
Written = dict[str, object]


def written(kind: str, namespace: str, name: str, /, **spec: object) -> Written:
    version = "v1" if kind == "Service" else "networking.istio.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def entry(namespace: str, host: str, *addresses: str) -> Written:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    endpoints = [{"address": address} for address in addresses]
    return written("ServiceEntry", namespace, host, hosts=[host], ports=ports, resolution="STATIC", endpoints=endpoints)


def routes(namespace: str, *hosts: str, name: str = "routes", **spec: object) -> Written:
    """Return routes of ``hosts`` to what is of mallory."""
    http = [{"route": [{"destination": {"host": "loot.mallory.example"}}]}]
    return written("VirtualService", namespace, name, hosts=list(hosts), http=http, **spec)


def settings(**annotations: str) -> Written:
    named = {SOCKET_ENDPOINTS if name == "sockets" else FOREIGN_ROUTES: value for name, value in annotations.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system", "annotations": named}}


def mesh_of(*documents: Written) -> Mesh:
    shop = written("Service", "shop", "web", clusterIP="10.9.0.1", ports=[{"name": "http", "port": 80}])
    parsed = [parse(document) for document in (shop, entry("mallory", "loot.mallory.example", "10.6.6.6"), *documents)]
    assert all(each.object for each in parsed), parsed
    mesh = Mesh()
    mesh.apply(split(Change(each.key, each.object) for each in parsed if each.key)[0])
    return mesh


def seen_from(mesh: Mesh, namespace: str) -> Session:
    session = mesh.connect(proxy_from_node(f"sidecar~10.0.0.1~c.{namespace}~{namespace}.svc.cluster.local", {}), Variant.DELTA)
    assert mesh.refresh().failed == ()
    return session


def leads_to(mesh: Mesh, namespace: str, host: str) -> str | None:
    """Return the cluster that requests from ``namespace`` to ``host`` are sent to."""
    found = [VirtualHost.FromString(each.value) for each in seen_from(mesh, namespace).view.resources(VHDS)]
    clusters = [each.routes[0].route.cluster for each in found if host in each.domains]
    return clusters[0] if clusters else None


def told(mesh: Mesh, code: str) -> list[Problem]:
    return [problem for problem in mesh.problems() if problem.code == code]


def test_as_in_istio_routes_hold_for_everybody_whatever_the_host() -> None:
    mesh = mesh_of(routes("mallory", WEB, "nobody.example"))

    assert [leads_to(mesh, namespace, WEB) for namespace in ("shop", "other", "mallory")] == [LOOT] * 3
    assert leads_to(mesh, "other", "nobody.example") == LOOT
    assert told(mesh, "ForeignHost") == []


def test_where_it_is_refused_routes_for_anothers_host_hold_for_clients_of_their_own_namespace() -> None:
    mesh = mesh_of(routes("mallory", WEB), settings(routes="refuse"))

    assert [leads_to(mesh, namespace, WEB) for namespace in ("shop", "other", "mallory")] == [OWN, OWN, LOOT]
    [problem] = told(mesh, "ForeignHost")
    assert problem.field == "spec.hosts[0]"
    assert "of the namespace shop" in problem.message


@pytest.mark.parametrize("pattern", ["*.shop.svc.cluster.local", "*.local"])
def test_a_pattern_takes_no_host_of_another_namespace(pattern: str) -> None:
    mesh = mesh_of(routes("mallory", pattern), settings(routes="refuse"))

    assert leads_to(mesh, "other", WEB) == OWN
    assert len(told(mesh, "ForeignHost")) == 1


def test_what_nobody_has_declared_is_routed_for_nobody_else_and_what_a_namespace_declares_for_all() -> None:
    mesh = mesh_of(routes("mallory", "nobody.example", "loot.mallory.example"), settings(routes="refuse"))

    assert leads_to(mesh, "other", "nobody.example") is None
    assert leads_to(mesh, "mallory", "nobody.example") == LOOT
    assert leads_to(mesh, "other", "loot.mallory.example") == LOOT
    assert [problem.field for problem in told(mesh, "ForeignHost")] == ["spec.hosts[0]"]


def test_an_entry_for_a_host_that_is_there_makes_nobody_its_owner() -> None:
    mesh = mesh_of(entry("mallory", WEB, "10.6.6.6"), routes("mallory", WEB), settings(routes="refuse"))

    assert [leads_to(mesh, namespace, WEB) for namespace in ("shop", "other")] == [OWN, OWN]


def test_who_has_a_service_of_its_own_for_a_host_has_its_own_routes_too() -> None:
    api = (entry("mallory", "api.example", "10.6.6.6"), entry("shop", "api.example", "10.1.1.1"))
    mesh = mesh_of(*api, routes("mallory", "api.example"), settings(routes="refuse"))

    assert leads_to(mesh, "other", "api.example") == LOOT
    assert leads_to(mesh, "shop", "api.example") == "outbound|80||api.example"


def test_the_owners_routes_and_those_of_the_root_namespace_hold_for_all() -> None:
    by_owner = mesh_of(routes("shop", WEB), routes("mallory", WEB, name="a"), settings(routes="refuse"))
    by_root = mesh_of(routes("istio-system", WEB), settings(routes="refuse"))

    assert leads_to(by_owner, "other", WEB) == LOOT
    assert leads_to(by_root, "other", WEB) == LOOT
    assert [problem.object for problem in told(by_owner, "ForeignHost")] == [parse(routes("mallory", WEB, name="a")).key]
    assert told(by_owner, "Conflict") == []


def test_routes_that_are_for_their_own_namespace_anyway_are_no_problem() -> None:
    mesh = mesh_of(routes("mallory", WEB, exportTo=["."]), settings(routes="refuse"))

    assert leads_to(mesh, "mallory", WEB) == LOOT
    assert told(mesh, "ForeignHost") == []


def test_whole_connections_are_not_taken_either() -> None:
    tcp = [{"route": [{"destination": {"host": "loot.mallory.example"}}]}]
    database = written("Service", "shop", "db", clusterIP="10.9.0.2", ports=[{"name": "tcp", "port": 5432}])
    taking = written("VirtualService", "mallory", "db", hosts=["db.shop.svc.cluster.local"], tcp=tcp)

    for refused, expected in (({}, True), ({"routes": "refuse"}, False)):
        mesh = mesh_of(database, taking, settings(**refused))
        listeners = [
            each.value for each in seen_from(mesh, "other").view.resources("type.googleapis.com/envoy.config.listener.v3.Listener")
        ]
        assert any(b"loot.mallory.example" in value for value in listeners) is expected


def sockets(*more: Written) -> Mesh:
    return mesh_of(entry("mallory", "socket.example", "unix:///var/run/docker.sock", "10.1.1.1"), *more)


def addresses(mesh: Mesh, cluster: str) -> set[str]:
    found = seen_from(mesh, "shop").view.get(EDS, cluster)
    assert found is not None
    assignment = ClusterLoadAssignment.FromString(found.value)
    endpoints = [each.endpoint.address for locality in assignment.endpoints for each in locality.lb_endpoints]
    return {address.pipe.path or address.socket_address.address for address in endpoints}


def test_sockets_are_endpoints_as_in_istio_unless_they_are_refused() -> None:
    assert addresses(sockets(), "outbound|80||socket.example") == {"/var/run/docker.sock", "10.1.1.1"}

    refusing = sockets(settings(sockets="refuse"))

    assert addresses(refusing, "outbound|80||socket.example") == {"10.1.1.1"}
    [problem] = told(refusing, "Unreachable")
    assert (problem.field, problem.object and problem.object.kind) == ("spec.endpoints[0]", "ServiceEntry")
    assert SOCKET_ENDPOINTS in problem.message


def test_an_entry_of_a_workload_that_is_a_socket_is_told_of_too() -> None:
    workload = written("WorkloadEntry", "shop", "w", address="unix:///run/app.sock", labels={"app": "w"})

    assert told(mesh_of(workload), "Unreachable") == []
    assert [each.field for each in told(mesh_of(workload, settings(sockets="refuse")), "Unreachable")] == ["spec.address"]


def test_a_gateway_sends_nobody_to_a_socket_where_that_is_refused() -> None:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"], "defaultEndpoint": "unix:///run/app.sock"}
    gateway = written("Gateway", "mallory", "g", selector={"app": "g"}, servers=[server])
    proxy = proxy_from_node("router~10.0.0.9~g.edge~edge.svc.cluster.local", {"LABELS": {"app": "g"}})

    for refused, clusters, fields in (({}, 1, []), ({"sockets": "refuse"}, 0, ["spec.servers[0].defaultEndpoint"])):
        mesh = mesh_of(gateway, settings(**refused))
        session = mesh.connect(proxy, Variant.DELTA)
        mesh.refresh()
        assert sum(each.name.startswith("inbound|") for each in session.view.resources(CDS)) == clusters
        assert [problem.field for problem in told(mesh, "Unreachable")] == fields


def test_what_is_neither_allow_nor_refuse_is_an_error_and_refuses() -> None:
    document = settings(routes="refused")

    [problem] = parse(document).problems

    assert problem.field == f"metadata.annotations.{FOREIGN_ROUTES}"
    assert leads_to(mesh_of(routes("mallory", WEB), document), "other", WEB) == OWN
