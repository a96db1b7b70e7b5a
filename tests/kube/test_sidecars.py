"""Bookinfo's pods, made plain with kubectl: injected, intercepted on both sides, and served by what Istio's objects say."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from controlplane.untyped import items, section, text
from tests.support import pod_mesh as sidecars
from tests.support import web_workload as web
from tests.support.pod_identity import identity
from tests.support.pod_mesh import SHOP, Mesh, is_ready, status
from tests.support.waiting import wait_until, within

_SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""
_ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - {match: [{headers: {end-user: {exact: jason}}}], route: [{destination: {host: reviews, subset: v2}}]}
  - match: [{headers: {end-user: {exact: nobody}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - {match: [{queryParams: {delay: {regex: ".+"}}}], timeout: 0.5s, route: [{destination: {host: reviews, subset: v1}}]}
  - route: [{destination: {host: reviews, subset: v1}, weight: 90}, {destination: {host: reviews, subset: v2}, weight: 10}]
"""
_REVIEWS = "http://reviews:9080/reviews/0"
_STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with sidecars.mesh(tmp_path_factory.mktemp("sidecars")) as made:
        yield made


def account(name: str) -> str:
    return f"spiffe://cluster.local/ns/{SHOP}/sa/{name}"


def test_plain_pods_come_back_injected(mesh: Mesh) -> None:
    for name, pod in mesh.pods().items():
        spec = section(pod, "spec")
        started = [text(each, "name") for each in items(spec, "initContainers")]

        assert started == ["istio-init", "istio-proxy"], name
        assert len(items(spec, "containers")) == 1, name
        assert is_ready(pod), name


def test_requests_pass_an_envoy_on_both_sides_and_say_who_they_are_of(mesh: Mesh) -> None:
    found = mesh.ask("http://productpage:9080/productpage", end_user="jason")

    page = section(found, "said")
    assert (found["status"], page["app"], page["peer"]) == (200, "productpage", "127.0.0.6")
    assert identity(section(page, "headers")) == account("client")
    details, reviews = items(page, "asked")
    assert [identity(section(section(each, "said"), "headers")) for each in (details, reviews)] == [account("bookinfo-productpage")] * 2
    assert mesh.counter("client", "outbound|9080||productpage.shop.svc.cluster.local", "upstream_rq_200") > 0


def test_canary_header_match_fault_and_timeout(mesh: Mesh) -> None:
    mesh.apply(f"{_SUBSETS}---{_ROUTES}")
    wait_until(lambda: mesh.ask(_REVIEWS, end_user="nobody")["status"] == 418, "the fault is there")

    versions = Counter(text(section(mesh.ask(_REVIEWS), "said"), "version") for _ in range(200))
    jason = {text(section(mesh.ask(_REVIEWS, end_user="jason"), "said"), "version") for _ in range(10)}
    slow = mesh.ask(f"{_REVIEWS}?delay=3")
    mesh.delete("virtualservice/reviews", "destinationrule/reviews")

    assert 5 <= versions["v2"] <= 40, versions
    assert versions["v1"] + versions["v2"] == 200
    assert jason == {"v2"}
    assert slow["status"] == 504
    seconds = slow["seconds"]
    assert isinstance(seconds, float)
    assert seconds < within(2)


def test_a_call_to_itself_passes_its_envoy_out_and_in(mesh: Mesh) -> None:
    found = mesh.ask("http://client:9080/")

    said = section(found, "said")
    assert (found["status"], said["app"], said["peer"]) == (200, "client", "127.0.0.6")
    assert identity(section(said, "headers")) == account("client")


_TRANSPARENT = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.7.6, selector: {app: web}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: transparent
  labels: {app: web}
  annotations: {sidecar.istio.io/interceptionMode: TPROXY, traffic.sidecar.istio.io/excludeInboundPorts: "9999"}
spec:
  serviceAccountName: client
  containers:
  - name: web
    image: app:1
    env: [{name: APP, value: web}, {name: PORTS, value: "9080 9999"}]
    readinessProbe: {httpGet: {path: /health, port: 9080}}
"""


def test_by_tproxy_an_application_sees_its_clients_address(mesh: Mesh) -> None:
    mesh.apply(_TRANSPARENT)
    mesh.until_ready("transparent")
    mesh.until_answered("http://web:9080/")

    called = mesh.ask("http://web:9080/")
    passed = mesh.ask(f"http://{mesh.ip('transparent')}:9080/")
    calls = mesh.ask("http://details:9080/", pod="transparent")
    itself = mesh.ask("http://web:9080/", pod="transparent")
    mesh.delete("service/web", "pod/transparent")

    assert [each["status"] for each in (called, passed, calls, itself)] == [200] * 4
    assert [section(each, "said")["peer"] for each in (called, passed)] == [mesh.ip("client")] * 2
    assert identity(section(section(called, "said"), "headers")) == account("client")
    assert section(calls, "said")["app"] == "details"
    assert section(itself, "said")["app"] == "web"


def test_excluded_ports_and_ranges_go_past_the_proxy(mesh: Mesh) -> None:
    """The client leaves outbound port 9081 and the node's address alone, and inbound port 9999."""
    passed = ("PassthroughCluster", "upstream_cx_total")
    with _server(mesh.node.ip) as port:
        before = mesh.counter("client", *passed)
        excluded = mesh.ask(f"http://{mesh.ip('ratings-v1')}:9081/")
        node = mesh.ask(f"http://{mesh.node.ip}:{port}/")
        between = mesh.counter("client", *passed)
        taken = mesh.ask(f"http://{mesh.ip('ratings-v1')}:9080/")
        after = mesh.counter("client", *passed)
    inbound = sidecars.get(f"http://{mesh.ip('client')}:9999/")

    assert (excluded["status"], node["status"], taken["status"]) == (200, 200, 200)
    assert between == before
    assert after == between + 1
    assert section(node, "said")["peer"] == mesh.ip("client")
    assert inbound["peer"] == mesh.node.ip


class _Says(BaseHTTPRequestHandler):
    """Says who asks."""

    def do_GET(self) -> None:
        body = f'{{"peer": "{self.client_address[0]}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _server(ip: str) -> Iterator[int]:
    with socketserver.ThreadingTCPServer((ip, 0), _Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def test_probes_work_under_strict_and_nobody_else_may_ask_them(mesh: Mesh) -> None:
    """Readiness of productpage is by HTTP, that of details by TCP."""
    mesh.apply(_STRICT)
    page, details = mesh.ip("productpage-v1"), mesh.ip("details-v1")
    wait_until(lambda: status(f"http://{page}:9080/") == 0, "the node is refused")
    paths = {
        "productpage": f"http://{page}:15021/app-health/productpage/readyz",
        "details": f"http://{details}:15021/app-health/details/readyz",
        "client": f"http://{mesh.ip('client')}:15021/app-health/client/readyz",  # which asks itself
    }

    from_node = {name: status(path) for name, path in paths.items()}
    from_pod = {name: mesh.ask(path)["status"] for name, path in paths.items()}
    web.begin(mesh, 1)  # a pod that has to become ready under STRICT
    web.end(mesh)
    served = mesh.ask("http://productpage:9080/")["status"]
    mesh.ask("http://productpage:9080/health?set=500")
    wait_until(lambda: not is_ready(mesh.pods()["productpage-v1"]), "productpage is not ready")
    mesh.delete("peerauthentication/default")
    wait_until(lambda: mesh.ask(f"http://{page}:9080/health?set=200")["status"] == 200, "it is well again")
    mesh.until_ready()

    assert from_node == {"productpage": 200, "details": 200, "client": 200}
    assert from_pod == {"productpage": 404, "details": 404, "client": 404}
    assert served == 200
