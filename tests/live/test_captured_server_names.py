"""TLS that is only passed on goes where its server name says, and what nobody has claimed goes where it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import document, outside

ELSEWHERE, RAW, NEAR = "10.77.1.9", "10.77.1.8", "10.77.3.9"
ENTRIES = (
    outside("api.bank.example", 443, "TLS", "10.77.1.1"),
    outside("api.post.example", 443, "HTTPS", "10.77.1.2"),
    outside("*.wild.example", 443, "TLS"),
    outside("*.fixed.example", 443, "TLS", "10.77.1.5"),
    outside("deep.fixed.example", 443, "TLS", "10.77.1.6"),
    outside("own.example", 443, "TLS", "10.77.1.7", addresses=("10.77.9.1",)),
    outside("one.example", 9443, "TLS", "10.77.1.1", addresses=["10.77.64.0/20"]),
    outside("two.example", 9443, "TLS", "10.77.1.2", addresses=["10.77.64.0/20"]),
    document(
        "ServiceEntry",
        "hashed",
        hosts=["hashed.example"],
        ports=[{"number": 443, "name": "tls", "protocol": "TLS"}],
        resolution="STATIC",
        endpoints=[{"address": f"10.77.1.{number}"} for number in range(1, 8)],
    ),
    document("DestinationRule", "hashed", host="hashed.example", trafficPolicy={"loadBalancer": {"consistentHash": {"useSourceIp": True}}}),
    outside("split.example", 8443, "TLS", "10.77.2.9"),
    outside("*.fan.example", 8443, "TLS"),
    outside("near.example", 8443, "TLS", "10.77.2.9"),
    outside("left.example", 8443, "TLS", "10.77.2.1"),
    outside("right.example", 8443, "TLS", "10.77.2.2"),
    outside("lost.example", 8443, "TLS", "10.77.2.9"),
    document(
        "VirtualService",
        "lost",
        hosts=["lost.example"],
        tls=[{"match": [{"sniHosts": ["lost.example"]}], "route": [{"destination": {"host": "nowhere.example"}}]}],
    ),
)
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: split}
spec:
  hosts: [split.example]
  tls:
  - match: [{port: 8443, sniHosts: [split.example], sourceLabels: {app: other}}]
    route: [{destination: {host: left.example, port: {number: 8443}}}]
  - match: [{port: 8443, sniHosts: [split.example]}]
    route:
    - {destination: {host: left.example, port: {number: 8443}}, weight: 80}
    - {destination: {host: right.example, port: {number: 8443}}, weight: 20}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: fan}
spec:
  hosts: ["*.fan.example"]
  tls:
  - {match: [{sniHosts: [a.fan.example]}], route: [{destination: {host: left.example}}]}
  - {match: [{sniHosts: ["*.fan.example"]}], route: [{destination: {host: right.example}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: near}
spec:
  hosts: [near.example]
  tls:
  - match: [{port: 8443, sniHosts: [near.example], destinationSubnets: [10.77.3.0/24]}]
    route: [{destination: {host: left.example}}]
  - {match: [{port: 8443, sniHosts: [near.example]}], route: [{destination: {host: right.example}}]}
"""
ADDRESSES = {
    "bank": "10.77.1.1",
    "post": "10.77.1.2",
    "wild-3": "10.77.1.3",
    "wild-4": "10.77.1.4",
    "fixed": "10.77.1.5",
    "deep": "10.77.1.6",
    "own": "10.77.1.7",
    "elsewhere": ELSEWHERE,
}
ON_8443 = {"itself": "10.77.2.9", "left": "10.77.2.1", "right": "10.77.2.2", "elsewhere-8443": ELSEWHERE, "near": NEAR}
ON_9443 = {"one": "10.77.1.1", "two": "10.77.1.2", "within": "10.77.64.9", "beside": "10.77.80.0"}
SERVERS = (
    *(Server(who, address, 443, names=(f"{who}.example",)) for who, address in ADDRESSES.items()),
    *(Server(who, address, 8443, names=(f"{who}.example",)) for who, address in ON_8443.items()),
    *(Server(who, address, 9443, names=(f"{who}.example",)) for who, address in ON_9443.items()),
    Server("raw", RAW, 443),
    Server("raw-8443", RAW, 8443),
)
SOURCES = tuple(f"10.66.0.{number}" for number in range(1, 13))
WORKLOADS = (Workload(app="client", sources=SOURCES), Workload(app="other"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    manifests = "\n---\n".join((*ENTRIES, ROUTES))
    with captured_mesh(tmp_path_factory.mktemp("names"), manifests, WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted_and_what_leads_nowhere_is_told(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []
    assert mesh.problems() == [("VirtualService/default/lost", "spec.tls[0].route[0].destination.host")]


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("api.bank.example", "bank"),
        ("API.Bank.example", "bank"),
        ("api.post.example", "post"),
        ("a.fixed.example", "fixed"),
        ("b.a.fixed.example", "fixed"),
        ("deep.fixed.example", "deep"),
    ],
)
def test_entries_of_one_port_are_told_apart_by_the_server_name(mesh: CapturedMesh, name: str, who: str) -> None:
    with mesh.counted() as arrived:
        answers = [mesh["client"].tls(ELSEWHERE, 443, name) for _ in range(3)]

    assert arrived == {who: 3}
    assert {(each.who, each.name.lower()) for each in answers} == {(who, name.lower())}


@pytest.mark.parametrize("name", ["nobody.example", "fixed.example", "bank.example", "x.api.bank.example", ""])
def test_a_name_that_no_entry_has_goes_where_it_was_sent(mesh: CapturedMesh, name: str) -> None:
    with mesh.counted() as arrived:
        assert mesh["client"].tls(ELSEWHERE, 443, name).who == "elsewhere"
        assert mesh["client"].tls(ELSEWHERE, 8443, name).who == "elsewhere-8443"

    assert arrived == {"elsewhere": 1, "elsewhere-8443": 1}


def test_the_address_of_a_name_without_endpoints_is_the_one_that_the_client_chose(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        assert mesh["client"].tls("10.77.1.3", 443, "a.wild.example").who == "wild-3"
        assert mesh["client"].tls("10.77.1.4", 443, "a.wild.example").who == "wild-4"

    assert arrived == {"wild-3": 1, "wild-4": 1}
    assert mesh["client"].stat("outbound|443||*.wild.example") == 2


@pytest.mark.parametrize("name", ["own.example", "nobody.example", "api.bank.example", ""])
def test_an_address_of_an_entry_is_its_own_whatever_the_name_is(mesh: CapturedMesh, name: str) -> None:
    assert mesh["client"].tls("10.77.9.1", 443, name).who == "own"


@pytest.mark.parametrize(
    ("address", "name", "who"),
    [
        ("10.77.64.9", "one.example", "one"),
        ("10.77.79.255", "two.example", "two"),
        ("10.77.64.9", "nobody.example", "within"),
        ("10.77.64.9", "", "within"),
        ("10.77.80.0", "one.example", "beside"),
    ],
)
def test_entries_of_one_block_are_told_apart_by_the_server_name(mesh: CapturedMesh, address: str, name: str, who: str) -> None:
    assert mesh["client"].tls(address, 9443, name).who == who


def test_connections_by_tls_of_one_source_go_to_one_endpoint(mesh: CapturedMesh) -> None:
    seen = {source: {mesh["client"].tls(ELSEWHERE, 443, "hashed.example", source=source).who for _ in range(3)} for source in SOURCES}

    assert {len(endpoints) for endpoints in seen.values()} == {1}
    assert len(set.union(*seen.values())) >= 3  # of seven


def test_what_is_not_tls_passes_on_the_ports_of_such_entries(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        assert mesh["client"].tcp(RAW, 443).who == "raw"
        assert mesh["client"].tcp(RAW, 8443, first="\x16 but no TLS\n").who == "raw-8443"
        assert mesh["client"].tls(ELSEWHERE, 443, "api.bank.example").who == "bank"

    assert arrived == {"raw": 1, "raw-8443": 1, "bank": 1}


def test_a_tls_route_has_weights(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        for _ in range(200):
            mesh["client"].tls(ELSEWHERE, 8443, "split.example")

    assert arrived.keys() == {"left", "right"}
    assert arrived.total() == 200
    assert 15 <= arrived["right"] <= 70  # 40 are meant; further away is once in a million runs


def test_a_tls_route_fits_by_the_labels_of_who_asks(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        for _ in range(30):
            mesh["other"].tls(ELSEWHERE, 8443, "split.example")

    assert arrived == {"left": 30}


def test_tls_routes_of_a_wildcard_host_fit_the_narrower_name_first(mesh: CapturedMesh) -> None:
    asked = {name: mesh["client"].tls(ELSEWHERE, 8443, name).who for name in ("a.fan.example", "b.fan.example", "fan.example")}

    assert asked == {"a.fan.example": "left", "b.fan.example": "right", "fan.example": "elsewhere-8443"}


def test_a_tls_route_to_a_host_that_is_not_there_closes_its_connections_and_no_others(mesh: CapturedMesh) -> None:
    names = ("lost.example", "near.example", "lost.example", "nobody.example")

    with mesh.counted() as arrived:
        asked = [mesh["client"].tls(ELSEWHERE, 8443, name).who for name in names]

    assert asked == ["", "right", "", "elsewhere-8443"]
    assert arrived == {"right": 1, "elsewhere-8443": 1}


def test_a_tls_route_fits_by_the_address_that_was_asked_for(mesh: CapturedMesh) -> None:
    assert mesh["client"].tls(NEAR, 8443, "near.example").who == "left"
    assert mesh["client"].tls(ELSEWHERE, 8443, "near.example").who == "right"
    assert mesh["client"].tls(NEAR, 8443, "nobody.example").who == "near"
