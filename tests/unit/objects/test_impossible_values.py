"""Values of policies that no request has: the policy is kept, and each of them is told."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]


def told(rule: Json) -> list[str]:
    """Return the fields of ``rule`` that are told to fit nothing."""
    spec = {"action": "DENY", "rules": [rule]}
    parsed = parse({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "x"}, "spec": spec})
    assert parsed.object is not None
    assert {(each.severity, each.code) for each in parsed.problems} <= {(Severity.WARNING, "NeverMatches")}
    return [each.field.removeprefix("spec.rules[0].") for each in parsed.problems]


@pytest.mark.parametrize(
    ("field", "impossible", "possible"),
    [
        ("paths", "/tenants/*/admin", "/tenants/*"),
        ("paths", "*/admin/*", "*/admin"),
        ("paths", "admin", "/admin"),
        ("paths", "/a?b=c", "/a/{*}/b/{**}"),
        ("paths", "/a b", "/a%20b"),
        ("paths", "/ä*", "/%C3%A4*"),
        ("paths", "/a/../b", "/a/..b"),
        ("paths", "/a/./*", "/a/.*"),
        ("notPaths", "/a/*/b", "*"),
        ("methods", "get", "GET"),
        ("methods", "G*T", "PURGE"),
        ("methods", "GET, POST", "P*"),
        ("hosts", "https://a.example", "a.example:8080"),
        ("hosts", "a.*.example", "*.example"),
        ("hosts", "a example", "a.example:*"),
        ("notHosts", "a.*.example", "[::1]:80"),
    ],
)
def test_of_what_is_asked_for(field: str, impossible: str, possible: str) -> None:
    assert told({"to": [{"operation": {field: [possible, impossible]}}]}) == [f"to[0].operation.{field}[1]"]


@pytest.mark.parametrize(
    ("field", "impossible", "possible"),
    [
        ("principals", "spiffe://cluster.local/ns/a/sa/b", "cluster.local/ns/a/sa/b"),
        ("principals", "cluster.local/ns/*/sa/b", "*/sa/b"),
        ("notPrincipals", "a/b", "cluster.local/ns/a/*"),
        ("requestPrincipals", "alice", "https://issuer.example/alice"),
        ("namespaces", "Team", "team-*"),
        ("namespaces", "a*b", "*"),
        ("trustDomains", "a*b", "old.example"),
    ],
)
def test_of_who_asks(field: str, impossible: str, possible: str) -> None:
    assert told({"from": [{"source": {field: [impossible, possible]}}]}) == [f"from[0].source.{field}[0]"]


@pytest.mark.parametrize(
    ("key", "impossible", "possible"),
    [
        ("connection.sni", "a.*.example", "*.example"),
        ("connection.sni", "a.example:443", "a.example"),
        ("request.headers[x]", "a*b", "a*"),
        ("source.namespace", "a/b", "a"),
        ("source.principal", "b", "*/b"),
        ("request.auth.claims[x]", "a*b", "*b"),
    ],
)
def test_of_conditions(key: str, impossible: str, possible: str) -> None:
    assert told({"when": [{"key": key, "values": [possible], "notValues": [impossible]}]}) == ["when[0].notValues[0]"]


def test_one_that_is_excluded_says_so() -> None:
    spec = {"rules": [{"to": [{"operation": {"paths": ["/a/*/b"], "notPaths": ["/a/*/b"]}}]}]}

    parsed = parse({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "x"}, "spec": spec})

    assert [each.message.rpartition(": ")[2] for each in parsed.problems] == ["it fits nothing", "it excludes nothing"]
