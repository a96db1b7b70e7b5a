"""The settings of the mesh: trust domains and authorizers that make no sense are refused, each with its field."""

from __future__ import annotations

import json

import pytest

from controlplane.objects.parse import parse

Json = dict[str, object]
GRPC: Json = {"service": "authz.auth.svc.cluster.local", "port": 9000}


def faults(**settings: object) -> list[str]:
    metadata = {"name": "istio", "namespace": "istio-system"}
    parsed = parse({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": json.dumps(settings)}})
    assert (parsed.object is None) == any(each.severity == "error" for each in parsed.problems)
    return [each.field.removeprefix("data.mesh.") for each in parsed.problems]


def http(**settings: object) -> list[str]:
    given = {"name": "a", "envoyExtAuthzHttp": {**GRPC, **settings}}
    return [each.removeprefix("extensionProviders[0].envoyExtAuthzHttp.") for each in faults(extensionProviders=[given])]


def test_trust_domains() -> None:
    assert faults(trustDomain="a.example", trustDomainAliases=["b.example", "Not One", "c/d"]) == [
        "trustDomainAliases[1]",
        "trustDomainAliases[2]",
    ]


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, []),
        ({"service": "auth/authz"}, []),
        ({"service": "a/b/c"}, ["service"]),
        ({"service": ""}, ["service"]),
        ({"port": 0}, ["port"]),
        ({"statusOnError": "503", "pathPrefix": "/check", "timeout": "1s"}, []),
        ({"statusOnError": "maybe"}, ["statusOnError"]),
        ({"pathPrefix": "check"}, ["pathPrefix"]),
        ({"timeout": "0s"}, ["timeout"]),
        (
            {"includeRequestHeadersInCheck": ["x-a", "x-*", "*-b", "*", "a b"]},
            ["includeRequestHeadersInCheck[3]", "includeRequestHeadersInCheck[4]"],
        ),
        ({"includeAdditionalHeadersInCheck": {"a b": "c"}}, ["includeAdditionalHeadersInCheck"]),
        ({"includeRequestBodyInCheck": {"maxRequestBytes": 0}}, ["includeRequestBodyInCheck.maxRequestBytes"]),
    ],
)
def test_authorizers(settings: Json, wrong: list[str]) -> None:
    assert http(**settings) == wrong


def test_a_provider_has_a_name_of_its_own_and_one_way_to_be_asked() -> None:
    both = {"name": "a", "envoyExtAuthzHttp": GRPC, "envoyExtAuthzGrpc": GRPC}

    assert faults(extensionProviders=[both, {"name": "a"}, {"name": ""}]) == [
        "extensionProviders[0]",
        "extensionProviders[1].name",
        "extensionProviders[2].name",
    ]


def test_providers_of_other_kinds_are_passed_over_with_a_warning() -> None:
    assert faults(extensionProviders=[{"name": "a", "lightstep": {"service": "z", "port": 1}}]) == ["extensionProviders[0].lightstep"]
