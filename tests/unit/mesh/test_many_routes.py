"""A VirtualService has a bound of hosts times matches, however little of it is written."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import VHDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.routing.delegates import http_routes
from controlplane.mesh.routing.virtual_services import routes_of_part, rules_of_part
from controlplane.model.keys import VIRTUAL_SERVICE
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.networking.rules.virtual_service import MAX_ROUTES
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

HOSTS, ROUTES = 200, 500


def virtual_service(name: str, hosts: int, http: list[dict[str, object]]) -> dict[str, object]:
    spec: dict[str, object] = {"http": http}
    if hosts:
        spec["hosts"] = [f"h{number}.example" for number in range(hosts)]
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name, "namespace": "a"}, "spec": spec}


def answers(count: int) -> list[dict[str, object]]:
    return [{"match": [{"uri": {"exact": f"/{number}"}}], "directResponse": {"status": 200}} for number in range(count)]


def test_a_virtual_service_beyond_the_bound_is_refused_by_its_field() -> None:
    assert HOSTS * ROUTES == MAX_ROUTES
    assert not parse(virtual_service("a", HOSTS, answers(ROUTES))).problems

    [problem] = parse(virtual_service("a", HOSTS + 1, answers(ROUTES))).problems

    assert (problem.code, problem.field) == ("OutOfRange", "spec.http")


def test_delegates_do_not_lift_the_bound() -> None:
    mesh = Mesh()
    # Each delegation has a path of its own, and so the routes of the delegate once more.
    root: list[dict[str, object]] = [{"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "part"}} for _ in range(4)]
    mesh.apply([change(virtual_service("root", HOSTS, root)), change(virtual_service("part", 0, answers(ROUTES // 2)))])

    assert [problem.code for problem in mesh.problems() if problem.code == "TooManyRoutes"] == ["TooManyRoutes"]
    assert len(http_routes(mesh.database, VIRTUAL_SERVICE.key("a", "root"))) == ROUTES


def test_many_routes_of_one_host_are_worked_out_in_parts_and_keep_their_order() -> None:
    mesh = Mesh()
    everything: list[dict[str, object]] = [{"directResponse": {"status": 404}}]
    service = {"hosts": ["h0.example"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "DNS"}
    entry: dict[str, object] = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "h0", "namespace": "a"},
        "spec": service,
    }
    mesh.apply([change(entry), change(virtual_service("many", 1, [*answers(ROUTES), *everything, *answers(ROUTES)]))])
    session = mesh.connect(proxy_from_node("sidecar~10.0.0.1~c.a~a.svc.cluster.local", {}), Variant.DELTA)

    mesh.refresh()

    [host] = [VirtualHost.FromString(each.value) for each in session.view.resources(VHDS)]
    assert [route.match.path for route in host.routes] == [*(f"/{number}" for number in range(ROUTES)), ""]
    # Between two of these the event loop has its turn; what comes behind a route that takes everything is not worked out.
    parts = (ROUTES + 1) // 100 + 1
    assert (mesh.database.runs[rules_of_part.name], mesh.database.runs[routes_of_part.name]) == (parts, parts)
