"""What Istio refuses and takes, case by case, and what is said where a field holds something of another kind."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Problem, Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
PORT: Json = {"number": 443, "name": "https", "protocol": "HTTPS"}
TO: Json = {"destination": {"host": "a"}}
HTTP: Json = {"hosts": ["*"], "port": {"number": 80, "name": "http", "protocol": "HTTP"}}


def problems(kind: str, spec: Json) -> list[Problem]:
    document = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    return list(parse(document).problems)


def errors(kind: str, spec: Json) -> list[str]:
    return [each.field.removeprefix("spec.") for each in problems(kind, spec) if each.severity is Severity.ERROR]


def route(**settings: object) -> Json:
    return {"hosts": ["a"], "http": [settings]}


def client_tls(**settings: object) -> Json:
    return {"host": "a", "trafficPolicy": {"tls": settings}}


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("Gateway", {"servers": [HTTP, {**HTTP, "port": {**PORT, "name": "http", "protocol": "HTTP"}}]}, "servers[1].port.name"),
        ("Gateway", {"servers": [{**HTTP, "bind": "unix:///a"}]}, "servers[0].port.number"),
        (
            "VirtualService",
            route(match=[{"uri": {"exact": "/a"}}], redirect={"prefixRewrite": "/b"}),
            "http[0].redirect.prefixRewrite",
        ),
        (
            "VirtualService",
            route(match=[{"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a.*"}}], redirect={"prefixRewrite": "/b"}),
            "http[0].redirect.prefixRewrite",
        ),
        (
            "DestinationRule",
            client_tls(mode="SIMPLE", insecureSkipVerify=True, credentialName="c"),
            "trafficPolicy.tls.credentialName",
        ),
    ],
)
def test_what_istio_refuses_is_refused(kind: str, spec: Json, field: str) -> None:
    assert errors(kind, spec) == [field]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Gateway", {"servers": [{**HTTP, "bind": "unix:///a", "port": {"number": 0, "name": "http", "protocol": "HTTP"}}]}),
        (
            "Gateway",
            {"servers": [{"hosts": ["*"], "port": PORT, "tls": {"mode": "SIMPLE", "credentialName": "c", "caCrl": "/crl"}}]},
        ),
        ("VirtualService", route(match=[{"uri": {"prefix": ""}}], route=[TO])),
        ("VirtualService", route(match=[{"withoutHeaders": {"x": {"regex": "*"}}}], route=[TO])),
        ("VirtualService", route(match=[{"uri": {"prefix": "/a"}}, {"port": 80}], redirect={"prefixRewrite": "/b"})),
        ("VirtualService", route(route=[{**TO, "headers": {"request": {"set": {":authority": "x"}}}}])),
        ("Sidecar", {"ingress": [{"port": {"number": 80, "name": "any"}}]}),
        ("DestinationRule", client_tls(mode="MUTUAL", insecureSkipVerify=True, credentialName="c")),
    ],
)
def test_what_istio_takes_is_taken(kind: str, spec: Json) -> None:
    assert errors(kind, spec) == []


@pytest.mark.parametrize(
    ("settings", "field", "code"),
    [
        ({"mode": "SIMPLE", "insecureSkipVerify": True}, "insecureSkipVerify", "NotVerified"),
    ],
)
def test_tls_that_does_not_verify_whom_it_talks_to_is_told(settings: Json, field: str, code: str) -> None:
    [problem] = problems("DestinationRule", client_tls(**settings))

    assert (problem.severity, problem.field, problem.code) == (Severity.WARNING, f"spec.trafficPolicy.tls.{field}", code)


def test_a_number_that_belongs_in_a_field_says_which() -> None:
    [wrong] = problems("VirtualService", route(route=[TO], mirror={"host": "b"}, mirrorPercentage=5))
    [port] = problems("VirtualService", route(route=[{"destination": {"host": "b", "port": 80}}]))

    assert (wrong.field, wrong.message) == ("spec.http[0].mirrorPercentage", "expected {value: 5}, found 5")
    assert port.message == "expected {number: 80}, found 80"


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("%HOSTNAME%", True),
        ("a%%b", True),
        ("%REQ(x-a?y):9% and %DYNAMIC_METADATA(a:b)%", True),
        ("%START_TIME%", True),
        ("%START_TIME(%s)%", True),
        ("%START_TIME(%s)", False),
        ("100%", False),
        ("%NO_SUCH_THING%", False),
        ("%REQ%", False),
        ("%PROTOCOL(x)%", False),
        ("%PROTOCOL:9%", False),
        ("%hostname%", False),
    ],
)
def test_substitutions_are_those_that_envoy_knows(value: str, *, accepted: bool) -> None:
    wrong = errors("VirtualService", route(route=[TO], headers={"request": {"set": {"x": value}}}))

    assert wrong == ([] if accepted else ["http[0].headers.request.set.x"])
