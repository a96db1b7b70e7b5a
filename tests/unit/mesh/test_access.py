"""Policies of access: what they match, what they need, and what they fall back on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pytest
import re2
from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, EDS, LDS
from controlplane.ir.access import NamedAttribute
from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import AUTHORIZATION_POLICY
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.translate.filters.jwt_authn import NOBODYS_KEY
from controlplane.translate.rbac import claims, identities
from controlplane.translate.rbac.attributes import OF_TARGETS
from controlplane.translate.rbac.identities import Around
from controlplane.xds.stream import Variant

PATH = OF_TARGETS[NamedAttribute.PATH]
AROUND = Around("own", ("cluster.local",))
# Whatever means something in an expression, in Lua or in YAML, and what a name is made of
odd = st.text(alphabet=st.sampled_from(".*+?()[]{}|^$\\#%:&!'\"- _a1"), min_size=1, max_size=12)
names = odd.filter(lambda value: not value.startswith("*") and not value.endswith("*"))
Json = Mapping[str, object]


def fits(condition: StringMatcher, value: str) -> bool:
    """Return whether ``value`` fits ``condition``, as Envoy decides it."""
    match condition.WhichOneof("match_pattern"):
        case "exact":
            return value == condition.exact
        case "prefix":
            return value.startswith(condition.prefix)
        case "suffix":
            return value.endswith(condition.suffix)
        case _:
            return bool(re2.fullmatch(condition.safe_regex.regex, value))


def is_peer(any_of: list[Principal], uri: str) -> bool:
    return any(all(fits(one.authenticated.principal_name, uri) for one in each.and_ids.ids or [each]) for each in any_of)


def uri(namespace: str, account: str = "x", trust_domain: str = "cluster.local") -> str:
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"


@given(names, names)
def test_t41_the_name_of_a_namespace_stands_for_itself(value: str, other: str) -> None:
    exact = identities.namespace(value, AROUND)
    begins, ends = identities.namespace(f"{value}*", AROUND), identities.namespace(f"*{value}", AROUND)

    assert is_peer(exact, uri(value))
    assert is_peer(exact, uri(other)) == (value == other)
    assert is_peer(begins, uri(other)) == other.startswith(value)
    assert is_peer(ends, uri(other)) == other.endswith(value)
    assert not is_peer(exact, uri(f"{value}x"))
    assert not is_peer(exact, uri("x", account=f"ns/{value}/sa/y"))


@given(names, names)
def test_t41_the_name_of_an_account_stands_for_itself(value: str, other: str) -> None:
    found = identities.account(f"a/{value}", AROUND)

    assert is_peer(found, uri("a", value))
    assert is_peer(found, uri("a", other)) == (value == other)
    assert not is_peer(found, uri("b", value))
    assert is_peer(identities.account(value, AROUND), uri("own", value))


@given(names, names)
def test_t41_a_trust_domain_stands_for_itself(value: str, other: str) -> None:
    exact, ends = identities.trust_domain(value, AROUND), identities.trust_domain(f"*{value}", AROUND)

    assert is_peer(exact, uri("a", trust_domain=value))
    assert is_peer(exact, uri("a", trust_domain=other)) == (value == other)
    assert is_peer(ends, uri("a", trust_domain=other)) == other.endswith(value)


@given(names.filter(lambda value: "{" not in value), names)
def test_t41_what_stands_beside_the_templates_of_a_path_stands_for_itself(value: str, other: str) -> None:
    [one] = PATH.of(f"/{value}/{{*}}/c", AROUND)
    [rest] = PATH.of(f"/{value}/{{**}}", AROUND)

    assert fits(one.url_path.path, f"/{value}/b/c")
    assert fits(one.url_path.path, f"/{other}/b/c") == (value == other)
    assert not any(fits(one.url_path.path, each) for each in (f"/{value}/b/b/c", f"/{value}//c", f"/{value}/c"))
    assert all(fits(rest.url_path.path, each) for each in (f"/{value}/", f"/{value}/b", f"/{value}/b/c"))
    assert not fits(rest.url_path.path, f"/{value}")


def test_a_namespace_of_another_trust_domain_is_another_one() -> None:
    both = Around("own", ("new", "old"))

    assert [is_peer(identities.namespace("a", both), uri("a", trust_domain=each)) for each in ("new", "old", "foreign")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("value", "fitting", "others"),
    [
        ("https://a.example/x", [("https://a.example", "x")], [("https://a.example", "y"), ("https:", "/a.example/x")]),
        ("https://a.example/*", [("https://a.example", "x"), ("https://a.example/b", "x")], [("https://a.example.evil", "x")]),
        ("*/x", [("a", "x"), ("a", "b/x")], [("a", "xx"), ("a/x", "y")]),
        ("a/b/c", [("a", "b/c"), ("a/b", "c")], [("a/b/c", "c")]),
        ("*", [("a", "b")], []),
        ("no-slash", [], [("no-slash", "no-slash")]),
    ],
)
def test_request_principals(value: str, fitting: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    found = claims.request_principal(value)

    def of(issuer: str, subject: str) -> bool:
        return any(
            all(
                fits(each.sourced_metadata.metadata_matcher.value.string_match, said)
                for each, said in zip(way.and_ids.ids, (issuer, subject), strict=True)
            )
            for way in found.or_ids.ids
        )

    assert [of(*each) for each in fitting] == [True] * len(fitting)
    assert [of(*each) for each in others] == [False] * len(others)


def test_t46_the_key_that_nobody_holds_is_made_from_a_text() -> None:
    x, y = (int.from_bytes(base64.urlsafe_b64decode(NOBODYS_KEY[name] + "="), "big") for name in ("x", "y"))
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1  # https://csrc.nist.gov/pubs/sp/800/186/final, section 3.2.1.3
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

    assert x == int.from_bytes(hashlib.sha256(b"navarch: a key that nobody holds, 2").digest(), "big")
    assert (y * y - (x**3 - 3 * x + b)) % p == 0


def mesh_of(*documents: Json) -> Mesh:
    mesh = Mesh()
    for value in documents:
        parsed = parse(value)
        assert parsed.key
        assert parsed.object, parsed.problems
        mesh.apply(split([Change(parsed.key, parsed.object)])[0])
    return mesh


def test_whoever_asks_an_authorizer_has_its_cluster_whatever_is_imported_and_the_listener_waits_for_it() -> None:
    named = "authorizer|9000||authz.auth.svc.cluster.local"
    provider = "{name: asked, envoyExtAuthzGrpc: {service: auth/authz.auth.svc.cluster.local, port: 9000}}"
    settings = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": f"extensionProviders: [{provider}]"}}
    policy = {"action": "CUSTOM", "provider": {"name": "asked"}, "rules": [{}]}
    mesh = mesh_of(
        {"apiVersion": "v1", "kind": "ConfigMap", **settings},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "authz", "namespace": "auth"},
            "spec": {"clusterIP": "10.0.0.9", "ports": [{"name": "grpc", "port": 9000}]},
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "own", "namespace": "a"},
            "spec": {"egress": [{"hosts": ["./*"]}]},
        },
        {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "a"}, "spec": policy},
    )
    session = mesh.connect(proxy_from_node("sidecar~10.0.0.1~p.a~a.svc.cluster.local", {"LABELS": {"app": "x"}}), Variant.DELTA)

    mesh.refresh()

    listener = session.view.get(LDS, "virtualInbound")
    assert listener is not None
    assert (CDS, named) in listener.uses
    assert session.view.get(CDS, named) is not None
    assert session.view.get(EDS, named) is not None
    assert mesh.problems() == ()


def test_a_policy_is_known_by_the_listeners_that_are_made_from_it() -> None:
    policy = {"action": "DENY", "rules": [{}], "selector": {"matchLabels": {"app": "x"}}}
    mesh = mesh_of(
        {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "a"}, "spec": policy}
    )
    for app in "xy":
        mesh.connect(proxy_from_node(f"sidecar~10.0.0.1~{app}.a~a.svc.cluster.local", {"LABELS": {"app": app}}), Variant.DELTA)

    mesh.refresh()

    assert [made.name for _, made in mesh.made_from(AUTHORIZATION_POLICY.key("a", "p"))] == ["virtualInbound"]
