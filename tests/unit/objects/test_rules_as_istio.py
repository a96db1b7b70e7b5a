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


def server(protocol: str, **tls: object) -> Json:
    return {"hosts": ["*"], "port": {"number": 31400, "name": "p", "protocol": protocol}, "tls": tls}


def client_tls(**settings: object) -> Json:
    return {"host": "a", "trafficPolicy": {"tls": settings}}


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("Gateway", {"servers": [HTTP, {**HTTP, "port": {**PORT, "name": "http", "protocol": "HTTP"}}]}, "servers[1].port.name"),
        ("Gateway", {"servers": [{**HTTP, "bind": "unix:///a"}]}, "servers[0].port.number"),
        (
            "Sidecar",
            {"egress": [{"port": {"number": 80, "name": "a", "protocol": "HTTP"}, "bind": "unix:///a", "hosts": ["*/*"]}]},
            "egress[0].bind",
        ),
        ("Gateway", {"servers": [{**HTTP, "port": {"number": 80, "name": "http"}}]}, "servers[0].port.protocol"),
        (
            "VirtualService",
            route(route=[{**TO, "headers": {"response": {"set": {":authority": "x"}}}}]),
            "http[0].route[0].headers.response.set",
        ),
        ("DestinationRule", client_tls(mode="SIMPLE", insecureSkipVerify=True, caCertificates="c"), "trafficPolicy.tls.caCertificates"),
        (
            "DestinationRule",
            client_tls(mode="MUTUAL", insecureSkipVerify=True, clientCertificate="c", privateKey="k", subjectAltNames=["a"]),
            "trafficPolicy.tls.subjectAltNames",
        ),
        (
            "ServiceEntry",
            {
                "hosts": ["a.example"],
                "ports": [{"number": 80, "name": "a", "protocol": "HTTP"}],
                "resolution": "STATIC",
                "endpoints": [{"address": "unix:///a", "ports": {"a": 1}}],
            },
            "endpoints[0].ports",
        ),
        ("Gateway", {"servers": [server("TCP", mode="SIMPLE", credentialName="c")]}, "servers[0].tls"),
        ("Gateway", {"servers": [server("MONGO", mode="MUTUAL", credentialName="c")]}, "servers[0].tls"),
        ("Gateway", {"servers": [server("TCP", mode="PASSTHROUGH")]}, "servers[0].tls"),
        ("Gateway", {"servers": [server("TCP", httpsRedirect=True)]}, "servers[0].tls"),
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
        ("Gateway", {"servers": [server("TLS", mode="SIMPLE", credentialName="c")]}),
        ("Gateway", {"servers": [server("HTTP", httpsRedirect=True)]}),
        ("VirtualService", route(match=[{"uri": {"prefix": ""}}], route=[TO])),
        ("VirtualService", route(match=[{"withoutHeaders": {"x": {"regex": "*"}}}], route=[TO])),
        ("VirtualService", route(match=[{"uri": {"prefix": "/a"}}, {"port": 80}], redirect={"prefixRewrite": "/b"})),
        ("VirtualService", route(route=[{**TO, "headers": {"request": {"set": {":authority": "x"}}}}])),
        ("Sidecar", {"ingress": [{"port": {"number": 80, "name": "any"}}]}),
        ("Sidecar", {"egress": [{"port": {"number": 80, "name": "any"}, "hosts": ["*/*"]}]}),
        ("ServiceEntry", {"hosts": ["a.example"], "ports": [{"number": 80, "name": "any"}], "resolution": "DNS"}),
        ("VirtualService", route(route=[{**TO, "headers": {"request": {"add": {":authority": "x"}}}}])),
        ("VirtualService", route(route=[{**TO, "headers": {"request": {"set": {"host": "x"}}}}])),
        ("DestinationRule", client_tls(mode="MUTUAL", insecureSkipVerify=True, credentialName="c")),
    ],
)
def test_what_istio_takes_is_taken(kind: str, spec: Json) -> None:
    assert errors(kind, spec) == []


def test_a_redirect_to_tls_where_requests_come_by_tls_is_told() -> None:
    [problem] = problems("Gateway", {"servers": [server("HTTPS", mode="SIMPLE", credentialName="c", httpsRedirect=True)]})

    assert (problem.severity, problem.field, problem.code) == (Severity.WARNING, "spec.servers[0].tls.httpsRedirect", "NoEffect")


def test_servers_of_one_name_are_told() -> None:
    named = [{**HTTP, "name": "s", "port": {"number": number, "name": f"p{number}", "protocol": "HTTP"}} for number in (80, 81)]

    assert [(each.field, each.code) for each in problems("Gateway", {"servers": named})] == [("spec.servers[1].name", "Conflict")]


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ({"httpsRedirect": True}, []),
        ({"httpsRedirect": True, "mode": "SIMPLE"}, []),
        ({"mode": "SIMPLE", "credentialName": "c"}, [("servers[0].tls", "NoEffect")]),
        ({"httpsRedirect": True, "credentialName": "c"}, [("servers[0].tls", "NoEffect")]),
    ],
)
def test_of_the_tls_of_a_port_for_plaintext_requests_the_redirect_alone_counts(tls: Json, told: list[tuple[str, str]]) -> None:
    found = [each for each in problems("Gateway", {"servers": [server("HTTP", **tls)]}) if each.severity is Severity.WARNING]

    assert [(each.field.removeprefix("spec."), each.code) for each in found] == told


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
    ("settings", "field", "expected"),
    [
        ({"route": [TO], "retries": 3}, "retries", "{attempts: 3}, found 3"),
        ({"route": [TO], "fault": {"delay": {"percentage": 5, "fixedDelay": "1s"}}}, "fault.delay.percentage", "{value: 5}, found 5"),
        ({"route": [TO], "fault": {"abort": {"percentage": "5", "httpStatus": 500}}}, "fault.abort.percentage", "{value: 5}, found '5'"),
        ({"route": [{"destination": "b"}]}, "route[0].destination", "{host: 'b'}, found 'b'"),
        ({"route": [{"destination": {"host": "b", "port": "80"}}]}, "route[0].destination.port", "{number: 80}, found '80'"),
        ({"route": [TO], "mirror": "b"}, "mirror", "{host: 'b'}, found 'b'"),
        ({"route": [TO], "match": [{"uri": "/a"}]}, "match[0].uri", "{exact: '/a'}, found '/a'"),
        ({"route": [TO], "match": [{"headers": {"x": "y"}}]}, "match[0].headers.x", "{exact: 'y'}, found 'y'"),
        ({"delegate": "b"}, "delegate", "{name: 'b'}, found 'b'"),
    ],
)
def test_a_value_that_belongs_in_a_field_of_an_object_says_which(settings: Json, field: str, expected: str) -> None:
    [problem] = [each for each in problems("VirtualService", route(**settings)) if each.severity is Severity.ERROR]

    assert (problem.field, problem.message) == (f"spec.http[0].{field}", f"expected {expected}")


def test_a_word_that_belongs_in_a_field_of_an_object_says_which() -> None:
    [wrong] = problems("DestinationRule", {"host": "a", "trafficPolicy": {"loadBalancer": "RANDOM"}})
    [mode] = problems("DestinationRule", {"host": "a", "trafficPolicy": {"tls": "SIMPLE"}})

    assert (wrong.message, mode.message) == ("expected {simple: 'RANDOM'}, found 'RANDOM'", "expected {mode: 'SIMPLE'}, found 'SIMPLE'")


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
