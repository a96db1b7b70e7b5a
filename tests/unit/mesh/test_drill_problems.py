"""Drills of services that are not there are told."""

from __future__ import annotations

from controlplane.mesh.mesh import Mesh
from controlplane.objects.changes import MeshChange
from controlplane.objects.drills.drill import Drill
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.parse import parse

INJECT = [{"service": "reviews", "duration": "5s", "blackhole": {}}]
DRILL = {"steadyState": [{"service": "reviews", "successRate": 99.0}], "inject": INJECT, "observe": [{"service": "ratings.other"}]}


def test_services_that_are_not_known_are_told_until_they_are() -> None:
    metadata = {"name": "one", "namespace": "shop"}
    drill = parse({"apiVersion": "navarch.dev/v1alpha1", "kind": "Drill", "metadata": metadata, "spec": DRILL}).object
    service = parse(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "reviews", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }
    ).object
    assert isinstance(drill, Drill)
    assert isinstance(service, KubernetesService)
    mesh = Mesh()

    mesh.apply([MeshChange(drill.key, drill)])
    before = sorted(problem.field for problem in mesh.problems_about(drill.key))
    mesh.apply([MeshChange(service.key, service)])
    after = sorted(problem.field for problem in mesh.problems_about(drill.key))

    assert before == ["spec.inject[0].service", "spec.observe[0].service", "spec.steadyState[0].service"]
    assert after == ["spec.observe[0].service"]
