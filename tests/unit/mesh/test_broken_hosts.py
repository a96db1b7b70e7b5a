"""A host whose routes cannot be worked out leaves the others of its table alone, on SotW and on Delta, in sidecars and gateways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.ir.actions import Forward
from controlplane.ir.rules import HttpRule
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.routing import virtual_services
from controlplane.mesh.routing.istio_routes import Destinations, http_rules
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, HTTPRoute
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

SIDECAR = proxy_from_node("sidecar~127.0.0.1~c.d~d.svc.cluster.local", {})
GATEWAY = proxy_from_node("router~127.0.0.1~g.d~d.svc.cluster.local", {"LABELS": {"app": "g"}})
ROUTE: dict[str, object] = {"directResponse": {"status": 200}}


def rules_or_failure(
    route: HTTPRoute, matches: Sequence[HTTPMatchRequest], destinations: Destinations, *, faults_at_callee: bool
) -> Iterator[HttpRule]:
    """Fail for a route of the name ``broken``, as a mistake of ours would."""
    if route.name == "broken":
        raise AssertionError("a mistake")
    return http_rules(route, matches, destinations, faults_at_callee=faults_at_callee)


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Mesh:
    monkeypatch.setattr(virtual_services, "http_rules", rules_or_failure)
    made = Mesh()
    given(made, "VirtualService", "good", hosts=["good.example"], gateways=["mesh", "g"], http=[ROUTE])
    given(made, "VirtualService", "bad", hosts=["bad.example"], gateways=["mesh", "g"], http=[{**ROUTE, "name": "broken"}])
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    given(made, "Gateway", "g", selector={"app": "g"}, servers=servers)
    given(made, "ServiceEntry", "s", hosts=["s.example"], ports=[{"number": 80, "name": "http", "protocol": "HTTP"}], resolution="DNS")
    return made


def given(mesh: Mesh, kind: str, name: str, **spec: object) -> None:
    written = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "d"}, "spec": spec}
    parsed = parse(written)
    assert parsed.key is not None
    mesh.apply(split([Change(parsed.key, parsed.object)])[0])


def statuses(session: Session) -> Mapping[str, int]:
    """Return what the hosts that ``session`` has answer, as far as these answer themselves."""
    found = [VirtualHost.FromString(each.value) for each in session.view.resources(VHDS)]
    for each in session.view.resources(RDS):
        found += RouteConfiguration.FromString(each.value).virtual_hosts
    return {host.domains[0]: host.routes[0].direct_response.status for host in found if host.routes[0].HasField("direct_response")}


@pytest.mark.parametrize("proxy", [SIDECAR, GATEWAY], ids=["sidecar", "gateway"])
def test_the_others_of_a_table_go_on(mesh: Mesh, proxy: Proxy) -> None:
    sotw, delta = (mesh.connect(proxy, variant) for variant in (Variant.SOTW, Variant.DELTA))

    published = mesh.refresh()

    assert published.failed
    assert statuses(sotw) == statuses(delta) == {"good.example": 200, "bad.example": 503}


@pytest.mark.parametrize("variant", Variant)
def test_what_is_mended_is_served_and_on_delta_what_was_served_stays(mesh: Mesh, variant: Variant) -> None:
    session = mesh.connect(SIDECAR, variant)
    mesh.refresh()

    given(mesh, "VirtualService", "bad", hosts=["bad.example"], http=[ROUTE])
    mesh.refresh()
    mended = statuses(session)
    given(mesh, "VirtualService", "bad", hosts=["bad.example"], http=[{**ROUTE, "name": "broken"}])
    mesh.refresh()

    assert mended == {"good.example": 200, "bad.example": 200}
    assert statuses(session) == {"good.example": 200, "bad.example": 200 if variant is Variant.DELTA else 503}


def test_a_rule_that_forwards_nowhere_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one backend"):
        Forward(backends=())
