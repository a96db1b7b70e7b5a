"""What stands for objects of security that cannot be used: it follows from their text, and opens nothing."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.closed import ClosedPeerAuthentication, ClosedRequestAuthentication

Json = dict[str, object]
BAD_SOURCE: Json = {"from": [{"source": {"ipBlocks": ["10.0.0.0/88"]}}]}
WEB: Json = {"matchLabels": {"app": "web"}}


def read(kind: str, spec: object, **metadata: object) -> ParsedObject:
    return parse(
        {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "shop", **metadata}, "spec": spec}
    )


def closed_policy(spec: object, **metadata: object) -> AuthorizationPolicy:
    parsed = read("AuthorizationPolicy", spec, **metadata)
    assert parsed.object is None
    found = parsed.usable(None)
    assert isinstance(found, AuthorizationPolicy)
    assert [problem.code for problem in parsed.with_consequence][-1] == "Closed"
    return found


def closed_peers(spec: object) -> ClosedPeerAuthentication:
    found = read("PeerAuthentication", spec).usable(None)
    assert isinstance(found, ClosedPeerAuthentication)
    return found


def closed_tokens(spec: object) -> ClosedRequestAuthentication:
    found = read("RequestAuthentication", spec).usable(None)
    assert isinstance(found, ClosedRequestAuthentication)
    return found


@pytest.mark.parametrize("action", [None, "ALLOW", "DENY", "CUSTOM", "DENNY", 5])
def test_whatever_its_action_was_a_broken_policy_denies_everything_to_what_it_selects(action: object) -> None:
    found = closed_policy({"selector": WEB, "rules": [BAD_SOURCE], **({"action": action} if action is not None else {})})

    assert (found.spec.action, len(found.spec.rules), found.spec.rules[0].from_) == ("DENY", 1, ())
    assert found.spec.selector is not None
    assert dict(found.spec.selector.match_labels) == {"app": "web"}
    assert str(found.key) == "AuthorizationPolicy/shop/x"


@pytest.mark.parametrize(
    ("action", "dry_run"), [("AUDIT", None), ("DENY", "true"), ("ALLOW", "1"), ("DENY", True)], ids=["audit", "deny", "allow", "no text"]
)
def test_of_what_was_to_be_watched_alone_nothing_is_enforced(action: str, dry_run: object) -> None:
    metadata = {} if dry_run is None else {"annotations": {"istio.io/dry-run": dry_run}}
    parsed = read("AuthorizationPolicy", {"action": action, "rules": [BAD_SOURCE]}, **metadata)
    before = read("AuthorizationPolicy", {"action": "DENY", "rules": [{}]}).object

    assert (parsed.usable(None), parsed.usable(before)) == (None, None)
    assert parsed.with_consequence[-1].code == "NotInEffect"


@pytest.mark.parametrize(("action", "dry_run"), [("DENY", "ture"), ("CUSTOM", "true")])
def test_a_dry_run_that_cannot_be_meant_is_none(action: str, dry_run: str) -> None:
    found = closed_policy({"action": action, "provider": {"name": "p"}, "rules": [{}]}, annotations={"istio.io/dry-run": dry_run})

    assert found.spec.action == "DENY"


@pytest.mark.parametrize(
    "spec",
    [
        "all",
        [],
        {"selector": "web", "rules": []},
        {"selector": {"matchLabels": {"app": 1}}},
        {"selector": {"matchLabels": {"app": "*"}}},
        {"selector": {"matchLabels": {"app": None}}},
        {"selector": {"matchLabels": {"app": "\0"}}},
        {"selector": WEB, "targetRefs": [{"kind": "Service", "name": "a"}]},
        {"targetRefs": [{"kind": "Waypoint", "name": "a"}]},
    ],
)
def test_what_cannot_be_read_whom_it_is_for_holds_for_its_namespace(spec: object) -> None:
    parsed = read("AuthorizationPolicy", spec)
    found = closed_policy(spec)
    consequence = parsed.with_consequence[-1]

    assert (found.spec.selector, found.spec.target_refs, found.spec.target_ref) == (None, (), None)
    assert "all of shop (all of the mesh, if that is the root namespace)" in consequence.message
    assert closed_peers({"selector": {"matchLabels": {"app": 1}}}).selector_unreadable


def test_what_it_is_for_counts_where_only_something_else_is_broken() -> None:
    refs = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "door"}]
    by_name = closed_policy({"targetRefs": refs, "action": "DENY"})
    beside = closed_policy({"selector": WEB, "rules": [{"when": [{"key": "request.headers[a]", "values": ["\ud800"]}]}]})

    assert [ref.name for ref in by_name.spec.target_refs] == ["door"]
    assert beside.spec.selector is not None


def test_labels_count_as_far_as_they_can_be_read_so_that_another_revision_s_object_stays_its_own() -> None:
    found = closed_policy({"action": "DENY"}, labels={"istio.io/rev": "canary", "a": 1})

    assert dict(found.meta.labels) == {"istio.io/rev": "canary"}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("AuthorizationPolicy", {"action": "DENY", "rules": [BAD_SOURCE]}),
        ("RequestAuthentication", {"jwtRules": [{"issuer": "a", "jwksUri": "no URL"}]}),
        ("PeerAuthentication", {"mtls": {"mode": "STRICTT"}}),
    ],
)
def test_what_was_good_before_does_not_count_and_the_same_text_means_the_same(kind: str, spec: Json) -> None:
    before = read(kind, {}).object

    assert before is not None
    assert read(kind, spec).usable(before) == read(kind, spec).usable(None) != before


@pytest.mark.parametrize("api", ["security.istio.io/v2", "security.istio.io/v1alpha1", "security.istio.io/", "security.istio.io"])
def test_a_version_that_nobody_knows_is_closed_too(api: str) -> None:
    metadata = {"name": "x", "namespace": "shop"}
    spec = {"selector": WEB, "action": "ALLOW", "rules": [{}]}

    found = parse({"apiVersion": api, "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}).usable(None)

    assert isinstance(found, AuthorizationPolicy)
    assert (found.spec.action, found.spec.selector is not None) == ("DENY", True)


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        ("security.istio.io/v1", "AdmissionPolicy"),
        ("security.istio.io", "AdmissionPolicy"),
        ("security.istio.io/v1", "authorizationpolicy"),
        ("security.istio.io/v1", "PeerAuthentications"),
        ("security.istio.io/v1", "VirtualService"),
        ("networking.istio.io/v1", "AuthorizationPolicy"),
        ("rbac.istio.io/v1", "AuthorizationPolicy"),
        ("v1", "PeerAuthentication"),
        ("securty.istio.io/v1", "RequestAuthentication"),
        ("Security.istio.io/v1", "AuthorizationPolicy"),
    ],
)
def test_of_a_kind_that_may_be_of_security_it_is_not_known_what_to_close(api: str, kind: str) -> None:
    parsed = parse({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": {"rules": [{}]}})

    assert (parsed.identified, parsed.usable(None)) == (False, None)
    assert [(problem.severity, problem.field, problem.code) for problem in parsed.problems] == [(Severity.ERROR, "kind", "UnknownKind")]


@pytest.mark.parametrize(("api", "kind"), [("apps/v1", "Deployment"), ("networking.istio.io/v1", "virtualservice"), ("v1", "Secrets")])
def test_of_a_kind_that_is_not_of_security_nobody_waits(api: str, kind: str) -> None:
    assert parse({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}}).identified


@pytest.mark.parametrize("metadata", [{"name": 5}, {"name": ""}, {"namespace": 5}, {"name": None}])
def test_without_a_name_or_a_namespace_it_is_not_known_what_to_close(metadata: Json) -> None:
    parsed = read("AuthorizationPolicy", {"action": "DENY", "rules": [{}]}, **metadata)

    assert (parsed.identified, parsed.usable(None), parsed.object) == (False, None, None)
    assert read("AuthorizationPolicy", {"action": "DENY", "rules": [{}]}, name="UPPER").identified


def test_half_a_head_may_be_anything_and_none_is_no_object() -> None:
    halves: list[Json] = [{"kind": "AuthorizationPolicy"}, {"apiVersion": "security.istio.io/v1"}, {"apiVersion": "a/v1", "kind": 5}]

    assert [parse(half).identified for half in halves] == [False] * 3
    assert parse({"replicas": 3}).identified


@pytest.mark.parametrize("spec", [{"mtls": {"mode": "PERMISSIVE"}, "portLevelMtls": {"80": {"mode": "DISABLE"}}}, {"mtls": "STRICT"}, 7])
def test_peers_have_to_show_who_they_are_on_every_port(spec: object) -> None:
    found = closed_peers(spec)

    assert found.spec.mtls is not None
    assert (found.spec.mtls.mode, dict(found.spec.port_level_mtls)) == ("STRICT", {})


def test_tokens_are_looked_for_where_they_were_and_nobody_is_believed() -> None:
    headers = [{"name": "x-token", "prefix": "Token "}]
    rules = [{"issuer": "a", "jwksUri": "no URL"}, {"issuer": "b", "fromHeaders": headers, "fromCookies": ["c"], "jwks": '{"keys":[]}'}]

    first, second = closed_tokens({"jwtRules": rules}).spec.jwt_rules

    assert [(rule.issuer, rule.jwks_url, rule.inline_keys().text) for rule in (first, second)] == [("a", None, None), ("b", None, None)]
    assert (first.from_headers, first.from_params) == ((), ())
    assert ([(header.name, header.prefix) for header in second.from_headers], second.from_cookies) == ([("x-token", "Token ")], ("c",))


@pytest.mark.parametrize(
    "spec",
    [
        {"jwtRules": "a"},
        {"jwtRules": {"issuer": "a"}},
        [],
        {"jwtRules": [{"issuer": "a", "jwks": "", "fromHeaders": [{"name": "no header"}]}]},
        {"jwtRules": [{"issuer": "a", "fromParams": ["", "t"]}]},
        {"jwtRules": [{"issuer": "a", "fromParams": "t"}]},
    ],
)
def test_where_the_places_of_tokens_cannot_be_read_the_usual_ones_are_among_them(spec: object) -> None:
    [rule] = closed_tokens(spec).spec.jwt_rules

    assert ("Authorization", "Bearer ") in [(header.name, header.prefix) for header in rule.from_headers]
    assert "access_token" in rule.from_params


@pytest.mark.parametrize("rule", ["a", None, 3, {"issuer": 5}, {"issuer": ""}])
def test_a_rule_whose_issuer_cannot_be_read_judges_the_tokens_of_all(rule: object) -> None:
    [found] = closed_tokens({"jwtRules": [rule]}).spec.jwt_rules

    assert (found.issuer, found.from_headers, found.inline_keys().text) == ("", (), None)
