"""What depends on the version of an Envoy: how virtual hosts come to it, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

SIDECAR = proxy_from_node("sidecar~10.0.0.1~c.a~a.svc.cluster.local", {})
GATEWAY = proxy_from_node("router~10.0.0.2~g.a~a.svc.cluster.local", {"LABELS": {"app": "g"}})
V36, V37, V40 = EnvoyVersion(1, 36, 4), EnvoyVersion(1, 37, 0), EnvoyVersion(1, 40, 0)
PORT = {"number": 80, "name": "http", "protocol": "HTTP"}
OBJECTS = (
    ("ServiceEntry", "one", {"hosts": ["one.example"], "ports": [PORT], "resolution": "DNS"}),
    ("Gateway", "g", {"selector": {"app": "g"}, "servers": [{"port": PORT, "hosts": ["*"]}]}),
    ("VirtualService", "two", {"hosts": ["two.example"], "gateways": ["g"], "http": [{"directResponse": {"status": 200}}]}),
)
KINDS = pytest.mark.parametrize(("proxy", "host"), [(SIDECAR, "80/one.example:80"), (GATEWAY, "http.80/two.example:80")])


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh()
    made.apply(
        change({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "a"}, "spec": spec})
        for kind, name, spec in OBJECTS
    )
    return made


@KINDS
def test_an_envoy_that_refuses_vhds_has_its_hosts_inline_on_delta(mesh: Mesh, proxy: Proxy, host: str) -> None:
    old, sotw = mesh.connect(replace(proxy, envoy=V36), Variant.DELTA), mesh.connect(proxy, Variant.SOTW)
    mesh.refresh()

    table, _, name = host.partition("/")
    routes = old.view.get(RDS, table)
    assert routes is not None
    found = RouteConfiguration.FromString(routes.value)
    assert name in [each.name for each in found.virtual_hosts]
    assert not found.HasField("vhds")
    assert not list(old.view.resources(VHDS))
    assert old.view.tables == sotw.view.tables


@KINDS
def test_all_others_have_them_alone_and_share_them(mesh: Mesh, proxy: Proxy, host: str) -> None:
    sessions = [mesh.connect(replace(proxy, envoy=version), Variant.DELTA) for version in (V37, V40, None)]
    mesh.refresh()

    assert sessions[0].view.get(VHDS, host) is not None
    assert len({session.view.tables for session in sessions}) == 1
