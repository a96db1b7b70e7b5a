"""What Services, EndpointSlices and Pods must keep to when nobody but us has looked at them."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]


def errors(kind: str, api: str = "v1", **body: object) -> list[str]:
    parsed = parse({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, **body})
    return [each.field for each in parsed.problems if each.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"ports": [{"port": 80}], "clusterIP": "None"}, []),
        ({"ports": [{"port": 53, "name": "a"}, {"port": 53, "name": "b", "protocol": "UDP"}], "clusterIPs": ["10.0.0.1", "fd00::1"]}, []),
        ({"ports": [{"port": 80}, {"port": 81}]}, ["spec.ports[1].name"]),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, ["spec.ports[1].port"]),
        ({"ports": [{"port": 0}]}, ["spec.ports[0].port"]),
        ({"ports": [{"port": 80, "name": "a_b"}]}, ["spec.ports[0].name"]),
        ({"ports": [{"port": 80, "protocol": "HTTP"}]}, ["spec.ports[0].protocol"]),
        ({"clusterIP": "ten"}, ["spec.clusterIP"]),
        ({"type": "ExternalName"}, ["spec.externalName"]),
        ({"type": "ExternalName", "externalName": "a.example.com"}, []),
    ],
)
def test_services(spec: Json, fields: list[str]) -> None:
    assert errors("Service", spec=spec) == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"endpoints": [{"addresses": ["1.1.1.1"]}]}, []),
        ({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}, []),
        ({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]}, ["addressType"]),
        ({"addressType": "IPv6", "endpoints": [{"addresses": ["1.1.1.1"]}]}, ["endpoints[0].addresses[0]"]),
        ({"endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.1", "x"]}]}, ["endpoints[1].addresses[1]"]),
        ({"addressType": "IP"}, ["addressType"]),
        ({"endpoints": None, "ports": None}, []),
    ],
)
def test_endpoint_slices(body: Json, fields: list[str]) -> None:
    assert errors("EndpointSlice", "discovery.k8s.io/v1", **body) == fields


def test_pods() -> None:
    assert errors("Pod", status={"podIP": "1.1.1.1", "podIPs": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}]}) == []
    assert errors("Pod", status={"podIP": "here"}) == ["status.podIP"]
    assert errors("Pod", status={"phase": "Resting"}) == ["status.phase"]
