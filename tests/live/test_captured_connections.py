"""Connections that are sent on whole: how they are divided, which endpoint has whom, how long they last, and what a Sidecar leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import backed, document, outside
from tests.support.waiting import wait_until

VERSIONS = ("v1", "v2")
TCP = {"name": "tcp", "protocol": "TCP"}
V1, V2, FIVE = "10.77.5.1", "10.77.5.2", tuple(f"10.77.5.{number}" for number in range(11, 16))


def routed(name: str, address: str, *rules: Mapping[str, object]) -> str:
    """Return an entry at ``address``, on two ports, whose connections go where ``rules`` say, or to ``v1``."""
    host = f"{name}.example"
    ports = [{**TCP, "number": 6000}, {"name": "tcp-other", "protocol": "TCP", "number": 6001, "targetPort": 6000}]
    endpoints = [{"address": at, "labels": {"version": version}} for version, at in zip(VERSIONS, (V1, V2), strict=True)]
    subsets = [{"name": version, "labels": {"version": version}} for version in VERSIONS]
    return "\n---\n".join(
        (
            document("ServiceEntry", name, hosts=[host], addresses=[address], ports=ports, resolution="STATIC", endpoints=endpoints),
            document("DestinationRule", name, host=host, subsets=subsets),
            document("VirtualService", name, hosts=[host], tcp=[*rules, {"route": [to(name, "v1")]}]),
        )
    )


def to(name: str, subset: str, weight: int = 0) -> dict[str, object]:
    """Return a destination."""
    return {"destination": {"host": f"{name}.example", "subset": subset}, **({"weight": weight} if weight else {})}


def held(name: str, address: str, endpoints: Sequence[str] = (V1,), **policy: object) -> str:
    """Return an entry at ``address`` whose connections are held to ``policy``."""
    entry = outside(f"{name}.example", 6000, "TCP", *endpoints, addresses=[address])
    return f"{entry}\n---\n{document('DestinationRule', name, host=f'{name}.example', trafficPolicy=policy)}"


def lasting(name: str, address: str, **limits: object) -> str:
    """Return an entry at ``address`` whose connections are held to ``limits``."""
    return held(name, address, connectionPool={"tcp": limits})


MONEY = {"name": "tcp", "port": 5700}
MANIFESTS = (
    routed("divided", "10.77.9.1", {"route": [to("divided", "v1", 80), to("divided", "v2", 20)]}),
    routed("labelled", "10.77.9.2", {"match": [{"sourceLabels": {"app": "other"}}], "route": [to("labelled", "v2")]}),
    routed("wide", "10.77.16.0/20", {"match": [{"destinationSubnets": ["10.77.24.0/21"]}], "route": [to("wide", "v2")]}),
    routed("numbered", "10.77.9.3", {"match": [{"port": 6001}], "route": [to("numbered", "v2")]}),
    routed(
        "astray",
        "10.77.40.0/24",
        {"match": [{"destinationSubnets": ["10.77.40.1/32"]}], "route": [to("nowhere", "v1")]},
        {"match": [{"destinationSubnets": ["10.77.40.2/32"]}], "route": [to("astray", "v9")]},
        {"match": [{"destinationSubnets": ["10.77.40.3/32"]}], "route": [to("astray", "v2", 50), to("nowhere", "v1", 50)]},
    ),
    outside("turned.example", 6000, "TCP", V2, addresses=["10.77.9.10"]),
    lasting("idle", "10.77.9.5", idleTimeout="1s"),
    lasting("brief", "10.77.9.6", maxConnectionDuration="2s"),
    lasting("lasting", "10.77.9.7", maxConnections=1000),
    lasting("single", "10.77.9.9", maxConnections=1),
    held("hashed", "10.77.9.8", FIVE, loadBalancer={"consistentHash": {"useSourceIp": True}}),
    backed("ledger", "money", "10.77.9.20", MONEY, "10.77.5.21", target=5701),
    backed("vault", "money", "10.77.9.21", MONEY, "10.77.5.22", target=5701),
    backed("third", "elsewhere", "10.77.9.22", MONEY, "10.77.5.23", target=5701),
    document(
        "Sidecar",
        "default",
        "narrow",
        egress=[{"port": {"number": 5700, "name": "tcp-money", "protocol": "TCP"}, "hosts": ["money/*"]}, {"hosts": ["./*"]}],
    ),
)
SOURCES = tuple(f"10.66.0.{number}" for number in range(1, 25))
SERVERS = (
    Server("v1", V1, 6000),
    Server("v2", V2, 6000),
    *(Server(address, address, 6000) for address in FIVE),
    *(Server(who, f"10.77.5.{number}", 5701) for who, number in {"ledger": 21, "vault": 22, "third": 23}.items()),
    Server("itself", "10.77.9.22", 5700),
    *(Server(f"beyond-{address}", address, 6000) for address in ("10.77.15.255", "10.77.32.1")),
)
WORKLOADS = (Workload(app="client", sources=SOURCES), Workload(app="other"), Workload(app="narrow", namespace="narrow"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("connections"), "\n---\n".join(MANIFESTS), WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted_and_what_leads_nowhere_is_told(mesh: CapturedMesh) -> None:
    destinations = ("tcp[0].route[0].destination.host", "tcp[1].route[0].destination.subset", "tcp[2].route[1].destination.host")

    assert mesh.refused() == []
    unreachable = ("VirtualService/default/divided", "spec.tcp[1]")  # the one before it takes every connection
    assert mesh.problems() == [unreachable, *(("VirtualService/default/astray", f"spec.{each}") for each in destinations)]


def test_connections_are_divided_by_weight(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        for _ in range(200):
            mesh["client"].tcp("10.77.9.1", 6000)

    assert arrived.total() == 200
    assert arrived.keys() == {"v1", "v2"}
    assert 15 <= arrived["v2"] <= 70  # 40 are meant; further away is once in a million runs


def test_rules_fit_by_the_labels_of_who_connects(mesh: CapturedMesh) -> None:
    assert {mesh["client"].tcp("10.77.9.2", 6000).who for _ in range(8)} == {"v1"}
    assert {mesh["other"].tcp("10.77.9.2", 6000).who for _ in range(8)} == {"v2"}


def test_rules_fit_by_the_port(mesh: CapturedMesh) -> None:
    assert {mesh["client"].tcp("10.77.9.3", 6000).who for _ in range(8)} == {"v1"}
    assert {mesh["client"].tcp("10.77.9.3", 6001).who for _ in range(8)} == {"v2"}


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("10.77.16.1", "v1"),
        ("10.77.23.255", "v1"),
        ("10.77.24.0", "v2"),
        ("10.77.31.255", "v2"),
        ("10.77.15.255", "beyond-10.77.15.255"),
        ("10.77.32.1", "beyond-10.77.32.1"),
    ],
)
def test_rules_fit_by_the_address_within_those_of_the_entry_and_others_pass(mesh: CapturedMesh, address: str, who: str) -> None:
    assert {mesh["client"].tcp(address, 6000).who for _ in range(4)} == {who}


def test_what_leads_to_a_host_or_a_subset_that_is_not_there_is_closed_and_nothing_else(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        lost = [mesh["client"].tcp(address, 6000).who for address in ("10.77.40.1", "10.77.40.2") for _ in range(4)]
        shared = Counter(mesh["client"].tcp("10.77.40.3", 6000).who for _ in range(60))
        others = [mesh["client"].tcp("10.77.40.4", 6000).who for _ in range(4)]

    assert lost == [""] * 8
    assert shared.keys() == {"", "v2"}
    assert 8 <= shared["v2"] <= 52  # 30 are meant; further away is once in a hundred million runs
    assert others == ["v1"] * 4
    assert arrived == {"v1": 4, "v2": shared["v2"]}


def test_a_rule_that_comes_to_lead_nowhere_takes_its_own_connections_away_and_gives_them_back(mesh: CapturedMesh) -> None:
    def who() -> str:
        return mesh["client"].tcp("10.77.9.10", 6000).who

    assert who() == "v2"
    mesh.save("turned", document("VirtualService", "turned", hosts=["turned.example"], tcp=[{"route": [to("nowhere", "v1")]}]))
    wait_until(lambda: who() == "", "its connections are closed")
    assert mesh["client"].tcp("10.77.9.2", 6000).who == "v1"

    mesh.save("turned", document("VirtualService", "turned", hosts=["turned.example"], tcp=[{"route": [to("divided", "v1")]}]))

    wait_until(lambda: who() == "v1", "its connections go where the rule says now")


def test_a_connection_on_which_nothing_happens_is_closed(mesh: CapturedMesh) -> None:
    beside = mesh["client"].keep("10.77.9.7", 6000)
    kept = mesh["client"].keep("10.77.9.5", 6000)
    assert (kept.who, beside.who) == ("v1", "v1")

    after_s = kept.ended()

    assert after_s >= 0.9
    assert beside.says("still there")
    beside.close()


def test_a_connection_on_which_something_happens_is_not(mesh: CapturedMesh) -> None:
    busy, idle = mesh["client"].keep("10.77.9.5", 6000), mesh["client"].keep("10.77.9.5", 6000)

    def is_over() -> bool:
        assert busy.says("something")
        return idle.is_closed()

    wait_until(is_over, "the other is closed")
    assert busy.says("still there")
    idle.close()
    busy.close()


def test_a_connection_is_closed_when_it_has_lasted_its_time_whatever_happens(mesh: CapturedMesh) -> None:
    beside = mesh["client"].keep("10.77.9.7", 6000)
    kept = mesh["client"].keep("10.77.9.6", 6000)
    assert kept.who == "v1"

    wait_until(lambda: not kept.says("something"), "it is closed")

    assert kept.ended() >= 1.9
    assert beside.says("still there")
    beside.close()


def test_no_more_connections_are_made_than_the_rule_says(mesh: CapturedMesh) -> None:
    kept = mesh["client"].keep("10.77.9.9", 6000)
    assert kept.who == "v1"

    with mesh.counted() as arrived:
        assert [mesh["client"].tcp("10.77.9.9", 6000).who for _ in range(3)] == [""] * 3

    assert not arrived
    kept.close()
    wait_until(lambda: mesh["client"].tcp("10.77.9.9", 6000).who == "v1", "there is room again")


def test_connections_of_one_source_go_to_one_endpoint_and_those_of_many_to_many(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        seen = {source: {mesh["client"].tcp("10.77.9.8", 6000, source=source).who for _ in range(6)} for source in SOURCES}

    assert {len(endpoints) for endpoints in seen.values()} == {1}
    assert arrived.total() == 6 * len(SOURCES)
    assert arrived.keys() <= set(FIVE)
    assert len(arrived) >= 3  # of five; fewer, by chance, is once in a hundred thousand rings


def test_a_tcp_port_of_a_sidecar_leads_to_each_of_its_services(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        for _ in range(5):
            mesh["narrow"].tcp("10.77.9.20", 5700)
            mesh["narrow"].tcp("10.77.9.21", 5700)

    assert arrived == {"ledger": 5, "vault": 5}


def test_a_service_beyond_the_egress_of_a_sidecar_is_none_of_its_own(mesh: CapturedMesh) -> None:
    assert mesh["client"].tcp("10.77.9.22", 5700).who == "third"
    assert mesh["narrow"].tcp("10.77.9.22", 5700).who == "itself"
