"""Who is to blame for what an Envoy refuses."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, RDS, SDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

SIDECAR = proxy_from_node("sidecar~127.0.0.1~c.d~d.svc.cluster.local", {})
ROUTER = proxy_from_node("router~127.0.0.1~g-1.d~d.svc.cluster.local", {"LABELS": {"app": "g"}})


def given(mesh: Mesh, kind: str, name: str, **spec: object) -> None:
    written = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "d"}, "spec": spec}
    parsed = parse(written)
    assert parsed.key is not None
    mesh.apply(split([Change(parsed.key, parsed.object)])[0])


def routed(mesh: Mesh, name: str, prefix: str) -> None:
    given(mesh, "ServiceEntry", name, hosts=[f"{name}.example"], ports=[{"number": 80, "name": "p", "protocol": "HTTP"}], resolution="DNS")
    http = [{"match": [{"uri": {"prefix": prefix}}], "route": [{"destination": {"host": f"{name}.example"}}]}]
    given(mesh, "VirtualService", name, hosts=[f"{name}.example"], http=http)


def at_fault(mesh: Mesh, type_url: str, name: str, message: str, proxy: Proxy = SIDECAR) -> set[tuple[str, str]]:
    session = mesh.connect(proxy, Variant.SOTW)
    mesh.refresh()
    return {(str(key), field) for key, field in mesh.fields_at_fault(session, type_url, name, message)}


def test_a_secret_leads_to_the_gateways_of_the_proxy_that_name_it() -> None:
    mesh = Mesh()
    tls = {"mode": "SIMPLE", "credentialName": "a"}
    servers = [{"port": {"number": 443, "name": "s", "protocol": "HTTPS"}, "hosts": ["*"], "tls": tls}]
    for name in ("g", "other"):  # the same name is another Secret to another namespace's proxies
        given(mesh, "Gateway", name, selector={"app": name}, servers=servers)

    found = at_fault(mesh, SDS, "kubernetes://a", "no", ROUTER)

    assert found == {("Gateway/d/g", "spec.servers[0].tls.credentialName")}


def test_a_secret_leads_to_the_rules_of_clusters_that_the_proxy_sees() -> None:
    mesh = Mesh()
    for name in ("one", "two"):
        routed(mesh, name, "/")
        tls = {"mode": "MUTUAL", "credentialName": "a"}
        selector = {} if name == "one" else {"workloadSelector": {"matchLabels": {"app": "somebody-else"}}}
        given(mesh, "DestinationRule", name, host=f"{name}.example", trafficPolicy={"tls": tls}, **selector)

    found = at_fault(mesh, SDS, "kubernetes://a", "no")

    assert found == {("DestinationRule/d/one", "spec.trafficPolicy.tls.credentialName")}


def test_of_a_whole_table_what_has_changed_last_is_to_blame() -> None:
    mesh = Mesh()
    for name in ("one", "two", "three"):
        routed(mesh, name, f"/{name}")
    routed(mesh, "two", "/changed")

    found = at_fault(mesh, RDS, "80", "no such thing")

    assert found == {("VirtualService/d/two", "spec.http")}


def test_who_has_written_what_the_proxy_quotes_is_to_blame_though_others_have_changed_since() -> None:
    mesh = Mesh()
    for name in ("one", "two"):
        routed(mesh, name, f"/{name}/prefix")

    found = at_fault(mesh, RDS, "80", "I do not like '/one/prefix'")

    assert found == {("VirtualService/d/one", "spec.http[0].match[0].uri.prefix")}


def test_a_cluster_that_nobody_has_a_rule_for_leads_to_its_service() -> None:
    mesh = Mesh()
    routed(mesh, "one", "/one")

    found = at_fault(mesh, CDS, "outbound|80||one.example", "no")

    assert found == {("ServiceEntry/d/one", "spec.ports")}


def test_what_was_made_from_no_object_is_the_fault_of_none() -> None:
    mesh = Mesh()

    found = at_fault(mesh, CDS, "BlackHoleCluster", "no")

    assert found == set()


def test_a_virtual_host_within_a_table_leads_to_who_has_written_its_routes_whatever_changed_since() -> None:
    mesh = Mesh()
    for name in ("one", "two"):
        routed(mesh, name, f"/{name}")

    found = at_fault(mesh, RDS, "80/one.example:80", "no such thing")

    assert found == {("VirtualService/d/one", "spec.http")}
