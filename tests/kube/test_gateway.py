"""The gateway of manifests/gateway in a cluster: injected, with a certificate from a Secret, before a mesh of mutual TLS."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest

from controlplane.untyped import Json, items, section, text
from tests.support import pod_mesh as sidecars
from tests.support.certificates import Authority
from tests.support.pod_identity import identity
from tests.support.pod_mesh import Mesh, is_ready
from tests.support.rendered_manifests import GATEWAY, GATEWAY_NAME, GATEWAY_NAMESPACE
from tests.support.rendered_manifests import text as rendered_text
from tests.support.waiting import DEADLINE_S, wait_until

HOST, CREDENTIAL = "shop.example", "shop-cert"
_ROUTES = f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 80, name: http, protocol: HTTP}}
    hosts: [{HOST}]
    tls: {{httpsRedirect: true}}
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [{HOST}]
    tls: {{mode: SIMPLE, credentialName: {CREDENTIAL}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front}}
spec:
  hosts: [{HOST}]
  gateways: [front]
  http:
  - {{match: [{{uri: {{prefix: /reviews}}}}], route: [{{destination: {{host: reviews}}}}]}}
  - route: [{{destination: {{host: productpage}}}}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with sidecars.mesh(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def trusted(mesh: Mesh) -> ssl.SSLContext:
    """Install the gateway, give it a certificate, and return what clients believe."""
    authority = Authority()
    chain, key = authority.issue(HOST)
    mesh.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=rendered_text(GATEWAY).replace("25s", "5s"))  # of draining
    content = {"tls.crt": chain.decode(), "tls.key": key.decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": CREDENTIAL}, "stringData": content}
    mesh.apply(json.dumps(secret), GATEWAY_NAMESPACE)
    mesh.apply(_ROUTES)
    wait_until(lambda: any(is_ready(each) for each in gateway_pods(mesh)), "the gateway's pod is ready")
    return ssl.create_default_context(cadata=authority.pem.decode())


def gateway_pods(mesh: Mesh) -> tuple[Json, ...]:
    """Return the pods that the Deployment has."""
    return tuple(items(mesh.cluster.call("GET", f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods")))


def name_of(mesh: Mesh) -> str:
    """Return the name of a pod that is ready."""
    return next(text(section(each, "metadata"), "name") for each in gateway_pods(mesh) if is_ready(each))


def address(mesh: Mesh) -> str:
    return mesh.kubelet.pod(GATEWAY_NAMESPACE, name_of(mesh)).ip


def ask(mesh: Mesh, trusted: ssl.SSLContext, path: str, *, host: str = HOST, port: int = 8443) -> httpx.Response:
    """Return the answer to somebody outside, who comes by the load balancer."""
    scheme = "https" if port == 8443 else "http"
    with httpx.Client(verify=trusted, timeout=DEADLINE_S) as client:
        return client.get(f"{scheme}://{address(mesh)}:{port}{path}", headers={"host": host}, extensions={"sni_hostname": HOST})


def test_the_pod_is_an_envoy_alone_that_has_no_privilege(mesh: Mesh, trusted: ssl.SSLContext) -> None:
    [pod] = [each for each in gateway_pods(mesh) if is_ready(each)]
    spec = section(pod, "spec")

    assert trusted
    assert [text(each, "name") for each in items(spec, "containers")] == ["istio-proxy"]
    assert list(items(spec, "initContainers")) == []
    assert items(spec, "containers")[0]["image"] != "auto"


def test_requests_come_in_by_https_and_are_the_gateways_inside(mesh: Mesh, trusted: ssl.SSLContext) -> None:
    wait_until(lambda: ask(mesh, trusted, "/productpage").status_code == 200, "the page is served")

    page = ask(mesh, trusted, "/productpage").json()
    moved = ask(mesh, trusted, "/productpage", port=8080)
    elsewhere = ask(mesh, trusted, "/productpage", host="other.example")

    assert page["app"] == "productpage"
    assert identity(page["headers"]) == f"spiffe://cluster.local/ns/{GATEWAY_NAMESPACE}/sa/{GATEWAY_NAME}"
    assert (moved.status_code, moved.headers["location"]) == (301, f"https://{HOST}/productpage")
    assert elsewhere.status_code == 404


def test_what_has_begun_ends_well_when_the_pod_is_stopped(mesh: Mesh, trusted: ssl.SSLContext) -> None:
    slow: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: slow.append(ask(mesh, trusted, "/reviews/0?delay=3")))
    asking.start()
    wait_until(lambda: _active(mesh) > 0, "it is on its way")

    mesh.cluster.kubectl("-n", GATEWAY_NAMESPACE, "delete", "pod", name_of(mesh), "--wait")
    asking.join(30)

    assert [each.status_code for each in slow] == [200]


def _active(mesh: Mesh) -> int:
    said = httpx.get(f"http://{address(mesh)}:15090/stats/prometheus").text
    lines = [line for line in said.splitlines() if "downstream_rq_active" in line and "outbound_0" in line and line[0] != "#"]
    return sum(int(line.rpartition(" ")[2]) for line in lines)
