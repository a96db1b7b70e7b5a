"""The instance that a client has chosen is the one that answers: headless Services and StatefulSets, by address and by name of the pod."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.waiting import wait_until

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}, {name: http, port: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-a, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: tcp, port: 5432}, {name: http, port: 8080}]
endpoints:
- {addresses: [<db-0>], hostname: db-0, targetRef: {kind: Pod, name: db-0, namespace: default}}
- {addresses: [<db-1>], hostname: db-1, targetRef: {kind: Pod, name: db-1, namespace: default}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: db}
spec: {selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: None, ports: [{name: tcp, port: 5432}, {name: http, port: 8080}, {name: mysql, port: 3306}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: plain-a, labels: {kubernetes.io/service-name: plain}}
addressType: IPv4
ports: [{name: tcp, port: 5432}, {name: http, port: 8080}, {name: mysql, port: 3306}]
endpoints: [{addresses: [10.77.4.1], hostname: plain-0}, {addresses: [10.77.4.2], hostname: plain-1}]
---
apiVersion: v1
kind: Service
metadata: {name: changing}
spec: {clusterIP: None, ports: [{name: tcp, port: 5434}]}
---
apiVersion: v1
kind: Service
metadata: {name: mixed}
spec: {clusterIP: None, ports: [{name: tcp, port: 5433}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: mixed-a, labels: {kubernetes.io/service-name: mixed}}
addressType: IPv4
ports: [{name: tcp, port: 5433}]
endpoints: [{addresses: [<db-0>], targetRef: {kind: Pod, name: db-0, namespace: default}}, {addresses: [10.77.4.1]}]
---
apiVersion: v1
kind: Service
metadata: {name: unnamed}
spec: {clusterIP: None, ports: [{port: 7000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: unnamed-a, labels: {kubernetes.io/service-name: unnamed}}
addressType: IPv4
ports: [{port: 7000}]
endpoints:
- {addresses: [<db-0>], targetRef: {kind: Pod, name: db-0, namespace: default}}
- {addresses: [<db-1>], targetRef: {kind: Pod, name: db-1, namespace: default}}
- {addresses: [10.77.4.1]}
- {addresses: [10.77.4.2]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger}
spec: {clusterIP: 10.77.9.30, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: ledger.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: alias-with-ports}
spec: {type: ExternalName, externalName: ledger.default.svc.cluster.local, ports: [{name: http, port: 8080}]}
"""
CHANGING = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: changing-a, labels: {kubernetes.io/service-name: changing}}
addressType: IPv4
ports: [{name: tcp, port: 5434}]
endpoints: %s
"""
PLAIN = {"plain-0": "10.77.4.1", "plain-1": "10.77.4.2"}
SERVERS = (
    *(Server(pod, pod, port) for pod in ("db-0", "db-1") for port in (5432, 7000)),
    *(Server(pod, pod, 8080, "http") for pod in ("db-0", "db-1")),
    Server("db-0", "db-0", 5433),
    *(Server(who, ip, port) for who, ip in PLAIN.items() for port in (5432, 5433, 5434, 3306)),
    *(Server(who, ip, port, "http") for who, ip in PLAIN.items() for port in (8080, 7000)),
)
WORKLOADS = (Workload(app="client"), Workload(app="db", name="db-0"), Workload(app="db", name="db-1"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("headless"), MANIFESTS, WORKLOADS, SERVERS) as made:
        yield made


def addresses(mesh: CapturedMesh) -> dict[str, str]:
    """Return the addresses of all instances: those with a sidecar, which takes mutual TLS alone, and those without."""
    return {**{name: mesh[name].ip for name in ("db-0", "db-1")}, **PLAIN}


def test_everything_is_accepted_and_nothing_is_in_vain(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []
    assert mesh.problems() == []


def test_a_connection_goes_to_the_instance_whose_address_was_asked_for(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        seen = {who: {mesh["client"].tcp(ip, 5432).who for _ in range(6)} for who, ip in addresses(mesh).items()}

    assert seen == {who: {who} for who in seen}
    assert arrived == dict.fromkeys(seen, 6)


def test_instances_reach_each_other_and_themselves(mesh: CapturedMesh) -> None:
    pods = ("db-0", "db-1")

    seen = {(pod, peer): {mesh[pod].tcp(mesh[peer].ip, 5432).who for _ in range(4)} for pod in pods for peer in pods}

    assert seen == {(pod, peer): {peer} for pod, peer in seen}


def test_instances_with_a_sidecar_got_them_by_mutual_tls(mesh: CapturedMesh) -> None:
    assert mesh.outside.tcp(mesh["db-0"].ip, 5432).error
    assert mesh.outside.http(mesh["db-0"].ip, 8080).who == ""
    assert mesh["client"].tcp(mesh["db-0"].ip, 5432).source == "127.0.0.6"
    assert mesh["client"].tcp(PLAIN["plain-0"], 5432).source == mesh["client"].ip


@pytest.mark.parametrize("service", ["db", "plain"])
@pytest.mark.parametrize("domain", ["", ".default", ".default.svc", ".default.svc.cluster.local"])
def test_a_request_by_the_name_of_a_pod_is_answered_by_that_pod(mesh: CapturedMesh, service: str, domain: str) -> None:
    pods = [f"{service}-0", f"{service}-1"]

    with mesh.counted() as arrived:
        for pod in pods:
            name = f"{pod}.{service}{domain}"
            asked = [mesh["client"].http(addresses(mesh)[pod], 8080, authority) for authority in (name, f"{name}:8080") * 2]
            assert {(each.status, each.who) for each in asked} == {(200, pod)}

    assert arrived == dict.fromkeys(pods, 4)


def test_a_request_by_an_address_or_by_the_name_of_all_goes_to_the_instance_whose_address_was_asked_for(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        for pod, ip in addresses(mesh).items():
            service = pod.partition("-")[0]
            for authority in (ip, f"{ip}:8080", service, f"{service}.default:8080", f"{service}.default.svc.cluster.local"):
                asked = [mesh["client"].http(ip, 8080, authority) for _ in range(3)]
                assert {(each.status, each.who) for each in asked} == {(200, pod)}, authority

    assert arrived == dict.fromkeys(addresses(mesh), 15)


def test_instances_of_one_service_are_each_reached_as_they_can_be(mesh: CapturedMesh) -> None:
    by = {"db-0": mesh["db-0"].ip, "plain-0": PLAIN["plain-0"]}

    with mesh.counted() as arrived:
        for ip in by.values():
            for _ in range(4):
                mesh["client"].tcp(ip, 5433)

    assert arrived == dict.fromkeys(by, 4)


def test_a_port_without_a_name_keeps_the_instance_whatever_is_spoken(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        by_tcp = {pod: {mesh["client"].tcp(mesh[pod].ip, 7000).who for _ in range(4)} for pod in ("db-0", "db-1")}
        by_http = {pod: {mesh["client"].http(ip, 7000, "unnamed:7000").who for _ in range(4)} for pod, ip in PLAIN.items()}

    assert by_tcp == {pod: {pod} for pod in by_tcp}
    assert by_http == {pod: {pod} for pod in by_http}
    assert arrived == dict.fromkeys((*by_tcp, *by_http), 4)


def test_a_protocol_in_which_the_server_begins_is_not_waited_for(mesh: CapturedMesh) -> None:
    assert mesh["client"].tcp(PLAIN["plain-1"], 3306, first="").who == "plain-1"


def test_an_address_beside_those_of_the_instances_passes(mesh: CapturedMesh) -> None:
    assert mesh["client"].tcp(PLAIN["plain-1"], 5433).who == "plain-1"  # it is none of the Service's on this port


@pytest.mark.parametrize("name", ["alias", "alias-with-ports", "ledger"])
def test_another_name_of_a_service_has_its_mutual_tls(mesh: CapturedMesh, name: str) -> None:
    before = mesh["client"].stat("outbound|8080||ledger.default.svc.cluster.local", "upstream_rq_total")

    asked = [mesh["client"].http("10.77.9.30", 8080, authority) for authority in (name, f"{name}.default.svc.cluster.local:8080")]

    assert {each.status for each in asked} == {200}
    assert {each.who for each in asked} <= {"db-0", "db-1"}
    assert mesh["client"].stat("outbound|8080||ledger.default.svc.cluster.local", "upstream_rq_total") == before + 2


def test_instances_come_and_go_while_connections_to_others_last(mesh: CapturedMesh) -> None:
    cluster = "outbound|5434||changing.default.svc.cluster.local"

    def have(*pods: str) -> None:
        mesh.save("changing", CHANGING % json.dumps([{"addresses": [PLAIN[pod]]} for pod in pods]))
        wait_until(lambda: mesh["client"].stat(cluster, "membership_total") == len(pods), f"{pods} are known")

    def counted(pod: str) -> bool:
        before = mesh["client"].stat(cluster)
        assert mesh["client"].tcp(PLAIN[pod], 5434).who == pod
        return mesh["client"].stat(cluster) == before + 1

    have("plain-0")
    wait_until(lambda: counted("plain-0"), "the first is one of the Service")
    kept = mesh["client"].keep(PLAIN["plain-0"], 5434)
    assert not counted("plain-1")  # it passes

    have("plain-0", "plain-1")
    wait_until(lambda: counted("plain-1"), "the second is one of the Service")
    assert kept.says("still there")

    have("plain-1")
    wait_until(lambda: not counted("plain-0"), "the first is none of the Service any more")
    assert counted("plain-1")
    kept.close()
