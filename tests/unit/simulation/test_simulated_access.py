"""What RBAC filters ask of clients and of requests, condition by condition of Envoy's, and what their policies come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Principal
from google.protobuf.json_format import ParseDict

from controlplane.simulation.access.conditions import permission_holds, principal_holds
from controlplane.simulation.access.facts import AccessFacts
from controlplane.simulation.access.policies import ruling
from controlplane.simulation.matching.head import Head
from controlplane.simulation.traffic import Address

Json = Mapping[str, object]
PEER = "spiffe://cluster.local/ns/shop/sa/web"
JWT = "envoy.filters.http.jwt_authn"
HEAD = Head(method="GET", scheme="http", authority="web:80", path="/a/b?q=1", headers=(("x-user", "jane"),))
FACTS = AccessFacts(
    peer=PEER,
    direct_ip="10.0.0.1",
    remote_ip="192.0.2.1",
    local=Address("10.0.0.2", 8080),
    server_name="web.example",
    head=HEAD,
    metadata={JWT: {"payload": {"iss": "me", "groups": ["a", "b"], "admin": True, "age": 7}}},
)


def claim(name: str, value: Json, filter_name: str = JWT) -> Json:
    matcher = {"filter": filter_name, "path": [{"key": "payload"}, {"key": name}], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher}}


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"any": True}, True),
        ({"authenticated": {"principal_name": {"exact": PEER}}}, True),
        ({"authenticated": {"principal_name": {"prefix": "spiffe://other/"}}}, False),
        ({"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}, True),
        ({"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}, False),
        ({"remote_ip": {"address_prefix": "192.0.2.1", "prefix_len": 32}}, True),
        ({"header": {"name": "X-User", "string_match": {"exact": "jane"}}}, True),
        ({"header": {"name": "x-none", "present_match": True}}, False),
        ({"not_id": {"header": {"name": "x-none", "present_match": True}}}, True),
        ({"and_ids": {"ids": [{"any": True}, {"not_id": {"any": True}}]}}, False),
        ({"or_ids": {"ids": [{"not_id": {"any": True}}, {"any": True}]}}, True),
        (claim("iss", {"string_match": {"exact": "me"}}), True),
        (claim("sub", {"present_match": True}), False),
        (claim("groups", {"list_match": {"one_of": {"string_match": {"exact": "b"}}}}), True),
        (claim("groups", {"or_match": {"value_matchers": [{"string_match": {"exact": "b"}}, {"bool_match": True}]}}), False),
        (claim("admin", {"bool_match": True}), True),
        (claim("age", {"double_match": {"range": {"start": 5, "end": 8}}}), True),
        (claim("iss", {"present_match": True}, "other.filter"), None),
        ({"and_ids": {"ids": [claim("iss", {"present_match": True}, "other"), {"not_id": {"any": True}}]}}, False),
        ({"or_ids": {"ids": [claim("iss", {"present_match": True}, "other"), {"any": True}]}}, True),
        ({"not_id": claim("iss", {"present_match": True}, "other")}, None),
        ({"filter_state": {"key": "x"}}, None),
    ],
)
def test_whom_a_principal_is(asked: Json, *, holds: bool | None) -> None:
    assert principal_holds(ParseDict(dict(asked), Principal()), FACTS).holds is holds


def test_who_has_shown_no_certificate_is_nobody() -> None:
    asked = Principal(authenticated={"principal_name": {"prefix": "spiffe://"}})

    assert principal_holds(asked, replace(FACTS, peer="")) == (False, "the client has shown no certificate")


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"url_path": {"path": {"exact": "/a/b"}}}, True),
        ({"url_path": {"path": {"suffix": "q=1"}}}, False),
        ({"header": {"name": ":method", "string_match": {"exact": "GET"}}}, True),
        ({"header": {"name": ":authority", "string_match": {"exact": "WEB:80", "ignore_case": True}}}, True),
        ({"destination_port": 8080}, True),
        ({"destination_port": 80}, False),
        ({"destination_ip": {"address_prefix": "10.0.0.0", "prefix_len": 30}}, True),
        ({"requested_server_name": {"suffix": ".example"}}, True),
        ({"not_rule": {"destination_port": 80}}, True),
        ({"and_rules": {"rules": [{"destination_port": 8080}, {"any": True}]}}, True),
        ({"or_rules": {"rules": [{"destination_port": 1}, {"destination_port": 2}]}}, False),
        ({"uri_template": {"name": "x"}}, None),
    ],
)
def test_what_a_permission_is_for(asked: Json, *, holds: bool | None) -> None:
    assert permission_holds(ParseDict(dict(asked), Permission()), FACTS).holds is holds


def test_a_connection_has_no_path_and_no_headers() -> None:
    connection = replace(FACTS, head=None)

    assert permission_holds(Permission(url_path={"path": {"prefix": "/"}}), connection).holds is False
    assert permission_holds(Permission(header={"name": ":method", "present_match": True}), connection).holds is False


def rules(action: str, *ports: int) -> RBAC:
    policies = {f"policy-{port}": {"permissions": [{"destination_port": port}], "principals": [{"any": True}]} for port in ports}
    return ParseDict({"action": action, "policies": policies}, RBAC())


@pytest.mark.parametrize(
    ("action", "ports", "allow", "policy"),
    [
        ("ALLOW", (1, 8080), True, "policy-8080"),
        ("ALLOW", (1,), False, ""),
        ("ALLOW", (), False, ""),
        ("DENY", (8080,), False, "policy-8080"),
        ("DENY", (1,), True, ""),
        ("LOG", (8080,), True, "policy-8080"),
        ("LOG", (1,), True, ""),
    ],
)
def test_what_policies_come_to(action: str, ports: tuple[int, ...], *, allow: bool, policy: str) -> None:
    found = ruling(rules(action, *ports), FACTS)

    assert (found.allow, found.policy) == (allow, policy)


def test_the_policies_that_do_not_fit_say_why() -> None:
    [lost] = ruling(rules("ALLOW", 1), FACTS).lost

    assert (lost.what, lost.why) == ("policy-1", "the destination port is 8080, and not 1")


def test_what_depends_on_the_unknown_is_open_unless_something_else_decides() -> None:
    unknown = {"permissions": [{"any": True}], "principals": [claim("x", {"present_match": True}, "other")]}
    certain = {"permissions": [{"any": True}], "principals": [{"any": True}]}

    opened = ParseDict({"action": "DENY", "policies": {"a": unknown}}, RBAC())
    decided = ParseDict({"action": "DENY", "policies": {"a": unknown, "b": certain}}, RBAC())

    assert (ruling(opened, FACTS).allow, ruling(decided, FACTS).allow) == (None, False)
