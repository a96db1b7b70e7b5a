"""Rules of our own, made of what VirtualServices say."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.ir.actions import Answer, FixedPort, Forward, FullPath, HeaderHash, KeepPort, ListenerPort, Redirect, Retry
from controlplane.ir.backends import ServiceBackend, Weighted
from controlplane.ir.extras import Delayed, Fault
from controlplane.ir.matches import ClaimMatch, ExactPath, HeaderMatch, PathPattern, RequestMatch, StringPrefix
from controlplane.ir.rules import HttpRule, in_order
from controlplane.ir.text import Exact, Present
from controlplane.mesh.routing.istio_matches import request_match
from controlplane.mesh.routing.istio_routes import Destinations, default_rule, http_rules, written
from controlplane.mesh.snapshot import snapshot
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, HTTPRoute, VirtualService
from controlplane.objects.parse import parse

ONE, TWO = ServiceBackend("one", 80), ServiceBackend("two", 80)


def rules_of(route: dict[str, object], *, hashed: bool = False) -> list[HttpRule]:
    """Return the rules of ``route``, as it is written, whose destinations are the first of ``one`` and ``two``."""
    value = HTTPRoute.model_validate(route)
    hashes = (HeaderHash("x"),) if hashed else ()
    return list(http_rules(value, value.match, Destinations((ONE, TWO)[: len(value.route)], (), hashes)))


def to(*weights: int) -> list[dict[str, object]]:
    return [{"destination": {"host": "x"}, "weight": weight} for weight in weights]


def forward_of(route: dict[str, object], *, hashed: bool = False) -> Forward:
    [rule] = rules_of(route, hashed=hashed)
    assert isinstance(rule.action, Forward)
    return rule.action


def test_a_route_is_a_rule_for_each_of_its_matches() -> None:
    first, second = rules_of({"name": "n", "match": [{"name": "m", "uri": {"exact": "/a"}}, {"uri": {"prefix": "/b"}}], "route": to(1)})

    assert (first.name, first.match.path) == ("n.m", ExactPath("/a"))
    assert (second.name, second.match.path) == ("n", StringPrefix("/b"))
    assert first.action == second.action


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((0,), [(ONE, 0)]),  # a single one has no need of a weight
        ((3, 1), [(ONE, 3), (TWO, 1)]),
        ((0, 5), [(TWO, 5)]),
        ((0, 0), [(ONE, 0)]),  # where nothing has a weight, the first gets all
    ],
)
def test_what_has_no_weight_gets_no_requests(weights: tuple[int, ...], expected: list[tuple[ServiceBackend, int]]) -> None:
    found = forward_of({"route": to(*weights)})

    assert [(each.backend, each.weight) for each in found.backends] == expected


def test_the_authority_is_set_apart_from_other_headers() -> None:
    changes = {"request": {"set": {"b": "2", "Host": "h", "a": "1"}, "remove": ["z", "y"]}}

    [rule] = rules_of({"route": to(1), "headers": changes})

    assert isinstance(rule.action, Forward)
    assert rule.action.authority == "h"
    assert (rule.request.set, rule.request.remove) == ((("a", "1"), ("b", "2")), ("y", "z"))


@pytest.mark.parametrize(
    ("operations", "authority"),
    [({"add": {":authority": "a"}}, "a"), ({"add": {"host": "a"}, "set": {":authority": "s"}}, "s"), ({"remove": ["host"]}, "")],
)
def test_an_authority_that_is_added_is_the_one_there_is(operations: dict[str, object], authority: str) -> None:
    assert forward_of({"route": to(1), "headers": {"request": operations}}).authority == authority


@pytest.mark.parametrize(
    ("injected", "expected"),
    [
        ({"abort": {"httpStatus": 500}}, None),
        ({"delay": {"fixedDelay": "1s", "percent": 0}}, None),
        ({"delay": {"fixedDelay": "1s", "percentage": {"value": 0}, "percent": 5}}, None),
        ({"delay": {"fixedDelay": "1s", "percent": 5}, "abort": {"httpStatus": 500}}, Fault(delay=Delayed(1000, 50_000))),
    ],
)
def test_a_fault_hits_the_share_that_is_said(injected: dict[str, object], expected: Fault | None) -> None:
    [rule] = rules_of({"route": to(1), "fault": injected})

    assert rule.fault == expected


def test_a_rule_has_the_name_that_users_gave_it() -> None:
    [written_rule] = rules_of({"route": to(1)})

    assert written_rule.name == ""
    assert default_rule(ONE).name == "default"


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        (None, Retry()),
        ({"attempts": 0}, None),
        ({"attempts": 3, "retryOn": "5xx, 503"}, Retry(attempts=3, conditions=("5xx", "retriable-status-codes"), codes=(503,))),
        ({"attempts": 1, "perTryTimeout": "2s"}, Retry(attempts=1, per_try_timeout_ms=2000)),
    ],
)
def test_retries_are_istios_unless_something_is_said(retries: dict[str, object] | None, expected: Retry | None) -> None:
    assert forward_of({"route": to(1), **({"retries": retries} if retries else {})}).retry == expected


def test_a_hashed_request_is_tried_at_the_same_host_again() -> None:
    assert forward_of({"route": to(1)}, hashed=True).retry == Retry(other_hosts=False)


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({"uri": "/a"}, Redirect(path=FullPath("/a"), port=KeepPort())),
        ({"scheme": "https", "port": 8443, "redirectCode": 308}, Redirect(code=308, scheme="https", port=FixedPort(8443))),
        ({"authority": "h", "derivePort": "FROM_REQUEST_PORT"}, Redirect(authority="h", port=ListenerPort())),
    ],
)
def test_a_redirect_names_what_it_changes(redirect: dict[str, object], expected: Redirect) -> None:
    [rule] = rules_of({"redirect": redirect})

    assert rule.action == expected


def test_what_envoy_cannot_do_is_no_rule() -> None:
    assert rules_of({"redirect": {"uri": "/a", "redirectCode": 304}}) == []
    assert rules_of({"delegate": {"name": "other"}}) == []


def test_a_body_of_bytes_stays_bytes() -> None:
    [rule] = rules_of({"directResponse": {"status": 200, "body": {"bytes": "aGk="}}})

    assert rule.action == Answer(200, b"hi")


def test_headers_that_are_claims_are_told_apart() -> None:
    given = {"headers": {"b": {}, "@request.auth.claims.iss": {"exact": "i"}}, "withoutHeaders": {"a": {"regex": "*"}}}

    found = request_match(HTTPMatchRequest.model_validate(given))

    assert found.headers == (HeaderMatch("b", Present()), HeaderMatch("a", Present(), invert=True))
    assert found.claims == (ClaimMatch(("iss",), Exact("i")),)


@pytest.mark.parametrize(
    ("match", "everything"),
    [
        (RequestMatch(), True),
        (RequestMatch(path=StringPrefix("/"), ignore_case=True), True),
        (RequestMatch(path=PathPattern(".*")), True),
        (RequestMatch(path=StringPrefix("/a")), False),
        (RequestMatch(method=Exact("GET")), False),
        (RequestMatch(claims=(ClaimMatch(("a",), Present()),)), False),
    ],
)
def test_a_match_knows_whether_it_leaves_anything(match: RequestMatch, everything: bool) -> None:  # noqa: FBT001
    assert match.takes_everything is everything


def virtual_service(name: str, created: str) -> VirtualService:
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": created}
    return VirtualService.model_validate({"kind": "VirtualService", "metadata": metadata})


everything_or_not = st.lists(st.booleans(), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.sampled_from(("2024-01-01", "2024-01-02")), everything_or_not), max_size=4))
def test_older_objects_come_first_and_what_takes_everything_last(parts: list[tuple[str, list[bool]]]) -> None:
    made = []
    for at, (created, takes) in enumerate(parts):
        matches = [RequestMatch() if everything else RequestMatch(path=ExactPath(f"/{i}")) for i, everything in enumerate(takes)]
        rules = [HttpRule(match=match, action=Answer(200), name=f"{at}.{i}") for i, match in enumerate(matches)]
        made.append((created, f"v{at}", written(virtual_service(f"v{at}", created), rules)))

    found = [rule.name for rule in in_order(chain.from_iterable(rules for _, _, rules in reversed(made)))]

    in_turn = [rule for _, _, rules in sorted(made, key=lambda part: part[:2]) for rule in rules]
    last = [rule.name for rule in in_turn if rule.match.takes_everything][:1]
    assert found == [rule.name for rule in in_turn if not rule.match.takes_everything] + last


def test_rules_are_equal_by_what_they_say() -> None:
    one, other = default_rule(ONE), default_rule(ServiceBackend("one", 80))

    assert (one, hash(one)) == (other, hash(other))
    assert one != default_rule(TWO)
    assert one.action == Forward(backends=(Weighted(backend=ONE),), retry=Retry())


def test_a_route_that_only_delegates_leaves_the_other_hosts_of_its_port() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": "a"}}}
    written_objects = [
        {**service, "metadata": {"name": "a", "namespace": "d"}},
        {**service, "metadata": {"name": "b", "namespace": "d"}},
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "v", "namespace": "d"},
            "spec": {"hosts": ["a"], "http": [{"delegate": {"name": "other"}}]},
        },
    ]
    parsed = [parse(each) for each in written_objects]

    made = snapshot(
        [Change(each.key, each.object) for each in parsed if each.key], proxy_from_node("sidecar~127.0.0.1~c.d~d.svc.cluster.local", {})
    )

    [table] = made.resources["routes"]
    hosts = table["virtualHosts"]
    assert isinstance(hosts, list)
    assert [host["name"] for host in hosts] == ["a.d.svc.cluster.local:80", "b.d.svc.cluster.local:80", "allow_any"]
