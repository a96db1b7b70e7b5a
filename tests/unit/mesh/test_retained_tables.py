"""What the last proxy of a kind saw is kept for a while, and what the first will see is there before it."""

from __future__ import annotations

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import proxy_from_node
from controlplane.xds.stream import Variant
from tests.bench.recompute import change
from tests.bench.workload import Size, endpoints, service

SIZE = Size(services=120, namespaces=3, endpoints=2)
OWN = SIZE.services / 3  # queries: what a proxy is asked about itself and serves itself is 33, whatever the number of services
KEEP_S = 60.0


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh(retain_tables_s=KEEP_S)
    made.apply([change(make(number, SIZE)) for number in range(SIZE.services) for make in (service, endpoints)])
    made.refresh(now=100.0)
    return made


def connected(mesh: Mesh, namespace: str, number: int = 1, now: float = 100.0) -> Session:
    node = f"sidecar~10.250.0.{number}~p{number}.{namespace}~{namespace}.svc.cluster.local"
    session = mesh.connect(proxy_from_node(node, {"LABELS": {"app": "none"}}), Variant.DELTA)
    mesh.refresh(now=now)
    return session


def runs(mesh: Mesh) -> int:
    return sum(mesh.database.runs.values())


def test_a_rollout_that_takes_the_last_proxy_away_does_not_pay_for_the_view_again(mesh: Mesh) -> None:
    first = connected(mesh, "ns0")
    view = first.view.tables[0]
    before = runs(mesh)

    mesh.disconnect(first)
    gone = mesh.refresh(now=110.0)
    second = connected(mesh, "ns0", 2, now=120.0)

    assert second.view.tables[0] is view
    assert runs(mesh) - before < OWN
    assert gone.due == 100.0 + KEEP_S


def test_what_is_kept_follows_changes_meanwhile(mesh: Mesh) -> None:
    session = connected(mesh, "ns0")
    mesh.disconnect(session)

    mesh.apply([change(endpoints(3, SIZE, moved=1))])
    changes = mesh.refresh(now=110.0).changes

    assert [table for table, _ in changes] == [session.view.tables[0]]


def test_after_the_time_it_is_dropped_with_all_that_it_was_made_of(mesh: Mesh) -> None:
    idle = sum(map(len, mesh.database.graph.nodes.values()))
    mesh.disconnect(connected(mesh, "ns0"))
    for now in (159.0, 161.0):
        mesh.refresh(now=now)
        mesh.database.collect()
        kept = sum(map(len, mesh.database.graph.nodes.values())) - idle

        assert (kept > SIZE.services) == (now < 100.0 + KEEP_S)
    assert mesh.refresh(now=162.0).due is None


def test_one_that_came_back_and_left_again_is_kept_from_then_on(mesh: Mesh) -> None:
    mesh.disconnect(connected(mesh, "ns0"))
    again = connected(mesh, "ns0", now=150.0)
    mesh.disconnect(again)
    before = runs(mesh)

    third = connected(mesh, "ns0", now=200.0)

    assert third.view.tables[0] is again.view.tables[0]
    assert runs(mesh) - before < OWN


def test_no_more_than_a_few_are_kept() -> None:
    size = Size(services=40, namespaces=20, endpoints=1)
    mesh = Mesh(retain_tables_s=KEEP_S)
    mesh.apply([change(service(number, size)) for number in range(size.services)])
    sessions = [connected(mesh, f"ns{number}", number) for number in range(20)]
    for session in sessions:
        mesh.disconnect(session)
    mesh.refresh(now=101.0)
    mesh.apply([change(service(0, Size(services=40, namespaces=20, endpoints=1)) | {"spec": {"ports": [{"name": "http", "port": 81}]}})])

    assert len(mesh.refresh(now=102.0).changes) == 8


@pytest.mark.parametrize("identified", [False, True])
def test_the_view_of_the_largest_namespace_can_be_there_before_a_proxy(mesh: Mesh, identified: bool) -> None:  # noqa: FBT001
    mesh.apply([change({**service(61, SIZE), "metadata": {"name": "more", "namespace": "ns2"}})])
    mesh.expect_proxies(identified=identified)
    mesh.refresh(now=101.0)
    before = runs(mesh)

    connected(mesh, "ns2", now=102.0)

    assert (runs(mesh) - before < OWN) == (not identified)  # the proxies of this test have no certificate


def test_a_mesh_without_workloads_expects_nobody() -> None:
    mesh = Mesh(retain_tables_s=KEEP_S)

    mesh.expect_proxies(identified=False)

    assert mesh.refresh(now=1.0).due is None
