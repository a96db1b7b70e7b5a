"""Files, a cluster, Consul and etcd at once: whose object counts, as a table."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controlplane.mesh.snapshot import Snapshot, snapshot
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change
from controlplane.objects.parse import parse
from controlplane.sources.precedence import Precedence
from controlplane.sources.registry.entries import Convention
from controlplane.sources.registry.mirror import RegistryMirror
from controlplane.sources.registry.registration import Instance, NamedPort, Registration
from tests.support.document_problems import document_problems
from tests.support.sidecar_view import endpoints

FILES, KUBERNETES, CONSUL, ETCD = SOURCES = ("files", "kubernetes", "consul", "etcd")
HOST = "web.service.consul"


def written(kind: str, name: str, namespace: str, spec: Mapping[str, object], created: str = "") -> Change:
    group = "v1" if kind == "Service" else "discovery.k8s.io/v1" if kind == "EndpointSlice" else "networking.istio.io/v1"
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    parsed = parse({"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec})
    assert parsed.key is not None
    return Change(parsed.key, parsed.object)


def entry(address: str, *, name: str = "mine", namespace: str = "shop", port: int = 80, host: str = HOST) -> Change:
    spec: dict[str, object] = {
        "hosts": [host],
        "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": address}],
    }
    return written("ServiceEntry", name, namespace, spec)


def registered(address: str, *, registry: str = "Consul", port: int = 80, host: str = HOST) -> Change:
    mirror = RegistryMirror(registry, Convention(registry, registry.lower()), 60)
    instance = Instance(id="1", address=address, ports=(NamedPort("", port),), origin="instance 1")
    [change] = mirror.put(Registration(name="web", host=host, instances=(instance,), origin="service web", protocol="http"))
    return change


def seen(changes: Mapping[str, Change], namespace: str = "default") -> tuple[Snapshot, list[tuple[str, str]]]:
    """Return what a client in ``namespace`` gets where each source gives its one of ``changes``, and which objects are shadowed."""
    precedence = Precedence(SOURCES)
    effective = [change for source in reversed(SOURCES) if source in changes for change in precedence.take(source, [changes[source]])]
    last = {change.key: change for change in effective}
    node = f"sidecar~10.9.9.9~c-0.{namespace}~{namespace}.svc.cluster.local"
    shadowed = [(str(located.problem.object), located.problem.code) for located in document_problems(precedence)]
    return snapshot(last.values(), proxy_from_node(node, {"LABELS": {"app": "c"}})), shadowed


CASES = {
    "Consul alone": ({CONSUL: registered("10.0.0.1")}, ["10.0.0.1:80"], []),
    "a ServiceEntry of a file counts before Consul": (
        {FILES: entry("10.0.0.9"), CONSUL: registered("10.0.0.1")},
        ["10.0.0.9:80"],
        ["consul"],
    ),
    "and so does one of the cluster": ({KUBERNETES: entry("10.0.0.8"), CONSUL: registered("10.0.0.1")}, ["10.0.0.8:80"], ["consul"]),
    "even where its namespace comes later": (
        {FILES: entry("10.0.0.9", namespace="zoo"), CONSUL: registered("10.0.0.1")},
        ["10.0.0.9:80"],
        ["consul"],
    ),
    "Consul counts before etcd": (
        {CONSUL: registered("10.0.0.1"), ETCD: registered("10.0.0.2", registry="etcd")},
        ["10.0.0.1:80"],
        ["etcd"],
    ),
    "a port that nobody else has is added": ({FILES: entry("10.0.0.9", port=81), CONSUL: registered("10.0.0.1")}, ["10.0.0.1:80"], []),
}


@pytest.mark.parametrize(("changes", "addresses", "losers"), CASES.values(), ids=CASES.keys())
def test_whose_endpoints_count(changes: Mapping[str, Change], addresses: list[str], losers: list[str]) -> None:
    found, shadowed = seen(changes)

    assert endpoints(found, f"outbound|80||{HOST}") == addresses
    assert shadowed == []
    conflicts = {problem.object.namespace for problem in found.problems if problem.code == "Conflict" and problem.object}
    assert sorted(conflicts & {"consul", "etcd"}) == losers


@pytest.mark.parametrize("namespace", ["default", "shop", "consul"])
def test_what_is_written_counts_for_clients_of_every_namespace(namespace: str) -> None:
    found, _ = seen({FILES: entry("10.0.0.9"), CONSUL: registered("10.0.0.1")}, namespace)

    assert endpoints(found, f"outbound|80||{HOST}") == ["10.0.0.9:80"]


def test_an_object_of_the_same_name_takes_the_place_of_a_registered_one() -> None:
    found, shadowed = seen({FILES: entry("10.0.0.9", name="web", namespace="consul"), CONSUL: registered("10.0.0.1")})

    assert endpoints(found, f"outbound|80||{HOST}") == ["10.0.0.9:80"]
    assert shadowed == [("ServiceEntry/consul/web", "Shadowed")]
