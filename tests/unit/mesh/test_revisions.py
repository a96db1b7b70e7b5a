"""Objects that are labelled for another control plane have no effect, and it is said."""

from __future__ import annotations

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import Key
from controlplane.objects.changes import MeshChange
from controlplane.objects.kinds import MeshObject
from controlplane.objects.parse import parse


def change(kind: str, api: str, label: str | None, spec: dict[str, object]) -> MeshChange:
    labels = {} if label is None else {"labels": {"istio.io/rev": label}}
    parsed = parse({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "a", **labels}, "spec": spec})
    assert parsed.key is not None
    assert isinstance(parsed.object, MeshObject)
    return MeshChange(parsed.key, parsed.object)


def routes(label: str | None) -> MeshChange:
    return change(
        "VirtualService", "networking.istio.io/v1", label, {"hosts": ["a.example"], "http": [{"directResponse": {"status": 204}}]}
    )


@pytest.mark.parametrize(
    ("revision", "label", "counts"),
    [
        ("default", None, True),
        ("default", "default", True),
        ("default", "canary", False),
        ("canary", None, True),
        ("canary", "canary", True),
        ("canary", "default", False),
    ],
)
def test_an_object_counts_for_the_revision_of_its_label_and_for_all_without_one(revision: str, label: str | None, counts: bool) -> None:  # noqa: FBT001
    mesh = Mesh(revision)

    mesh.apply([routes(label)])

    assert bool(mesh.keys) == counts
    told = [(problem.field, problem.severity.value, problem.code) for problem in mesh.problems()]
    assert told == ([] if counts else [("metadata.labels", "info", "OtherRevision")])


def test_an_object_comes_and_goes_with_its_label() -> None:
    mesh = Mesh()
    key = Key("VirtualService", "a", "x", "networking.istio.io")

    assert mesh.apply([routes(None)]) == {key}
    assert mesh.apply([routes("canary")]) == {key}
    assert mesh.keys == ()
    assert mesh.is_for_another_revision(key)
    assert mesh.apply([routes("default")]) == {key}
    assert not mesh.problems()
    mesh.apply([routes("canary"), MeshChange(key, None)])
    assert not mesh.problems()
    assert not mesh.is_for_another_revision(key)


def test_the_label_of_a_pod_is_for_its_injection() -> None:
    mesh = Mesh()

    mesh.apply([change("Pod", "v1", "canary", {"containers": []})])

    assert len(mesh.keys) == 1
