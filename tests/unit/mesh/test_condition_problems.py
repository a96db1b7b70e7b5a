"""Conditions of VirtualServices that ask for Gateways, ports and clients that are not there."""

from __future__ import annotations

import pytest

from controlplane.mesh.mesh import Mesh
from tests.bench.recompute import change

Json = dict[str, object]
TO: Json = {"route": [{"destination": {"host": "web"}}]}
CODES = ("UnknownGateway", "NoSuchPort", "NoWorkload")


def istio(kind: str, name: str, spec: object) -> Json:
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def core(kind: str, name: str, labels: Json | None = None, **more: object) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": labels or {}}, **more}


WEB = core("Service", "web", spec={"ports": [{"name": "http", "port": 80}]})
FRONT = istio("Gateway", "front", {"servers": [{"hosts": ["*"], "port": {"number": 8080, "name": "http", "protocol": "HTTP"}}]})
CLIENT = core("Pod", "client", {"app": "client"})


def told(match: Json, *others: Json, kind: str = "http", **spec: object) -> list[tuple[str, str]]:
    """Return where, below the condition, which of the codes is told."""
    rule = istio("VirtualService", "v", {"hosts": ["web"], kind: [{"match": [match], **TO}], **spec})
    mesh = Mesh()
    mesh.apply([change(each) for each in (rule, WEB, *others)])
    found = [each for each in mesh.problems() if each.code in CODES and each.object and each.object.name == "v"]
    return [(each.field.removeprefix(f"spec.{kind}[0].match[0]."), each.code) for each in found]


@pytest.mark.parametrize(
    ("match", "others", "expected"),
    [
        ({"port": 80}, (), []),
        ({"port": 81}, (), [("port", "NoSuchPort")]),
        ({"gateways": ["mesh"]}, (), []),
        ({"gateways": ["front"], "uri": {"prefix": "/"}}, (FRONT,), []),
        ({"gateways": ["font"], "uri": {"prefix": "/"}}, (FRONT,), [("gateways[0]", "UnknownGateway")]),
        ({"gateways": ["front"], "port": 8080}, (FRONT,), []),
        ({"gateways": ["front"], "port": 8081}, (FRONT,), [("port", "NoSuchPort")]),
        ({"sourceLabels": {"app": "client"}}, (CLIENT,), []),
        ({"sourceLabels": {"app": "cleint"}}, (CLIENT,), [("sourceLabels", "NoWorkload")]),
        ({"sourceLabels": {"app": "cleint"}}, (), []),
        ({"sourceNamespace": "shop"}, (CLIENT,), []),
        ({"sourceNamespace": "shpo"}, (CLIENT,), [("sourceNamespace", "NoWorkload")]),
        ({"sourceNamespace": "shop", "sourceLabels": {"app": "cleint"}}, (CLIENT,), [("sourceLabels", "NoWorkload")]),
    ],
)
def test_of_requests(match: Json, others: tuple[Json, ...], expected: list[tuple[str, str]]) -> None:
    assert told(match, *others) == expected


def test_a_port_of_a_host_that_is_not_known_may_be_there() -> None:
    assert told({"port": 81}, hosts=["web", "elsewhere.example"]) == []
    assert told({"port": 81, "gateways": ["font"]}) == [("gateways[0]", "UnknownGateway")]


@pytest.mark.parametrize("kind", ["tls", "tcp"])
def test_of_connections(kind: str) -> None:
    sni: Json = {"sniHosts": ["web"]} if kind == "tls" else {}

    assert told({"gateways": ["font"], **sni}, FRONT, kind=kind) == [("gateways[0]", "UnknownGateway")]
    assert ("sourceLabels", "NoWorkload") in told({"sourceLabels": {"app": "cleint"}, **sni}, CLIENT, kind=kind)
