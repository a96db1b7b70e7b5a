"""Labels of namespaces that do not say what they seem to say, and ports of external names that do not say what they carry."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]


def told(kind: str, labels: Json, **more: object) -> list[tuple[str, str]]:
    parsed = parse({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "labels": labels}, **more})
    assert parsed.object is not None
    assert {each.severity for each in parsed.problems} <= {Severity.WARNING}
    return [(each.field.removeprefix("metadata.labels."), each.code) for each in parsed.problems]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"istio-injection": "enabled"}, []),
        ({"istio-injection": "disabled", "app": "x"}, []),
        ({"istio.io/rev": "blue", "kubernetes.io/metadata.name": "x"}, []),
        ({"istio-injection": "enable"}, [("istio-injection", "Ineffective")]),
        ({"istio-injection": "Enabled"}, [("istio-injection", "Ineffective")]),
        ({"istio-injection": ""}, [("istio-injection", "Ineffective")]),
        ({"istio-injecton": "enabled"}, [("istio-injecton", "UnknownLabel")]),
        ({"Istio-Injection": "enabled"}, [("Istio-Injection", "UnknownLabel")]),
        ({"istio.io/revision": "blue"}, []),
        ({"istio-injection": "enabled", "istio.io/rev": "blue"}, [("istio.io/rev", "Conflict")]),
    ],
)
def test_labels_of_injection(labels: Json, expected: list[tuple[str, str]]) -> None:
    assert told("Namespace", labels) == expected


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("Namespace", {"sidecar.istio.io/inject": "true"}, [("sidecar.istio.io/inject", "MisplacedLabel")]),
        ("Pod", {"sidecar.istio.io/inject": "true", "istio.io/rev": "blue", "app": "x"}, []),
        ("Pod", {"sidecar.istio.io/inject": "yes"}, [("sidecar.istio.io/inject", "Ineffective")]),
        ("Pod", {"istio-injection": "enabled"}, [("istio-injection", "MisplacedLabel")]),
        ("Pod", {"sidecar.istio.io/injet": "true"}, [("sidecar.istio.io/injet", "UnknownLabel")]),
        ("Pod", {"security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": "x"}, []),
    ],
)
def test_a_label_where_nobody_reads_it_is_told(kind: str, labels: Json, expected: list[tuple[str, str]]) -> None:
    assert told(kind, labels) == expected


def test_a_port_of_an_external_name_says_what_it_carries() -> None:
    ports = [{"name": "web", "port": 80}, {"name": "http-web", "port": 81}, {"name": "x", "port": 82, "appProtocol": "grpc"}]

    outside = told("Service", {}, spec={"type": "ExternalName", "externalName": "a.example", "ports": ports})

    assert outside == [("spec.ports[0].name", "UnknownProtocol")]
    assert told("Service", {}, spec={"ports": ports}) == []
