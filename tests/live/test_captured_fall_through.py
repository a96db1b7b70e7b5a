"""What no entry and no Service claims goes on, or nowhere by policy, on every port; and an address that a client may choose is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import backed, document, outside

SHARED = 8000  # Services of all kinds have this port
HTTP, TCP, TLS, UNNAMED = ({"name": name, "port": SHARED} for name in ("http", "tcp", "tls", ""))
MANIFESTS = (
    backed("web", "shop", "10.77.9.1", HTTP, "10.77.6.1"),
    backed("deep", "shop", "None", TCP, "10.77.6.2", "10.77.6.3"),
    backed("sealed", "shop", "10.77.9.2", TLS, "10.77.6.4"),
    backed("raw", "shop", "10.77.9.3", TCP, "10.77.6.5"),
    backed("any", "shop", "10.77.9.4", {"port": SHARED}, "10.77.6.6"),
    # These two are one and the same.
    outside("block.example", SHARED, "TCP", "10.77.6.7", addresses=["10.77.16.0/20", "10.77.17.1/20"]),
    outside("pay.example", SHARED, "TLS", "10.77.6.8"),
    backed("unnamed", "shop", "None", {"port": 7100}, "10.77.6.9"),
    backed("bare", "shop", "None", {"port": 7200}),
    # Other names of something outside, which would be looked up if it were not an address.
    *(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"far-{position}", "namespace": "shop"},
                "spec": {"type": "ExternalName", "externalName": "10.77.6.5", "ports": [port]},
            }
        )
        for position, port in enumerate((HTTP, TCP, TLS, UNNAMED, {"name": "tcp", "port": 7300}))
    ),
    outside("chosen-tcp.example", 9100, "TCP"),
    outside("chosen-http.example", 9200, "HTTP"),
    outside("chosen-block.example", 9300, "TCP", addresses=["10.77.48.0/24"]),
    outside("kept.example", 9400, "TCP", "10.77.6.9", addresses=["10.77.9.9"]),
    outside("kept-http.example", 9500, "HTTP", "10.77.6.9", addresses=["10.77.9.9"]),
    *(
        document("DestinationRule", host, host=f"{host}.example", trafficPolicy={"loadBalancer": {"simple": "PASSTHROUGH"}})
        for host in ("kept", "kept-http")
    ),
    document("Sidecar", "default", "closed", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}, egress=[{"hosts": ["*/*"]}]),
)
# Nobody has these addresses in any object.
LOOSE_RAW, LOOSE_TLS, LOOSE_HTTP = "10.77.33.5", "10.77.33.6", "10.77.33.7"
BESIDE_BLOCK = ("10.77.15.255", "10.77.32.0")
LOOSE_PORTS = (SHARED, 7100, 7200, 7300, 6000)
SERVERS = (
    Server("web", "10.77.6.1", SHARED, "http"),
    *(Server(f"deep-{number}", f"10.77.6.{number}", SHARED) for number in (2, 3)),
    Server("sealed", "10.77.6.4", SHARED, names=("sealed.example",)),
    *(Server(who, f"10.77.6.{number}", SHARED) for who, number in {"raw": 5, "any": 6, "block": 7}.items()),
    Server("pay", "10.77.6.8", SHARED, names=("pay.example",)),
    *(Server("beside", address, SHARED) for address in BESIDE_BLOCK),
    Server("unnamed", "10.77.6.9", 7100),
    *(Server("loose-raw", LOOSE_RAW, port) for port in LOOSE_PORTS),
    *(Server("loose-tls", LOOSE_TLS, port, names=("loose.example",)) for port in LOOSE_PORTS),
    *(Server("loose-http", LOOSE_HTTP, port, "http") for port in LOOSE_PORTS),
    *(Server(address, address, 9100) for address in ("10.77.33.8", "10.77.33.9")),
    *(Server(address, address, 9200, "http") for address in ("10.77.33.8", "10.77.33.9")),
    *(Server(address, address, 9300) for address in ("10.77.48.1", "10.77.48.2", "10.77.49.1")),
    Server("kept", "10.77.9.9", 9400),
    Server("kept", "10.77.9.9", 9500, "http"),
    Server("never", "10.77.6.9", 9400),
    Server("never", "10.77.6.9", 9500, "http"),
)
WORKLOADS = (Workload(app="open", namespace="open"), Workload(app="closed", namespace="closed"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("fall-through"), "\n---\n".join(MANIFESTS), WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []


@pytest.mark.parametrize("client", ["open", "closed"])
def test_services_of_all_kinds_share_a_port(mesh: CapturedMesh, client: str) -> None:
    asks = mesh[client]

    with mesh.counted() as arrived:
        seen = [
            asks.http("10.77.9.1", SHARED, "web.shop").who,
            asks.http(LOOSE_HTTP, SHARED, "web.shop.svc.cluster.local:8000").who,
            asks.tcp("10.77.6.2", SHARED).who,
            asks.tcp("10.77.6.3", SHARED).who,
            asks.tls("10.77.9.2", SHARED, "whatever.example").who,
            asks.tcp("10.77.9.3", SHARED).who,
            asks.tcp("10.77.9.3", SHARED, first="").who,
            asks.tcp("10.77.9.4", SHARED).who,
            asks.tcp("10.77.16.1", SHARED).who,
            asks.tcp("10.77.31.255", SHARED).who,
            asks.tls(LOOSE_TLS, SHARED, "pay.example").who,
        ]

    assert seen == ["web", "web", "deep-2", "deep-3", "sealed", "raw", "raw", "any", "block", "block", "pay"]
    assert arrived == Counter(seen)


@pytest.mark.parametrize("port", LOOSE_PORTS)
def test_what_nobody_claims_passes_on_every_port(mesh: CapturedMesh, port: int) -> None:
    asks = mesh["open"]

    with mesh.counted() as arrived:
        assert asks.tcp(LOOSE_RAW, port, first="\x01\x02 raw").who == "loose-raw"
        assert asks.tls(LOOSE_TLS, port, "nobody.example").who == "loose-tls"
        assert asks.tls(LOOSE_TLS, port).who == "loose-tls"
        assert asks.http(LOOSE_HTTP, port, "nobody.example").who == "loose-http"
        assert asks.http(LOOSE_HTTP, port).who == "loose-http"

    assert arrived == {"loose-raw": 1, "loose-tls": 2, "loose-http": 2}


@pytest.mark.parametrize("port", LOOSE_PORTS)
def test_what_nobody_claims_goes_nowhere_where_the_registry_alone_is_allowed(mesh: CapturedMesh, port: int) -> None:
    asks = mesh["closed"]

    with mesh.counted() as arrived:
        answers = [
            asks.tcp(LOOSE_RAW, port, first="\x01\x02 raw"),
            asks.tls(LOOSE_TLS, port, "nobody.example"),
            asks.tls(LOOSE_TLS, port),
            asks.http(LOOSE_HTTP, port, "nobody.example"),
            asks.http(LOOSE_HTTP, port),
        ]

    assert [each.who for each in answers] == [""] * len(answers)
    assert {each.status for each in answers[3:]} <= {0, 502}
    assert not arrived


def test_a_request_for_a_host_of_nobody_is_told_so_where_a_port_is_for_http(mesh: CapturedMesh) -> None:
    assert mesh["closed"].http(LOOSE_HTTP, SHARED, "nobody.example").status == 502


@pytest.mark.parametrize("address", BESIDE_BLOCK)
def test_an_address_beside_a_block_is_none_of_it(mesh: CapturedMesh, address: str) -> None:
    assert {client: mesh[client].tcp(address, SHARED).who for client in ("open", "closed")} == {"open": "beside", "closed": ""}


@pytest.mark.parametrize("client", ["open", "closed"])
def test_an_instance_behind_a_port_without_a_name_is_allowed(mesh: CapturedMesh, client: str) -> None:
    assert mesh[client].tcp("10.77.6.9", 7100).who == "unnamed"


@pytest.mark.parametrize("client", ["open", "closed"])
@pytest.mark.parametrize("address", ["10.77.33.8", "10.77.33.9"])
def test_an_entry_without_endpoints_keeps_the_address_that_was_chosen(mesh: CapturedMesh, client: str, address: str) -> None:
    with mesh.counted() as arrived:
        by_tcp = [mesh[client].tcp(address, 9100).who for _ in range(4)]
        by_http = [mesh[client].http(address, 9200, "chosen-http.example").who for _ in range(4)]

    assert by_tcp + by_http == [address] * 8
    assert arrived == {address: 8}


def test_an_entry_without_endpoints_allows_its_own_host_alone(mesh: CapturedMesh) -> None:
    assert mesh["closed"].http("10.77.33.8", 9200, "nobody.example").status == 502
    assert mesh["open"].http("10.77.33.8", 9200, "nobody.example").who == "10.77.33.8"


def test_an_entry_without_endpoints_allows_its_own_addresses_alone(mesh: CapturedMesh) -> None:
    asked = {client: [mesh[client].tcp(f"10.77.{rest}", 9300).who for rest in ("48.1", "48.2", "49.1")] for client in ("open", "closed")}

    assert asked == {"open": ["10.77.48.1", "10.77.48.2", "10.77.49.1"], "closed": ["10.77.48.1", "10.77.48.2", ""]}


@pytest.mark.parametrize("client", ["open", "closed"])
def test_a_rule_of_passthrough_keeps_the_address_that_was_asked_for(mesh: CapturedMesh, client: str) -> None:
    with mesh.counted() as arrived:
        assert mesh[client].tcp("10.77.9.9", 9400).who == "kept"
        assert mesh[client].http("10.77.9.9", 9500, "kept-http.example").who == "kept"

    assert arrived == {"kept": 2}
