"""Servers that speak first, on ports where HTTP or TLS is told by the first bytes of a client: these are waited for so long."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import CapturedPod, Workload
from tests.support.manifests import backed, outside

HTTP, TLS, UNNAMED, OWN = 8000, 8443, 9000, 9100
LOOSE = "10.77.33.5"  # nobody has it in any object
TIMEOUT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "istio", "namespace": "istio-system"},
    "data": {"mesh": "protocolDetectionTimeout: 300ms"},
}
OWN_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "server", "namespace": "default"},
    "spec": {"clusterIP": "10.77.9.3", "selector": {"app": "server"}, "ports": [{"port": OWN}]},
}
MANIFESTS = (
    json.dumps(TIMEOUT),
    json.dumps(OWN_SERVICE),
    backed("web", "shop", "10.77.9.1", {"name": "http", "port": HTTP}, "10.77.6.1"),
    backed("any", "shop", "10.77.9.2", {"port": UNNAMED}, "10.77.6.2"),
    outside("pay.example", TLS, "TLS", "10.77.6.3"),
)
SERVERS = (
    Server("web", "10.77.6.1", HTTP, "http"),
    Server("any", "10.77.6.2", UNNAMED),
    Server("pay", "10.77.6.3", TLS, names=("pay.example",)),
    *(Server(f"loose-{port}", LOOSE, port) for port in (HTTP, TLS)),
    Server("own", "server", OWN),
)
# The sidecar of who is asked sees plaintext from the one, mutual TLS from the other.
WORKLOADS = (Workload(app="client"), Workload(app="server"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("detection"), "\n---\n".join(MANIFESTS), WORKLOADS, SERVERS) as made:
        yield made


def waited(pod: CapturedPod, address: str) -> int:
    """Return how many connections the listener at ``address`` of the sidecar of ``pod`` has waited for in vain."""
    said = pod.http("127.0.0.1", 15000, path=rf"/stats?filter=^listener\.{address}\.downstream_pre_cx_timeout$").body
    return int(said.rpartition(":")[2] or 0)


def test_everything_is_accepted_and_nothing_is_in_vain(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []
    assert mesh.problems() == []


@pytest.mark.parametrize(
    ("host", "port", "listener", "who"),
    [
        (LOOSE, HTTP, f"0.0.0.0_{HTTP}", f"loose-{HTTP}"),
        (LOOSE, TLS, f"0.0.0.0_{TLS}", f"loose-{TLS}"),
        ("10.77.9.2", UNNAMED, f"10.77.9.2_{UNNAMED}", "any"),
    ],
)
def test_a_server_that_speaks_first_is_reached_after_the_time(mesh: CapturedMesh, host: str, port: int, listener: str, who: str) -> None:
    client = mesh["client"]
    before = waited(client, listener)

    with mesh.counted() as arrived:
        seen = [client.tcp(host, port, first="").who for _ in range(3)]

    assert seen == [who] * 3
    assert arrived == {who: 3}
    assert waited(client, listener) == before + 3


def test_what_a_client_says_at_once_is_told_apart_as_ever(mesh: CapturedMesh) -> None:
    client = mesh["client"]

    with mesh.counted() as arrived:
        for _ in range(3):
            assert client.http("10.77.9.1", HTTP, "web.shop").who == "web"
            assert client.http(LOOSE, HTTP, "web.shop").who == "web"
            assert client.tcp(LOOSE, HTTP).who == f"loose-{HTTP}"
            assert client.tls(LOOSE, TLS, "pay.example").who == "pay"

    assert arrived == {"web": 6, f"loose-{HTTP}": 3, "pay": 3}


def test_a_workload_that_speaks_first_on_a_port_without_a_name_is_reached(mesh: CapturedMesh) -> None:
    server = mesh["server"]

    with mesh.counted() as arrived:
        from_outside = [mesh.outside.tcp(server.ip, OWN, first="").who for _ in range(2)]
        from_the_mesh = [mesh["client"].tcp("10.77.9.3", OWN, first="").who for _ in range(2)]

    assert from_outside + from_the_mesh == ["own"] * 4
    assert arrived == {"own": 4}
    assert waited(server, "0.0.0.0_15006") == 2  # in mutual TLS the client's sidecar begins
