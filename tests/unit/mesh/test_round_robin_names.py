"""Names whose addresses take turns (LOGICAL_DNS): Envoy refuses such a cluster of no endpoint, and of several."""

from __future__ import annotations

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.mesh.snapshot import snapshot
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change
from controlplane.objects.parse import parse
from tests.bench.recompute import change

Json = dict[str, object]
CLIENT = proxy_from_node("sidecar~10.0.0.9~client.shop~shop.svc.cluster.local", {})


def istio(kind: str, name: str, **spec: object) -> Json:
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def world(instances: int) -> list[Json]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    selector: Json = {"labels": {"app": "x"}}
    entry = istio("ServiceEntry", "e", hosts=["a.example"], ports=ports, resolution="DNS_ROUND_ROBIN", workloadSelector=selector)
    workloads = [istio("WorkloadEntry", f"w{number}", address=f"w{number}.example", labels={"app": "x"}) for number in range(instances)]
    return [entry, *workloads]


@pytest.mark.parametrize(("instances", "expected"), [(0, "STRICT_DNS"), (1, "LOGICAL_DNS"), (2, "STRICT_DNS")])
def test_only_a_cluster_of_one_endpoint_is_of_that_kind(instances: int, expected: str) -> None:
    parsed = [parse(each) for each in world(instances)]

    resources = snapshot([Change(each.key, each.object) for each in parsed if each.key], CLIENT).resources["clusters"]

    assert [each["type"] for each in resources if "a.example" in str(each["name"])] == [expected]


def test_several_instances_are_told() -> None:
    def told(instances: int) -> list[tuple[str, str]]:
        mesh = Mesh()
        mesh.apply([change(each) for each in world(instances)])
        return [(each.field, each.code) for each in mesh.problems()]

    assert told(1) == []
    assert told(2) == [("spec.resolution", "Ineffective")]
