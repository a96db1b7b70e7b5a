"""A change costs what it touches: counted by the engine."""

from __future__ import annotations

import pytest

from controlplane.mesh.access import ext_authz, policies
from controlplane.mesh.destinations import clusters
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.problems import host_conflicts
from controlplane.mesh.registry import attachments, workload_services
from controlplane.mesh.registry import endpoints as workload_endpoints
from controlplane.mesh.routing import virtual_hosts, virtual_services
from controlplane.mesh.sidecar import inbound
from controlplane.model.proxies import proxy_from_node
from controlplane.xds.stream import Variant
from tests.bench.recompute import RunsOfEdits, change, runs_of, runs_of_change
from tests.bench.recompute import mesh as mesh_of
from tests.bench.workload import Size, endpoints, route, service

SIZE = Size(proxies=40, namespaces=20, services=1000, endpoints=10, routes=1000)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return mesh_of(SIZE)


def test_one_endpoint_among_1000_services_recomputes_its_own_resource_alone(mesh: Mesh) -> None:
    ran = runs_of_change(mesh, change(endpoints(7, SIZE, moved=1)))

    assert ran.keys() <= {
        query.name for query in (workload_endpoints.endpoints, clusters.endpoint_assignment, workload_services.named_port)
    }
    assert ran[clusters.endpoint_assignment.name] == 1
    assert ran[workload_endpoints.endpoints.name] == 1


def test_one_endpoint_changes_one_resource_in_every_table(mesh: Mesh) -> None:
    mesh.apply([change(endpoints(7, SIZE, moved=2))])

    published = mesh.refresh()

    changed = {name for _, each in published.changes for names in each.updated.values() for name in names}
    assert changed == {"outbound|8080||s7.ns7.svc.cluster.local"}
    assert len(published.changes) == SIZE.namespaces
    assert not any(each.removed for _, each in published.changes)


def test_one_virtual_service_recomputes_its_virtual_host_once_for_all_who_see_the_same(mesh: Mesh) -> None:
    ran = runs_of_change(mesh, change(route(7, SIZE, timeout_s=20)))

    assert ran[virtual_services.rules_of_virtual_service.name] == 1
    assert ran[virtual_hosts.virtual_host_body.name] == 1  # the routes of the virtual host, of one in 1,000
    assert ran[virtual_hosts.virtual_host_resource.name] == 2  # in its own namespace it has a short name too
    assert sum(ran.values()) < 10


def test_what_is_new_costs_the_same_in_a_mesh_four_times_as_large() -> None:
    small, large = (Size(proxies=12, namespaces=4, services=number, endpoints=2, routes=number // 4) for number in (300, 1200))
    smaller, larger = (RunsOfEdits.of(mesh_of(size), size) for size in (small, large))

    assert larger.beyond(smaller) == []
    assert larger.total("new_namespace") < 150
    assert all(larger.total(name) < 40 for name in larger.runs if name != "new_namespace")


def policy(path: str, selector: dict[str, object] | None = None) -> dict[str, object]:
    """Return an AuthorizationPolicy of namespace ``ns7``."""
    spec = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": [path]}}]}], **({"selector": selector} if selector else {})}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "one", "namespace": "ns7"},
        "spec": spec,
    }


def test_one_policy_recomputes_the_listeners_of_the_workloads_that_see_it_alone(mesh: Mesh) -> None:
    selected: dict[str, object] = {"matchLabels": {"app": "p7"}}
    added = runs_of_change(mesh, change(policy("/a", selected)))
    changed = runs_of_change(mesh, change(policy("/b", selected)))
    widened = runs_of_change(mesh, change(policy("/b")))

    of_policy = {
        query.name: 1 for query in (attachments.policy_attachment, ext_authz.provider_name, policies.access_of, policies.inbound_filters)
    }
    of_workload = {policies.effective_policies.name: 2, inbound.inbound_parts.name: 1, policies.external_authorizers.name: 1}
    assert added == {inbound.virtual_inbound.name: 1, **of_policy, **of_workload}
    assert changed == {inbound.virtual_inbound.name: 1, **of_policy}
    assert widened[inbound.inbound_parts.name] == 1  # the other one of the namespace, which serves the same now and shares its listener
    assert widened[inbound.virtual_inbound.name] == 0


def test_a_change_of_nothing_runs_nothing(mesh: Mesh) -> None:
    changed = mesh.apply([change(endpoints(11, SIZE))])

    ran = runs_of(mesh, mesh.refresh)

    assert not changed
    assert not ran


def test_a_node_that_stays_where_it_is_costs_one_look_and_one_that_moves_what_runs_there() -> None:
    made = Mesh()
    metadata, spec = {"name": "p", "namespace": "ns1"}, {"nodeName": "n"}
    pod: dict[str, object] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    on_it = endpoints(1, SIZE)
    on_it["endpoints"] = [{"addresses": [f"10.0.0.{last}"], "targetRef": {"kind": "Pod", "name": "p"}} for last in (1, 2)]
    made.apply([change(each) for each in (service(1, SIZE), service(2, SIZE), endpoints(2, SIZE), on_it, pod, node("a", gpu="no"))])
    made.connect(proxy_from_node("sidecar~10.0.0.1~a.ns1~ns1.svc.cluster.local", {}), Variant.SOTW)
    made.refresh()

    assert runs_of_change(made, change(node("a", gpu="yes"))) == {workload_endpoints.node_locality.name: 1}

    ran = runs_of_change(made, change(node("b", gpu="yes")))
    ran_once = (
        workload_endpoints.node_locality,
        workload_endpoints.workload_instance,
        workload_endpoints.endpoints,
        clusters.endpoint_assignment,
    )
    assert [ran[query.name] for query in ran_once] == [1, 1, 1, 1]


def node(zone: str, **labels: str) -> dict[str, object]:
    """Return the node ``n``."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": zone, **labels}}}


def test_what_nobody_sees_any_more_is_forgotten() -> None:
    made = Mesh()
    made.apply([change(service(1, SIZE)), change(endpoints(1, SIZE))])
    session = made.connect(proxy_from_node("sidecar~10.0.0.1~a.ns1~ns1.svc.cluster.local", {}), Variant.SOTW)
    made.refresh()

    made.disconnect(session)
    made.refresh()

    assert made.database.runs[clusters.outbound_cluster.name] == 1
    with pytest.raises(LookupError):
        made.database.peek(clusters.black_hole_cluster)


def wide(hosts: int, status: int) -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "wide", "namespace": "ns1"},
        "spec": {"hosts": [f"h{number}.example" for number in range(hosts)], "http": [{"directResponse": {"status": status}}]},
    }


@pytest.mark.parametrize("variant", Variant)
def test_the_routes_of_a_virtual_service_are_made_once_for_all_its_hosts(variant: Variant) -> None:
    mesh = Mesh()
    mesh.connect(proxy_from_node("sidecar~10.0.0.1~p.ns1~ns1.svc.cluster.local", {}), variant)
    mesh.apply([change(service(1, SIZE)), change(wide(50, 200))])
    mesh.refresh()
    ran = runs_of_change(mesh, change(wide(50, 201)))

    assert ran[virtual_hosts.virtual_host_body.name] >= 50
    assert ran[virtual_services.routes_of_virtual_service.name] * 50 == ran[virtual_hosts.virtual_host_body.name]
    assert ran[virtual_services.rules_of_virtual_service.name] == ran[virtual_services.routes_of_virtual_service.name]


def test_what_is_wrong_with_many_virtual_services_for_one_host_is_found_by_looking_at_each_once() -> None:
    mesh = Mesh()
    rivals = [{**wide(1, 200), "metadata": {"name": f"v{number:03}", "namespace": "ns1"}} for number in range(100)]
    mesh.apply([change(rival) for rival in rivals])

    ran = runs_of(mesh, mesh.problems)

    assert [problem.code for problem in mesh.problems()] == ["Conflict"] * 100
    assert ran[virtual_services.virtual_services_for.name] == ran[host_conflicts.host_rivals.name] == 1
