"""What rules say of a server holds where connections are captured: limits at its own sidecar, its certificate's names, delegated routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import document, outside
from tests.support.waiting import wait_until

TCP, HTTP, TLS = 9000, 9001, 8443
TILL = """
apiVersion: v1
kind: Service
metadata: {name: till}
spec: {clusterIP: 10.77.9.40, selector: {app: till}, ports: [{name: tcp, port: 9000}, {name: http, port: 9001}]}
"""


def to(host: str) -> list[dict[str, object]]:
    """Return the destination of a rule."""
    return [{"destination": {"host": host}}]


def originating(host: str, protocol: str, address: str, server_name: str, *names: str, port: int = TLS) -> str:
    """Return an entry that TLS leads to, whose certificate has to be for one of ``names``."""
    entry = outside(host, port, protocol, "10.77.7.4", addresses=[address], subjectAltNames=names)
    tls = {"mode": "SIMPLE", "caCertificates": "<ca>", "sni": server_name}
    return f"{entry}\n---\n{document('DestinationRule', host, host=host, trafficPolicy={'tls': tls})}"


MANIFESTS = (
    TILL,
    document(
        "DestinationRule",
        "till",
        host="till",
        trafficPolicy={
            "connectionPool": {"tcp": {"maxConnections": 1}},
            "portLevelSettings": [
                {"port": {"number": HTTP}, "connectionPool": {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}}}
            ],
        },
    ),
    *(outside(f"{who}.example", 8000, "HTTP", f"10.77.7.{number}") for who, number in {"web": 1, "new": 2, "old": 3}.items()),
    document(
        "VirtualService",
        "root",
        hosts=["web.example"],
        http=[
            {"match": [{"uri": {"prefix": "/v2"}}], "delegate": {"name": "leaf", "namespace": "team"}},
            {"match": [{"uri": {"prefix": "/private"}}], "delegate": {"name": "private", "namespace": "team"}},
            {"match": [{"uri": {"prefix": "/lost"}}], "delegate": {"name": "nobody", "namespace": "team"}},
            {"route": to("web.example")},
        ],
    ),
    document(
        "VirtualService",
        "leaf",
        "team",
        http=[
            {"match": [{"uri": {"prefix": "/v2/new"}}], "route": to("new.example")},
            {"match": [{"headers": {"who": {"exact": "friend"}}}], "route": to("new.example")},
            {"route": to("old.example")},
        ],
    ),
    document("VirtualService", "private", "team", exportTo=["."], http=[{"route": to("new.example")}]),
    originating("right.example", "HTTP", "10.77.9.41", "right.example", "else.example", "right.example"),
    originating("wrong.example", "HTTP", "10.77.9.42", "right.example", "wrong.example"),
    originating("right-tcp.example", "TCP", "10.77.9.43", "right.example", "right.example", port=8444),
    originating("wrong-tcp.example", "TCP", "10.77.9.44", "right.example", "wrong.example", port=8444),
)
SERVERS = (
    Server("till", "till", TCP),
    Server("till-http", "till", HTTP, "http"),
    *(Server(who, f"10.77.7.{number}", 8000, "http") for who, number in {"web": 1, "new": 2, "old": 3}.items()),
    Server("named", "10.77.7.4", TLS, "http", names=("right.example",)),
    Server("named-tcp", "10.77.7.4", 8444, names=("right.example",)),
)
WORKLOADS = (Workload(app="client"), Workload(app="till"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("rules"), "\n---\n".join(MANIFESTS), WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted_and_what_cannot_be_had_is_told(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []
    assert set(mesh.problems()) == {
        ("VirtualService/default/root", "spec.http[1].delegate"),
        ("VirtualService/team/private", "spec.exportTo"),
        ("VirtualService/default/root", "spec.http[2].delegate"),
    }


def test_a_server_has_no_more_connections_than_its_rule_says_whoever_asks(mesh: CapturedMesh) -> None:
    first = mesh.outside.keep(mesh["till"].ip, TCP)
    assert first.who == "till"

    with mesh.counted() as arrived:
        assert [mesh.outside.tcp(mesh["till"].ip, TCP).who for _ in range(3)] == [""] * 3
        assert mesh["client"].tcp("10.77.9.40", TCP).who == ""

    assert not arrived
    assert first.says("still there")
    first.close()
    wait_until(lambda: mesh.outside.tcp(mesh["till"].ip, TCP).who == "till", "there is room again")


def test_a_server_has_no_more_requests_waiting_than_its_rule_says_whoever_asks(mesh: CapturedMesh) -> None:
    ip, of_server = mesh["till"].ip, f"inbound|{HTTP}||"
    asked = [mesh.outside.ask(ip, HTTP, "till", "/hold")]
    wait_until(lambda: mesh["till"].holds() == {"till-http": 1}, "a request is there")
    asked.append(mesh.outside.ask(ip, HTTP, "till", "/hold"))
    wait_until(lambda: mesh["till"].stat(of_server, "upstream_rq_pending_active") == 1, "another waits")

    assert [mesh.outside.http(ip, HTTP, "till").status for _ in range(3)] == [503] * 3

    mesh["till"].release()
    assert [mesh.outside.answered(each).who for each in asked] == ["till-http"] * 2
    wait_until(lambda: mesh["client"].http("10.77.9.40", HTTP, "till").who == "till-http", "there is room again")


@pytest.mark.parametrize(
    ("path", "headers", "who"),
    [
        ("/", {}, "web"),
        ("/v2/new/1", {}, "new"),
        ("/v2/1", {"who": "friend"}, "new"),
        ("/v2/1", {"who": "stranger"}, "old"),
        ("/v2", {}, "old"),
        ("/new", {"who": "friend"}, "web"),
        ("/private", {}, "web"),  # a rule whose delegate cannot be had is none
        ("/lost", {}, "web"),
    ],
)
def test_a_delegate_decides_within_what_it_was_given(mesh: CapturedMesh, path: str, headers: dict[str, str], who: str) -> None:
    with mesh.counted() as arrived:
        assert mesh["client"].http("10.77.33.7", 8000, "web.example", path, headers=headers).who == who

    assert arrived == {who: 1}


def test_another_host_of_the_port_of_a_delegate_is_served(mesh: CapturedMesh) -> None:
    assert mesh["client"].http("10.77.33.7", 8000, "old.example").who == "old"


def test_a_server_is_spoken_to_whose_certificate_has_one_of_the_names(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        assert [mesh["client"].http("10.77.9.41", TLS, "right.example").who for _ in range(3)] == ["named"] * 3
        assert [mesh["client"].tcp("10.77.9.43", 8444).who for _ in range(3)] == ["named-tcp"] * 3

    assert arrived == {"named": 3, "named-tcp": 3}


def test_a_server_is_refused_whose_certificate_has_none_of_the_names(mesh: CapturedMesh) -> None:
    with mesh.counted() as arrived:
        answers = [mesh["client"].http("10.77.9.42", TLS, "wrong.example") for _ in range(3)]
        by_tcp = [mesh["client"].tcp("10.77.9.44", 8444).who for _ in range(3)]

    assert {(each.status, each.who) for each in answers} == {(503, "")}
    assert by_tcp == [""] * 3
    assert "named" not in arrived  # not a request; of the others each connection counts, and ends in the handshake
    assert mesh["client"].stat(f"outbound|{TLS}||wrong.example", "ssl.fail_verify_san") >= 3
    assert mesh["client"].stat("outbound|8444||wrong-tcp.example", "ssl.fail_verify_san") >= 3
