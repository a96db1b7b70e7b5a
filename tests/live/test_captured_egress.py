"""Traffic leaves the mesh through a gateway: by the server name of TLS, within mutual TLS, and by address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.model.proxies import ProxyType
from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import outside

ELSEWHERE, FAR = "10.77.1.9", "10.77.1.20"
ENTRIES = (
    outside("far.example", 443, "TLS", FAR),
    outside("sealed.example", 443, "TLS", FAR),
    outside("plain.example", 27018, "TCP", FAR, addresses=["10.77.9.7"]),
)
EGRESS = """
apiVersion: v1
kind: Service
metadata: {name: egress, namespace: istio-egress}
spec:
  clusterIP: 10.77.9.5
  selector: {app: egress}
  ports: [{name: tls, port: 443, targetPort: 8443}, {name: tls-sealed, port: 8444}, {name: tcp, port: 7018}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: istio-egress}
spec:
  selector: {app: egress}
  servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [far.example], tls: {mode: PASSTHROUGH}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: other, namespace: istio-egress}
spec:
  selector: {app: egress}
  servers:
  - {port: {number: 8444, name: tls-sealed, protocol: TLS}, hosts: [sealed.example], tls: {mode: ISTIO_MUTUAL}}
  - {port: {number: 7018, name: tcp, protocol: TCP}, hosts: [plain.example]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egress}
spec:
  host: egress.istio-egress.svc.cluster.local
  subsets:
  - name: sealed
    trafficPolicy: {portLevelSettings: [{port: {number: 8444}, tls: {mode: ISTIO_MUTUAL, sni: sealed.example}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: sealed}
spec:
  hosts: [sealed.example]
  gateways: [mesh, istio-egress/other]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [sealed.example]}]
    route: [{destination: {host: egress.istio-egress.svc.cluster.local, subset: sealed, port: {number: 8444}}}]
  tcp:
  - match: [{gateways: [istio-egress/other], port: 8444}]
    route: [{destination: {host: sealed.example, port: {number: 443}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: plain}
spec:
  hosts: [plain.example]
  gateways: [mesh, istio-egress/other]
  tcp:
  - match: [{gateways: [mesh], port: 27018}]
    route: [{destination: {host: egress.istio-egress.svc.cluster.local, port: {number: 7018}}}]
  - match: [{gateways: [istio-egress/other], port: 7018}]
    route: [{destination: {host: plain.example, port: {number: 27018}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far}
spec:
  hosts: [far.example]
  gateways: [mesh, istio-egress/egress]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [far.example]}]
    route: [{destination: {host: egress.istio-egress.svc.cluster.local, port: {number: 443}}}]
  - match: [{gateways: [istio-egress/egress], port: 443, sniHosts: [far.example]}]
    route: [{destination: {host: far.example, port: {number: 443}}}]
"""
SERVERS = (
    Server("far", FAR, 443, names=("far.example",)),
    Server("far-plain", FAR, 27018),
    Server("elsewhere", ELSEWHERE, 443, names=("elsewhere.example",)),
)
WORKLOADS = (Workload(app="client"), Workload(app="egress", namespace="istio-egress", type=ProxyType.ROUTER))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("egress"), "\n---\n".join((*ENTRIES, EGRESS)), WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted_and_nothing_is_in_vain(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []
    assert mesh.problems() == []


def test_a_name_that_has_no_rule_does_not_come_to_the_gateway(mesh: CapturedMesh) -> None:
    answer = mesh["client"].tls(ELSEWHERE, 443, "nobody.example")

    assert (answer.who, answer.source) == ("elsewhere", mesh["client"].ip)


def test_a_server_name_leads_through_the_egress_gateway_to_the_real_host(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        answers = [mesh["client"].tls(ELSEWHERE, 443, "far.example") for _ in range(5)]

    assert arrived == {"far": 5}
    assert {(each.who, each.name, each.source) for each in answers} == {("far", "far.example", mesh["egress"].ip)}


def test_it_leads_there_within_mutual_tls_where_the_rule_says_so(mesh: CapturedMesh) -> None:
    before = mesh["egress"].stat("outbound|443||sealed.example")

    with mesh.counted() as arrived:
        answers = [mesh["client"].tls(ELSEWHERE, 443, "sealed.example") for _ in range(5)]

    assert arrived == {"far": 5}
    assert {(each.who, each.name, each.source) for each in answers} == {("far", "sealed.example", mesh["egress"].ip)}
    assert mesh["egress"].stat("outbound|443||sealed.example") == before + 5


def test_an_address_leads_through_the_egress_gateway_too(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        answers = [mesh["client"].tcp("10.77.9.7", 27018) for _ in range(5)]

    assert arrived == {"far-plain": 5}
    assert {(each.who, each.source) for each in answers} == {("far-plain", mesh["egress"].ip)}
