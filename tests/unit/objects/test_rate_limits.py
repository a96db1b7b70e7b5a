"""What RateLimits must keep to, which of their rules never decide, and what stands for one that cannot be used."""

from __future__ import annotations

import pytest

from controlplane.model.problems import LAST_GOOD, Severity
from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.security.rate_limit import ClosedRateLimit, RateLimit

Json = dict[str, object]
FIVE: Json = {"requests": 5, "per": "1m"}
WEB: Json = {"matchLabels": {"app": "web"}}
SERVICE: Json = {"service": {"host": "ratelimit", "port": 8081}}


def read(spec: object) -> ParsedObject:
    return parse({"apiVersion": "navarch.dev/v1alpha1", "kind": "RateLimit", "metadata": {"name": "x", "namespace": "shop"}, "spec": spec})


def errors(spec: object) -> list[str]:
    return [each.field.removeprefix("spec.") for each in read(spec).problems if each.severity is Severity.ERROR]


def rule(**fields: object) -> list[str]:
    return [each.removeprefix("rules[0].") for each in errors({"rules": [{"limit": FIVE, **fields}]})]


def codes(spec: object) -> list[tuple[str, str]]:
    return [(each.field.removeprefix("spec."), each.code) for each in read(spec).problems]


def test_a_limit_alone_is_a_whole_object_with_the_defaults_of_a_limit_that_each_proxy_counts() -> None:
    found = read({"rules": [{"limit": FIVE}]})

    assert found.problems == ()
    assert isinstance(found.object, RateLimit)
    spec = found.object.spec
    assert (spec.rules[0].limit.per, spec.mode, spec.failure, spec.global_) == (60_000, "Enforce", "Open", None)
    assert (spec.response.status, spec.response.limit_headers) == (429, True)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"limit": {"requests": 0, "per": "1m"}}, "limit.requests"),
        ({"limit": {"requests": 5, "per": "10ms"}}, "limit.per"),
        ({"limit": {"requests": 5, "per": "1m", "burst": 4}}, "limit.burst"),
        ({"match": {}}, "match"),
        ({"match": {"source": {}}}, "match.source"),
        ({"match": {"source": {"namespaces": ["*-team"]}}}, "match.source.namespaces[0]"),
        ({"match": {"path": ["/a"]}}, "match.path"),
        ({"match": {"paths": ["/a/{*}"]}}, "match.paths[0]"),
        ({"match": {"headers": [{"name": ":path"}]}}, "match.headers[0].name"),
        ({"match": {"headers": [{"name": "x", "values": ["a"], "notValues": ["a"]}]}}, "match.headers[0].notValues"),
        ({"perValue": {}}, "perValue"),
        ({"perValue": {"header": "x", "source": "Address"}}, "perValue"),
        ({"perValue": {"header": "a b"}}, "perValue.header"),
        ({"perValue": {"header": "x", "overrides": [{"value": "a", "limit": FIVE}] * 2}}, "perValue.overrides[1].value"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_each_field_is_checked(fields: Json, at: str) -> None:
    assert rule(**fields) == [at]


@pytest.mark.parametrize(
    ("spec", "at"),
    [
        ({"rules": []}, "rules"),
        ({"rules": [{"name": "a", "limit": FIVE}, {"name": "a", "match": {"methods": ["GET"]}, "limit": FIVE}]}, "rules[1].name"),
        ({"rules": [{"limit": FIVE}], "global": SERVICE, "local": {}}, "spec"),
        ({"rules": [{"limit": {"requests": 5, "per": "2m"}}], "global": SERVICE}, "rules[0].limit.per"),
        ({"rules": [{"limit": {**FIVE, "burst": 9}}], "global": SERVICE}, "rules[0].limit.burst"),
        ({"rules": [{"limit": FIVE}], "global": {"service": {"host": "*.a", "port": 1}}}, "global.service.host"),
        ({"rules": [{"limit": FIVE}], "response": {"status": 430}}, "response.status"),
        ({"rules": [{"limit": FIVE}], "response": {"status": 200}}, "response.status"),
        ({"rules": [{"limit": FIVE}], "response": {"headers": [{"name": "x", "value": "a\nb"}]}}, "response.headers[0].value"),
        ({"rules": [{"limit": FIVE}], "selector": WEB, "targetRefs": [{"kind": "Service", "name": "a"}]}, "spec"),
        ({"rules": [{"limit": FIVE}], "targetRefs": [{"kind": "Deployment", "name": "a", "group": "apps"}]}, "targetRefs[0].kind"),
    ],
)
def test_so_is_what_stands_around_the_rules(spec: Json, at: str) -> None:
    assert errors(spec) == [at]


def test_a_rule_that_refuses_nothing_by_itself_is_told_and_one_with_more_in_less_time_is_not() -> None:
    stricter = {"limit": {"requests": 2, "per": "1m"}}
    often = {"limit": {"requests": 1, "per": "1s"}}

    assert codes({"rules": [{"limit": FIVE}, stricter]}) == [("rules[0]", "NeverDecides")]
    assert codes({"rules": [stricter, {"limit": FIVE}]}) == [("rules[1]", "NeverDecides")]
    assert codes({"rules": [{"limit": FIVE}, often]}) == []
    assert codes({"rules": [{"limit": FIVE}, {**stricter, "match": {"methods": ["GET"]}}]}) == []


def test_values_that_no_request_has_are_told() -> None:
    match = {"paths": ["api"], "methods": ["get"], "source": {"principals": ["spiffe://a/ns/b/sa/c"]}}

    assert codes({"rules": [{"match": match, "limit": FIVE}]}) == [
        ("rules[0].match.paths[0]", "NeverMatches"),
        ("rules[0].match.methods[0]", "NeverMatches"),
        ("rules[0].match.source.principals[0]", "NeverMatches"),
    ]


@pytest.mark.parametrize("failure", ["Closed", "closed", 5])
def test_one_that_cannot_be_used_lets_nothing_through_where_it_is_to_fail_closed(failure: object) -> None:
    found = read({"failure": failure, "selector": WEB, "rules": [{"limit": {"requests": 0}}]})
    closed = found.usable(read({"rules": [{"limit": FIVE}]}).object)

    assert isinstance(closed, ClosedRateLimit)
    assert closed.spec.selector is not None
    assert dict(closed.spec.selector.match_labels) == {"app": "web"}
    assert str(closed.key) == "RateLimit/shop/x"
    assert found.with_consequence[-1].code == "Closed"
    assert found.fate(None) is None


@pytest.mark.parametrize(
    "spec", [{"rules": [{}]}, {"failure": "Open", "rules": 5}, {"failure": "Closed", "mode": "DryRun", "rules": 5}, []]
)
def test_else_the_last_version_that_was_good_stays(spec: object) -> None:
    before = read({"rules": [{"limit": FIVE}]}).object
    found = read(spec)
    fate = found.fate(before)

    assert found.usable(before) is before
    assert fate is not None
    assert fate.code == LAST_GOOD


def test_for_whom_it_is_counts_for_the_closed_form_as_for_the_object_itself() -> None:
    gateway = {"group": "networking.istio.io", "kind": "Gateway", "name": "front"}
    closed = read({"failure": "Closed", "targetRefs": [gateway], "rules": 5}).usable(None)

    assert isinstance(closed, ClosedRateLimit)
    assert [ref.name for ref in closed.spec.target_refs] == ["front"]
