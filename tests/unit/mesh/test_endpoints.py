"""T44: where proxies are not sent, however it is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.endpoint_policy import endpoint_error
from controlplane.model.ip_addresses import Reach, reach
from controlplane.model.proxies import proxy_from_node
from controlplane.model.services import Endpoint
from controlplane.objects.changes import split
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file
from controlplane.translate.clusters.endpoints import load_assignment
from controlplane.xds.stream import Variant
from tests.support.translate_cases import METADATA, NODE

TYPES = (CDS, EDS)
HOSTS = [
    *("127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("localhost", "localhost.", "LOCALHOST", "a.localhost", "localhost.localdomain", "ip6-localhost"),
]
NOWHERE = [
    "0.0.0.0",
    "::",
    "0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.1",
    "a.127",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "0.1.2.3",
]
CLOUDS = [
    *("169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "fd00:ec2::254", "100.100.100.200"),
    *("168.63.129.16", "metadata.google.internal", "metadata.google.internal.", "METADATA.google.internal", "instance-data"),
]


@pytest.mark.parametrize("port", [15000, 15001, 15006, 15010, 15012, 15014, 15020, 15021, 15090])
@pytest.mark.parametrize("host", HOSTS)
def test_t44_a_proxy_s_own_ports_are_nobody_s_endpoints(host: str, port: int) -> None:
    assert endpoint_error(host, port)
    assert endpoint_error(host, 8080) is None


@pytest.mark.parametrize("host", [*NOWHERE, *CLOUDS])
def test_t44_addresses_of_clouds_and_of_nobody_are_no_endpoints_whatever_the_port(host: str) -> None:
    assert all(endpoint_error(host, port) for port in (80, 443, 8080, 15000))


def test_t44_a_name_that_may_lead_anywhere_does_not_lead_to_the_administration() -> None:
    assert endpoint_error("evil.example", 15000)
    assert endpoint_error("good.example", 15012) is None


@pytest.mark.parametrize("host", ["10.0.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "a.example", "1.example", "unix:///run/app.sock"])
def test_others_are_endpoints(host: str) -> None:
    assert endpoint_error(host, 443) is None


def test_weights_that_are_more_than_can_be_said_together_are_said_as_far_as_they_can() -> None:
    most = 2**32 - 1

    endpoints = tuple(Endpoint(address=f"10.0.0.{number}", port=80, weight=most) for number in (1, 2))

    [locality] = load_assignment("a", endpoints).endpoints

    assert locality.load_balancing_weight.value == most


@pytest.mark.parametrize("first", range(256))
def test_what_is_told_by_the_text_alone_is_what_the_address_says(first: int) -> None:
    for rest in ("0.0.1", "0.0.192", "63.129.16", "100.100.200", "254.169.254", "255.255.255"):
        text = f"{first}.{rest}"

        assert (endpoint_error(text, 443) is None) == (reach(ip_address(text)) in (Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK))


OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: admin, namespace: default}
spec: {type: ExternalName, externalName: localhost, ports: [{name: http, port: 15000}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mixed, namespace: default}
spec:
  hosts: [mixed.example]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 15000}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}, {address: 169.254.169.254, ports: {http: 80}}, {address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cloud, namespace: default}
spec:
  hosts: [metadata.google.internal]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: chosen, namespace: default}
spec:
  hosts: [chosen.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: chosen}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: chosen, namespace: default}
spec: {address: "127.0.0.1", labels: {app: chosen}, ports: {http: 15090}}
---
apiVersion: v1
kind: Service
metadata: {name: sliced, namespace: default}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: sliced-1, namespace: default, labels: {kubernetes.io/service-name: sliced}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [169.254.169.254]}, {addresses: [10.0.0.2]}]
"""


def test_t44_such_endpoints_are_left_out_and_told_and_the_others_stay() -> None:
    mesh = Mesh()
    mesh.apply(split(ManifestFolder().take({"objects.yaml": parse_file(OBJECTS)}, 0.0))[0])
    session = mesh.connect(proxy_from_node(NODE, METADATA), Variant.SOTW)
    mesh.refresh()

    sent = b"".join(resource.value for type_url in TYPES for resource in session.view.resources(type_url))
    problems = {(str(each.object), each.field) for each in mesh.problems() if each.code == "Unreachable"}

    assert [text in sent for text in (b"127.0.0.1", b"169.254", b"localhost", b"10.0.0.1", b"10.0.0.2")] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert problems == {
        ("Service/default/admin", "spec.externalName"),
        ("ServiceEntry/default/mixed", "spec.endpoints[0]"),
        ("ServiceEntry/default/mixed", "spec.endpoints[1]"),
        ("ServiceEntry/default/cloud", "spec.hosts[0]"),
        ("WorkloadEntry/default/chosen", "spec.address"),
        ("EndpointSlice/default/sliced-1", "endpoints[0]"),
    }
