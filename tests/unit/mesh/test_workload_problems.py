"""Namespaces and pods without proxies, containers that pass by them, ports that Services share, and annotations that nobody reads."""

from __future__ import annotations

import time

import pytest

from controlplane.inject.annotations import INJECTION_ANNOTATIONS
from controlplane.mesh.mesh import Mesh
from controlplane.objects.parse import parse
from controlplane.objects.types.metadata_rules import KNOWN_ANNOTATIONS
from tests.bench.recompute import change

Json = dict[str, object]
INJECTED: Json = {"istio-injection": "enabled"}
APP: Json = {"name": "app"}
PROXY: Json = {"name": "istio-proxy"}


def core(kind: str, name: str, namespace: str = "shop", labels: Json | None = None, **more: object) -> Json:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def namespace(labels: Json | None = None) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels or {}}}


def pod(*containers: Json, labels: Json | None = None, name: str = "a", **spec: object) -> Json:
    return core("Pod", name, labels=labels, spec={"containers": list(containers or (APP,)), **spec})


def service(name: str, *ports: Json, **selector: str) -> Json:
    return core("Service", name, spec={"selector": selector or {"app": "a"}, "ports": list(ports)})


def told(*written: Json) -> list[tuple[str, str, str]]:
    """Return the severity, the code and the field of each Problem."""
    mesh = Mesh()
    mesh.apply([change(each) for each in written])
    return [(str(each.severity), each.code, f"{each.object.name if each.object else ''} {each.field}") for each in mesh.problems()]


NOT_INJECTED = ("info", "NotInjected", "shop metadata.labels")
NO_PROXY = ("warning", "NoProxy", "a spec.containers")


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([namespace()], []),
        ([namespace(), pod()], [NOT_INJECTED]),
        ([namespace(), pod(labels={"sidecar.istio.io/inject": "true"})], [NO_PROXY]),
        ([namespace(), pod(APP, PROXY, labels={"security.istio.io/tlsMode": "istio"})], []),
        ([namespace({"istio-injection": "disabled"}), pod()], []),
        ([namespace(INJECTED), pod()], [NO_PROXY]),
        ([namespace({"istio.io/rev": "blue"}), pod()], [NO_PROXY]),
        ([namespace(INJECTED), pod(APP, PROXY)], []),
        ([namespace(INJECTED), pod(APP, initContainers=[PROXY])], []),
        ([namespace(INJECTED), pod(labels={"sidecar.istio.io/inject": "false"})], []),
        ([namespace(INJECTED), pod(labels={"security.istio.io/tlsMode": "istio"})], []),
        ([namespace(INJECTED), pod(hostNetwork=True)], []),
        ([namespace(INJECTED), {**pod(), "status": {"phase": "Succeeded"}}], []),
        ([namespace(INJECTED), core("Pod", "a")], []),
    ],
)
def test_a_pod_that_should_have_a_proxy_and_has_none(objects: list[Json], expected: list[tuple[str, str, str]]) -> None:
    assert told(*objects) == expected


@pytest.mark.parametrize(
    ("written", "field"),
    [
        (pod({**APP, "securityContext": {"runAsUser": 1337}}, PROXY), "spec.containers[0].securityContext.runAsUser"),
        (pod(PROXY, APP, securityContext={"runAsUser": 1337}), "spec.securityContext.runAsUser"),
        (pod({**APP, "securityContext": {"runAsUser": 1338}}, PROXY, securityContext={"runAsUser": 1337}), ""),
        (pod({**APP, "securityContext": {"runAsUser": 4711}}, {**PROXY, "securityContext": {"runAsUser": 4711}}), "spec.containers[0]"),
        (pod({**APP, "securityContext": {"runAsUser": 1337}}, {**PROXY, "securityContext": {"runAsUser": 4711}}), ""),
        (pod({**APP, "securityContext": {"runAsUser": 1337}}), ""),
    ],
)
def test_a_container_that_runs_as_its_proxy_passes_by_it(written: Json, field: str) -> None:
    found = [where for _, code, where in told(written) if code == "ReservedUser"]

    assert len(found) == bool(field)
    assert not found or found[0].startswith(f"a {field}")


HTTP, TCP = {"name": "http", "port": 80, "targetPort": 8080}, {"name": "tcp", "port": 80, "targetPort": 8080}
A_POD = pod(APP, PROXY, labels={"app": "a", "security.istio.io/tlsMode": "istio"})


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (HTTP, HTTP, ""),
        (HTTP, TCP, "Conflict"),
        (HTTP, {**HTTP, "name": "web"}, "Conflict"),
        (HTTP, {**HTTP, "port": 8080}, "SharedPort"),
        (HTTP, {**TCP, "targetPort": 8081}, ""),
        (HTTP, {**TCP, "name": "dns", "protocol": "UDP"}, ""),
    ],
)
def test_services_that_lead_to_one_port_say_the_same_of_it(first: Json, second: Json, code: str) -> None:
    found = [each for each in told(service("a", first), service("b", second), A_POD) if each[1] in {"Conflict", "SharedPort"}]

    assert [(each[1], each[2]) for each in found] == ([(code, "a spec.ports[0]"), (code, "b spec.ports[0]")] if code else [])


def test_services_of_other_pods_share_no_port() -> None:
    other = pod(APP, PROXY, name="b", labels={"app": "b", "security.istio.io/tlsMode": "istio"})

    assert told(service("a", HTTP), service("b", TCP, app="b"), A_POD, other) == []


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 80}, ["UnknownProtocol"]),
        ({"name": "web", "port": 80}, ["UnknownProtocol"]),
        ({"name": "http-web", "port": 80}, []),
        ({"name": "web", "appProtocol": "http", "port": 80}, []),
        ({"name": "db", "port": 3306}, []),
        ({"name": "dns", "port": 5353, "protocol": "UDP"}, []),
    ],
)
def test_a_port_that_does_not_say_what_it_carries(port: Json, expected: list[str]) -> None:
    assert [(severity, code) for severity, code, _ in told(service("a", port))] == [("info", code) for code in expected]


@pytest.mark.parametrize(
    ("kind", "annotation", "code"),
    [
        ("Pod", "sidecar.istio.io/inject", ""),
        ("Pod", "sidecar.istio.io/injected", "UnknownAnnotation"),
        ("Pod", "istio.io/reroute-virtual-interface", "UnknownAnnotation"),
        ("Pod", "sidecar.example.com/inject", ""),
        ("Pod", "notistio.io/x", ""),
        ("Service", "networking.istio.io/exportTo", ""),
        ("Service", "sidecar.istio.io/inject", "MisplacedAnnotation"),
        ("Namespace", "traffic.sidecar.istio.io/excludeOutboundPorts", "MisplacedAnnotation"),
        ("Pod", "istio.io/dry-run", "MisplacedAnnotation"),
        ("ServiceAccount", "galley.istio.io/analyze-suppress", ""),
    ],
)
def test_an_annotation_that_nobody_reads_is_told(kind: str, annotation: str, code: str) -> None:
    parsed = parse({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "annotations": {annotation: "1"}}})

    assert parsed.object is not None
    assert [(each.code, each.field) for each in parsed.problems] == ([(code, f"metadata.annotations.{annotation}")] if code else [])


def test_an_unknown_annotation_is_told_with_the_one_that_it_resembles() -> None:
    parsed = parse({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": {"sidecar.istio.io/proxyCpu": "1"}}})

    assert [each.message.rpartition(": ")[2] for each in parsed.problems] == ["sidecar.istio.io/proxyCPU?"]


def test_what_injection_reads_is_known() -> None:
    read = {each.name for each in INJECTION_ANNOTATIONS if each.name.partition("/")[0].endswith("istio.io")}

    assert {name for name, kinds in KNOWN_ANNOTATIONS.items() if "Pod" in kinds} >= read


def test_very_many_services_of_one_namespace_are_looked_at_in_linear_time() -> None:
    objects = [service(f"s{number}", HTTP, app=f"s{number}", tier="back") for number in range(2000)]
    objects += [pod(APP, PROXY, name=f"s{number}", labels={"app": f"s{number}", "tier": "back"}) for number in range(2000)]
    mesh = Mesh()
    mesh.apply([change(each) for each in objects])

    began = time.process_time()
    assert mesh.problems() == ()

    assert time.process_time() - began < 20
