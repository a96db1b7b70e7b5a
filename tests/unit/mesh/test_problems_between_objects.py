"""What is wrong between objects: both sides of a conflict are told, and what selects, names or verifies nothing."""

from __future__ import annotations

import time

import pytest

from controlplane.mesh.mesh import Mesh
from tests.bench.recompute import change

Json = dict[str, object]
FIRST, SECOND = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def istio(kind: str, name: str, spec: object, group: str = "networking", created: str = "") -> Json:
    metadata: Json = {"name": name, "namespace": "shop", **({"creationTimestamp": created} if created else {})}
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def core(kind: str, name: str, labels: Json | None = None, **more: object) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": labels or {}}, **more}


def service(name: str, *ports: int, **selector: str) -> Json:
    written = [{"name": f"http-{port}", "port": port} for port in ports or (80,)]
    return core("Service", name, spec={"selector": selector or {"app": name}, "ports": written})


def pod(name: str, **labels: object) -> Json:
    return core("Pod", name, labels, status={"podIP": "10.0.0.1"})


def route(name: str, *, created: str = "", host: str = "web", **spec: object) -> Json:
    http = [{"route": [{"destination": {"host": "web"}}]}]
    return istio("VirtualService", name, {"hosts": [host], "http": http, **spec}, created=created)


def problems(*written: Json, code: str) -> dict[str, str]:
    """Return where ``code`` is told, as object and field, and in which words."""
    mesh = Mesh()
    mesh.apply([change(each) for each in written])
    found = [each for each in mesh.problems() if each.code == code]
    return {f"{each.object.name if each.object else ''} {each.field}": each.message for each in found}


def test_both_sides_of_a_host_are_told() -> None:
    found = problems(service("web"), route("a"), route("b"), code="Conflict")

    assert found == {
        "a spec.hosts[0]": "web is routed by VirtualService/shop/b too, whose routes for it are not used",
        "b spec.hosts[0]": "web is routed by VirtualService/shop/a, which comes first: this object's routes for it are not used",
    }


@pytest.mark.parametrize(
    ("created", "words"),
    [((SECOND, FIRST), "which is older"), (("", ""), "which comes first"), ((FIRST, FIRST), "which comes first")],
)
def test_an_object_is_called_older_where_both_say_when_they_were_made(created: tuple[str, str], words: str) -> None:
    found = problems(service("web"), route("a", created=created[0]), route("b", created=created[1]), code="Conflict")

    assert len(found) == 2
    assert [words in message for message in found.values()].count(True) == 1


def test_of_very_many_that_route_a_host_each_is_told_in_few_words_and_soon() -> None:
    routes = [route(f"r{number}") for number in range(1000)]

    began = time.process_time()
    found = problems(service("web"), *routes, code="Conflict")

    assert len(found) == 1000
    assert max(map(len, found.values())) < 300
    assert "and 996 more" in found["r0 spec.hosts[0]"]
    assert time.process_time() - began < 20


def test_both_sides_of_what_destination_rules_say_are_told() -> None:
    def rule(name: str, *subsets: str, **more: object) -> Json:
        return istio("DestinationRule", name, {"host": "web", "subsets": [{"name": each} for each in subsets], **more})

    policy: Json = {"trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    rules = [rule("a", "v1", **policy), rule("b", "v1", "v2"), rule("c", "v2", **policy), rule("d", exportTo=["."])]
    found = problems(service("web"), *rules, code="Conflict")

    assert sorted(found) == [
        "a spec.exportTo",
        "a spec.subsets",
        "a spec.trafficPolicy",
        "b spec.subsets",
        "c spec.subsets",
        "c spec.trafficPolicy",
        "d spec.exportTo",
    ]
    assert not any("older" in message for message in found.values())


def test_both_sides_of_what_gateways_want_are_told() -> None:
    def gateway(name: str, protocol: str) -> Json:
        server = {"port": {"number": 8080, "name": "p", "protocol": protocol}, "hosts": ["*"]}
        return istio("Gateway", name, {"selector": {"app": "edge"}, "servers": [server]})

    found = problems(gateway("a", "HTTP"), gateway("b", "TCP"), code="Conflict")

    assert sorted(found) == ["a spec.servers", "b spec.servers[0]"]


def test_gateways_that_show_one_certificate_are_told() -> None:
    def gateway(name: str, credential: str) -> Json:
        tls = {"mode": "SIMPLE", "credentialName": credential}
        server = {"port": {"number": 8443, "name": "p", "protocol": "HTTPS"}, "hosts": [f"{name}.example"], "tls": tls}
        return istio("Gateway", name, {"selector": {"app": "edge"}, "servers": [server]})

    found = problems(gateway("a", "shared"), gateway("b", "shared"), gateway("c", "own"), code="SharedCertificate")

    assert sorted(found) == ["a spec.servers[0].tls.credentialName", "b spec.servers[0].tls.credentialName"]


def test_both_sides_of_what_service_entries_declare_are_told() -> None:
    def entry(name: str, protocol: str) -> Json:
        return istio("ServiceEntry", name, {"hosts": ["a.example"], "ports": [{"number": 80, "name": "p", "protocol": protocol}]})

    found = problems(entry("a", "HTTP"), entry("b", "TCP"), code="Conflict")

    assert {each.partition(" ")[0] for each in found} == {"a", "b"}


def test_sidecars_for_the_same_workloads_are_told() -> None:
    def sidecar(name: str, **labels: str) -> Json:
        chosen: Json = {"workloadSelector": {"labels": labels}} if labels else {}
        return istio("Sidecar", name, {"egress": [{"hosts": ["./*"]}], **chosen})

    general = problems(sidecar("a"), sidecar("b"), code="Conflict")
    equal = problems(sidecar("a", app="x"), sidecar("b", app="x"), code="Conflict")
    by_pod = problems(sidecar("a", app="x"), sidecar("b", v="1"), sidecar("c", v="2"), pod("p", app="x", v="1"), code="Conflict")

    assert [sorted(each) for each in (general, equal, by_pod)] == [["a spec.workloadSelector", "b spec.workloadSelector"]] * 3
    assert "for all workloads of the namespace too" in general["b spec.workloadSelector"]
    assert "for the pod p too" in by_pod["b spec.workloadSelector"]
    assert problems(sidecar("a"), sidecar("b", app="x"), pod("p", app="x"), code="Conflict") == {}


def test_a_subset_that_no_instance_is_in_is_told() -> None:
    subsets = [{"name": "v1", "labels": {"v": "1"}}, {"name": "v2", "labels": {"v": "2"}}, {"name": "all"}]
    rule = istio("DestinationRule", "r", {"host": "web", "subsets": subsets})
    endpoints = [{"address": "10.0.0.1", "labels": {"v": "1"}}]
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    entry = istio("ServiceEntry", "e", {"hosts": ["out.example"], "resolution": "STATIC", "endpoints": endpoints, "ports": ports})
    outside = istio("DestinationRule", "o", {"host": "out.example", "subsets": subsets})

    assert sorted(problems(service("web"), rule, pod("p", app="web", v="1"), code="NoWorkload")) == ["r spec.subsets[1].labels"]
    assert problems(service("web"), rule, code="NoWorkload") == {}  # no pod is known at all
    assert sorted(problems(entry, outside, code="NoWorkload")) == ["o spec.subsets[1].labels"]


def test_a_destination_without_one_of_several_ports_is_told_unless_it_is_the_host_itself() -> None:
    elsewhere = route("r", host="other.example")

    assert sorted(problems(service("web", 80, 81), elsewhere, code="PortRequired")) == ["r spec.http[0].route[0].destination.port"]
    assert problems(service("web", 80, 81), route("r"), code="PortRequired") == {}
    assert problems(service("web", 80), elsewhere, code="PortRequired") == {}


def test_routes_by_claims_where_no_token_is_verified_are_told() -> None:
    server = {"port": {"number": 8080, "name": "p", "protocol": "HTTP"}, "hosts": ["*"]}
    gateway = istio("Gateway", "gw", {"selector": {"app": "edge"}, "servers": [server]})
    match = [{"headers": {"@request.auth.claims.group": {"exact": "a"}}}]
    routed = route("r", gateways=["gw"], http=[{"match": match, "route": [{"destination": {"host": "web"}}]}])
    edge = {"matchLabels": {"app": "edge"}}
    tokens = istio("RequestAuthentication", "t", {"selector": edge, "jwtRules": [{"issuer": "https://a.example"}]}, "security")

    assert sorted(problems(service("web"), gateway, routed, code="NoTokens")) == ["r spec.http[0].match[0]"]
    assert problems(service("web"), gateway, routed, tokens, code="NoTokens") == {}
