"""Endpoints that have changed do not wait for what else a refresh has to do, and nothing goes out by that which does not hold together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.identity import Identity
from controlplane.model.keys import Key
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

SIDECAR = proxy_from_node("sidecar~10.0.0.1~c.shop~shop.svc.cluster.local", {})
WEB, OTHER, NEW = (f"outbound|80||{name}.shop.svc.cluster.local" for name in ("web", "other", "new"))


def written(kind: str, name: str, version: str = "networking.istio.io/v1", **body: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **body}


def service(name: str) -> dict[str, object]:
    return written("Service", name, "v1", spec={"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]})


def workload(name: str, app: str, address: str, **more: object) -> dict[str, object]:
    return written("WorkloadEntry", name, spec={"address": address, "labels": {"app": app}, **more})


def routed(timeout_s: int) -> dict[str, object]:
    """Return what a refresh has to do beside."""
    http = [{"timeout": f"{timeout_s}s", "route": [{"destination": {"host": "other"}}]}]
    return written("VirtualService", "wide", spec={"hosts": [f"h{number}.example" for number in range(20)], "http": http})


def apply(mesh: Mesh, *documents: dict[str, object]) -> None:
    parsed = [parse(document) for document in documents]
    assert all(each.object for each in parsed), parsed
    mesh.apply(split(Change(each.key, each.object) for each in parsed if each.key)[0])


def delete(mesh: Mesh, document: dict[str, object]) -> None:
    key = parse(document).key
    assert isinstance(key, Key)
    mesh.apply(split((Change(key, None),))[0])


def after(runs: int) -> Callable[[], bool]:
    """Return what stops a refresh after so many queries."""
    left = iter(range(runs))
    return lambda: next(left, None) is None


def has(session: Session, name: str, address: str) -> bool:
    """Return whether ``session`` sees ``address`` as an endpoint of ``name``."""
    found = session.view.get(EDS, name)
    return found is not None and address.encode() in found.value


def updated(published: Published) -> set[str]:
    return {name for _, change in published.changes for names in change.updated.values() for name in names}


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh()
    apply(made, service("web"), workload("w1", "web", "10.1.0.1"), service("other"), workload("o1", "other", "10.2.0.1"), routed(1))
    return made


@pytest.fixture
def session(mesh: Mesh) -> Session:
    found = mesh.connect(SIDECAR, Variant.DELTA)
    mesh.refresh()
    return found


def test_endpoints_go_ahead_of_what_is_left_of_a_refresh(mesh: Mesh, session: Session) -> None:
    apply(mesh, routed(2))
    begun = mesh.refresh(after(1))
    apply(mesh, workload("w1", "web", "10.1.0.2"), workload("w2", "web", "10.1.0.3"))

    published = mesh.refresh_endpoints()

    assert (begun.done, published.done) == (False, True)
    assert updated(published) == {WEB}
    assert has(session, WEB, "10.1.0.2")
    assert has(session, WEB, "10.1.0.3")
    assert WEB not in updated(mesh.refresh())


def test_what_changes_its_mind_before_the_refresh_is_done_is_published_as_it_is_then(mesh: Mesh, session: Session) -> None:
    apply(mesh, routed(2))
    mesh.refresh(after(1))
    apply(mesh, workload("w1", "web", "10.1.0.2"))
    mesh.refresh_endpoints()

    apply(mesh, workload("w1", "web", "10.1.0.1"))
    mesh.refresh()

    assert has(session, WEB, "10.1.0.1")


def test_a_cluster_goes_with_its_endpoints_where_these_change_it(mesh: Mesh) -> None:
    session = mesh.connect(replace(SIDECAR, identity=Identity("cluster.local", "shop", "c")), Variant.DELTA)
    labels = {"app": "web", "security.istio.io/tlsMode": "istio"}
    apply(mesh, workload("w1", "web", "10.1.0.1", labels=labels, serviceAccount="first"))
    mesh.refresh()
    before = session.view.get(CDS, WEB)
    apply(mesh, routed(2))
    mesh.refresh(after(1))

    apply(mesh, workload("w1", "web", "10.1.0.1", labels=labels, serviceAccount="second"))
    mesh.refresh_endpoints()

    ahead = (session.view.get(CDS, WEB), session.view.get(EDS, WEB))
    mesh.refresh()
    assert ahead == (session.view.get(CDS, WEB), session.view.get(EDS, WEB))
    assert before not in (None, ahead[0])


def test_nobody_is_left_without_endpoints_ahead_of_the_rest(mesh: Mesh, session: Session) -> None:
    apply(mesh, routed(2))
    mesh.refresh(after(1))
    delete(mesh, workload("w1", "web", "10.1.0.1"))

    ahead = mesh.refresh_endpoints()
    kept = has(session, WEB, "10.1.0.1")
    mesh.refresh()

    assert updated(ahead) == set()
    assert kept
    assert not has(session, WEB, "10.1.0.1")


def test_what_is_new_or_on_its_way_out_waits_for_the_rest(mesh: Mesh, session: Session) -> None:
    apply(mesh, routed(2), service("new"), workload("n1", "new", "10.3.0.1"))
    delete(mesh, service("other"))
    mesh.refresh(after(1))
    apply(mesh, workload("o1", "other", "10.2.0.2"), workload("n1", "new", "10.3.0.2"))

    ahead = mesh.refresh_endpoints()
    before = [session.view.get(CDS, name) is not None for name in (OTHER, NEW)]
    mesh.refresh()

    assert updated(ahead) == set()
    assert before == [True, False]
    assert session.view.get(EDS, OTHER) is None
    assert has(session, NEW, "10.3.0.2")


def test_it_goes_on_where_it_was_told_to_stop(mesh: Mesh, session: Session) -> None:
    apply(mesh, routed(2))
    mesh.refresh(after(1))
    apply(mesh, workload("w1", "web", "10.1.0.2"), workload("o1", "other", "10.2.0.2"))

    rounds = list(itertools.takewhile(lambda published: not published.done, (mesh.refresh_endpoints(lambda: True) for _ in range(100))))

    assert rounds
    assert has(session, WEB, "10.1.0.2")
    assert has(session, OTHER, "10.2.0.2")
