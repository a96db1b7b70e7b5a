"""Which port of a workload a port of a service is, and where a port that there is not leads."""

from __future__ import annotations

import pytest

from tests.support.sidecar_view import HTTP_80, REAL, clusters_by_domain, endpoints, entry, names, problems, route, world


def test_of_a_number_for_tcp_and_udp_the_one_for_tcp_counts() -> None:
    dns = """
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: default}
spec:
  clusterIP: 10.40.0.3
  selector: {app: dns}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: 5353}, {name: http-dns, port: 53, targetPort: web}]
---
apiVersion: v1
kind: Pod
metadata: {name: dns-0, namespace: default, labels: {app: dns}}
spec: {containers: [{ports: [{name: web, containerPort: 8053}]}]}
status: {podIP: 10.50.0.1}
---
"""

    seen = world(dns)

    assert endpoints(seen, "outbound|53||dns.default.svc.cluster.local") == ["10.50.0.1:8053"]
    assert clusters_by_domain(seen, "53")["dns"] == "outbound|53||dns.default.svc.cluster.local"


MIXED = """
apiVersion: v1
kind: Service
metadata: {name: mixed, namespace: default}
spec:
  clusterIP: 10.40.0.11
  selector: {run: mixed}
  ports: [{name: http, port: 80, targetPort: web}, {name: grpc, port: 90, targetPort: 9999}]
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: default, labels: {run: mixed}}
spec: {containers: [{ports: [{name: web, containerPort: 7777}]}]}
status: {podIP: 10.50.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: new, namespace: default, labels: {run: mixed}}
spec: {containers: [{ports: [{name: web, containerPort: 8888}]}]}
status: {podIP: 10.50.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: none, namespace: default, labels: {run: mixed}}
spec: {containers: [{}]}
status: {podIP: 10.50.0.3}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm1, namespace: default}
spec: {address: 10.70.0.1, labels: {run: mixed}, ports: {web: 8001, grpc: 9001}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm2, namespace: default}
spec: {address: 10.70.0.2, labels: {run: mixed}}
---
"""


def test_a_named_target_port_is_each_workload_s_own() -> None:
    seen = world(MIXED)

    assert endpoints(seen, "outbound|80||mixed.default.svc.cluster.local") == ["10.50.0.1:7777", "10.50.0.2:8888", "10.70.0.1:8001"]
    assert endpoints(seen, "outbound|90||mixed.default.svc.cluster.local") == [
        *("10.50.0.1:9999", "10.50.0.2:9999", "10.50.0.3:9999", "10.70.0.1:9001", "10.70.0.2:9999"),
    ]


@pytest.mark.parametrize(
    ("ip", "ports"),
    [("10.50.0.1", {7777, 9999}), ("10.50.0.2", {8888, 9999}), ("10.50.0.3", {9999}), ("10.70.0.1", {8001, 9001}), ("10.70.0.2", {9999})],
)
def test_a_workload_serves_its_own_port_of_that_name(ip: str, ports: set[int]) -> None:
    slices = "".join(
        f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: mixed-{number}, namespace: default, labels: {{kubernetes.io/service-name: mixed}}}}
addressType: IPv4
ports: [{{name: http, port: {number}}}, {{name: grpc, port: 9999}}]
endpoints: [{{addresses: [{address}]}}]
---
"""
        for number, address in ((7777, "10.50.0.1"), (8888, "10.50.0.2"))
    )

    for manifests in (MIXED, MIXED + slices):
        seen = world(manifests, ip=ip, run="mixed")
        assert {name for name in names(seen, "clusters") if name.startswith("inbound|")} == {f"inbound|{port}||" for port in ports}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("resolution: STATIC, endpoints: [{address: 10.1.1.1}]", ["10.1.1.1:80"]),
        ("resolution: DNS, endpoints: [{address: a.example}]", ["a.example:80"]),
        ("resolution: STATIC, workloadSelector: {labels: {run: mixed}}, location: MESH_INTERNAL", ["10.70.0.1:80", "10.70.0.2:80"]),
    ],
)
def test_a_wildcard_with_endpoints_has_its_cluster(more: str, expected: list[str]) -> None:
    vms = "\n---\n".join(each for each in MIXED.split("\n---\n") if "WorkloadEntry" in each) + "\n---\n"

    seen = world(vms + entry("wild", "*.wild.example", HTTP_80, more))

    assert clusters_by_domain(seen, "80")["*.wild.example"] == "outbound|80||*.wild.example"
    assert endpoints(seen, "outbound|80||*.wild.example") == expected


def test_a_port_that_a_service_lacks_leads_nowhere_and_is_told() -> None:
    udp = """
apiVersion: v1
kind: Service
metadata: {name: udp, namespace: default}
spec: {clusterIP: 10.40.0.4, ports: [{name: dns, port: 53, protocol: UDP}]}
---
"""
    seen = world(
        REAL
        + udp
        + route("lacks", "[lacks.example]", "{host: real.shop.svc.cluster.local, port: {number: 8080}}")
        + route("udp", "[udp.example]", "{host: udp, port: {number: 53}}")
    )

    domains = clusters_by_domain(seen, "80")
    assert domains["lacks.example"] == domains["udp.example"] == "BlackHoleCluster"
    assert problems(seen) == [
        ("VirtualService/default/lacks", "spec.http[0].route[0].destination.port", "UnknownPort"),
        ("VirtualService/default/udp", "spec.http[0].route[0].destination.port", "UnknownPort"),
    ]
