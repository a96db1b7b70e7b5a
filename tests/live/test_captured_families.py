"""Connections by IPv6 are told apart, kept and let through as those by IPv4 are, in pods that have addresses of both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.captured_mesh import CapturedMesh, Server, captured_mesh
from tests.support.captured_pods import Workload
from tests.support.manifests import backed, document, outside

ELSEWHERE, RAW = "fd77::9", "fd77::8"
MANIFESTS = (
    outside("api.bank.example", 443, "TLS", "fd77::1"),
    outside("*.wild.example", 443, "TLS"),
    backed("db", "shop", "None", {"name": "tcp", "port": 5432}, "fd77::21", "fd77::22"),
    outside("store.example", 6000, "TCP", "fd77::2", addresses=["fd99::5", "10.77.9.5"]),
    outside("block.example", 6100, "TCP", "fd77::2", addresses=["fd99:16::/64"]),
    outside("chosen.example", 9100, "TCP"),
    backed("web", "shop", "10.77.9.1", {"name": "http", "port": 8000}, "10.77.6.1"),
    document("Sidecar", "default", "closed", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}, egress=[{"hosts": ["*/*"]}]),
)
SERVERS = (
    Server("bank", "fd77::1", 443, names=("bank.example",)),
    Server("elsewhere", ELSEWHERE, 443, names=("elsewhere.example",)),
    Server("raw", RAW, 443),
    Server("store", "fd77::2", 6000),
    Server("block", "fd77::2", 6100),
    Server("beside", "fd99:17::1", 6100),
    *(Server(who, address, port) for who, address in {"db-1": "fd77::21", "db-2": "fd77::22"}.items() for port in (5432, 9100)),
    Server("web", "10.77.6.1", 8000, "http"),
    Server("loose", "fd77::9", 8000, names=("loose.example",)),
)
WORKLOADS = (Workload(app="open", namespace="open", v6=True), Workload(app="closed", namespace="closed", v6=True))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturedMesh]:
    with captured_mesh(tmp_path_factory.mktemp("families"), "\n---\n".join(MANIFESTS), WORKLOADS, SERVERS) as made:
        yield made


def test_everything_is_accepted(mesh: CapturedMesh) -> None:
    assert mesh.refused() == []


@pytest.mark.parametrize("client", ["open", "closed"])
def test_what_is_known_arrives_by_both_families(mesh: CapturedMesh, client: str) -> None:
    asks = mesh[client]

    with mesh.counted() as arrived:
        seen = [
            asks.tls(ELSEWHERE, 443, "api.bank.example").who,
            asks.tls(ELSEWHERE, 443, "a.wild.example").who,
            asks.tcp("fd77::21", 5432).who,
            asks.tcp("fd77::22", 5432).who,
            asks.tcp("fd99::5", 6000).who,
            asks.tcp("10.77.9.5", 6000).who,
            asks.tcp("fd99:16::1:2", 6100).who,
            asks.tcp("fd77::21", 9100).who,
            asks.tcp("fd77::22", 9100).who,
            asks.http("10.77.9.1", 8000, "web.shop").who,
        ]

    assert seen == ["bank", "elsewhere", "db-1", "db-2", "store", "store", "block", "db-1", "db-2", "web"]
    assert arrived.total() == len(seen)


@pytest.mark.parametrize(("client", "passes"), [("open", True), ("closed", False)])
def test_what_is_not_known_passes_or_does_not(mesh: CapturedMesh, client: str, *, passes: bool) -> None:
    asks = mesh[client]

    seen = [
        asks.tls(ELSEWHERE, 443, "nobody.example").who,
        asks.tcp(RAW, 443).who,
        asks.tcp("fd99:17::1", 6100).who,
        asks.tls("fd77::9", 8000, "nobody.example").who,
    ]

    assert seen == (["elsewhere", "raw", "beside", "loose"] if passes else [""] * 4)
