"""Which virtual host and route a request gets, and what the route does with it, rule by rule of Envoy's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from controlplane.simulation.resources import Resources, resources_of
from controlplane.simulation.result import Answered, Forwarded, Landing, Mirrored, Stage, Undecided
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import HttpVersion, PlainHttp, Request
from tests.support.simulation.messages import Json, cluster, http, listener, request, simulated, table, virtual_outbound

FAULT = {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}
TO_A = {"route": {"cluster": "a"}}


def host_for(asked: Request, *domains: str, manager: Json | None = None, general: Json | None = None) -> str:
    [outcome] = simulated(asked, *({"domains": [domain]} for domain in domains), manager=manager, general=general).outcomes
    return outcome.chosen(Stage.VIRTUAL_HOST)


@pytest.mark.parametrize(
    ("authority", "domain"),
    [
        ("b.a.example", "b.a.example"),
        ("B.A.Example", "b.a.example"),
        ("c.a.example", "*.a.example"),
        ("x.example", "*.example"),
        ("a.test", "a.*"),
        ("a.b.test", "a.b.*"),
        ("a.example", "*.example"),
        (".a.example", "*.example"),
        ("other.test", "*"),
        ("b.a.example:80", "*"),
    ],
)
def test_the_exact_domain_wins_then_the_longest_suffix_then_the_longest_prefix(authority: str, domain: str) -> None:
    domains = ("*", "a.*", "*.example", "a.b.*", "*.a.example", "b.a.example")

    assert host_for(request(authority), *domains) == domain


@pytest.mark.parametrize(("authority", "domain"), [("a.example:80", "a.example"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")])
def test_a_table_may_look_past_the_port_of_the_authority(authority: str, domain: str) -> None:
    assert host_for(request(authority), "a.example", "[::1]", general={"ignore_port_in_host_matching": True}) == domain


@pytest.mark.parametrize(
    ("manager", "authority", "domain"),
    [
        ({"strip_any_host_port": True}, "a.example:81", "a.example"),
        ({"strip_matching_host_port": True}, "a.example:80", "a.example"),
        ({"strip_matching_host_port": True}, "a.example:81", ""),
        ({"strip_trailing_host_dot": True}, "a.example.", "a.example"),
        ({"strip_trailing_host_dot": True, "strip_any_host_port": True}, "a.example.:81", "a.example"),
        ({}, "a.example.", ""),
    ],
)
def test_the_connection_manager_strips_authorities(manager: Json, authority: str, domain: str) -> None:
    assert host_for(request(authority), "a.example", manager=manager) == domain


def test_a_header_may_stand_for_the_authority() -> None:
    assert host_for(request("b.example", x_host="a.example"), "a.example", general={"vhost_header": "x-host"}) == "a.example"
    assert host_for(request("a.example"), "a.example", general={"vhost_header": "x-host"}) == ""


def test_virtual_hosts_by_vhds_belong_to_their_table() -> None:
    host = table({"domains": ["a.example"], "routes": [{"match": {"prefix": "/"}, **TO_A}]}).virtual_hosts[0]
    own = listener("0.0.0.0", 80, http("table"))
    resources = resources_of([virtual_outbound(), own, table(), cluster("a", "1.1.1.1:1")], {"table": (host,)})

    assert simulate(request(), resources).landings == {Forwarded("a", frozenset(["1.1.1.1:1"]))}
    assert simulate(request(), replace(resources, virtual_hosts={"other": (host,)})).landings == {Answered(404)}


def test_the_first_route_that_fits_wins_and_without_one_the_answer_is_404() -> None:
    routes = [{"match": {"path": "/x"}, "direct_response": {"status": 200}}, {"match": {"prefix": "/"}, **TO_A}]

    assert simulated(request(path="/x"), {"domains": ["*"], "routes": routes}).landings == {Answered(200)}
    assert simulated(request(path="/y"), {"domains": ["*"], "routes": routes[:1]}).landings == {Answered(404)}
    assert simulated(request("b.example"), {"domains": ["a.example"], "routes": routes}).landings == {Answered(404)}


def test_a_share_of_the_requests_passes_a_route_by() -> None:
    some = {"default_value": {"numerator": 30, "denominator": "HUNDRED"}}
    routes = [{"match": {"prefix": "/", "runtime_fraction": some}, "direct_response": {"status": 200}}, {"match": {"prefix": "/"}, **TO_A}]

    found = simulated(request(), {"domains": ["*"], "routes": routes})

    assert [outcome.share for outcome in found.outcomes] == [Fraction(3, 10), Fraction(7, 10)]


def test_one_random_number_decides_on_shares_and_weights() -> None:
    some = {"default_value": {"numerator": 30, "denominator": "HUNDRED"}}
    weights = {"weighted_clusters": {"clusters": [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]}}
    routes = [{"match": {"prefix": "/", "runtime_fraction": some}, "route": weights}, {"match": {"prefix": "/"}, "route": weights}]

    found = simulated(request(), {"domains": ["*"], "routes": routes})

    shares = [(outcome.share, landing.cluster) for outcome in found.outcomes if isinstance(landing := outcome.landing, Forwarded)]
    assert shares == [(Fraction(3, 10), "a"), (Fraction(2, 10), "a"), (Fraction(1, 2), "b")]


@pytest.mark.parametrize(
    ("action", "landing"),
    [
        ({"redirect": {"path_redirect": "/x"}}, Answered(301)),
        ({"redirect": {"path_redirect": "/x", "response_code": "PERMANENT_REDIRECT"}}, Answered(308)),
        ({"route": {"cluster_header": "x-to"}}, Forwarded("b", frozenset(["2.2.2.2:2"]))),
        ({"route": {"cluster_header": "x-missing"}}, Answered(503)),
        ({"route": {"cluster": "nobody"}}, Answered(503, "nobody")),
        ({"route": {"cluster": "nobody", "cluster_not_found_response_code": "NOT_FOUND"}}, Answered(404, "nobody")),
        ({"route": {"cluster_specifier_plugin": "x"}}, Undecided()),
        ({"non_forwarding_action": {}}, Undecided()),
    ],
)
def test_a_route_acts(action: Json, landing: Landing) -> None:
    found = simulated(request(x_to="b"), {"domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]})

    assert found.landings == {landing}


def test_mirrors_go_along_and_the_more_specific_policy_counts() -> None:
    half = {"default_value": {"numerator": 50, "denominator": "HUNDRED"}}
    none = {"default_value": {"numerator": 0, "denominator": "HUNDRED"}}
    policies = [{"cluster": "b", "runtime_fraction": half}, {"cluster": "c", "runtime_fraction": none}]
    action = {"cluster": "a", "request_mirror_policies": policies}
    host = {"domains": ["*"], "request_mirror_policies": [{"cluster": "d"}]}

    [own] = simulated(request(), {**host, "routes": [{"match": {"prefix": "/"}, "route": action}]}).outcomes
    [general] = simulated(request(), {**host, "routes": [{"match": {"prefix": "/"}, **TO_A}]}).outcomes

    assert own.mirrors == (Mirrored("b", Fraction(1, 2)),)
    assert general.mirrors == (Mirrored("d", Fraction(1)),)


def test_a_fault_is_injected_into_a_share_before_the_route_acts() -> None:
    some = {**FAULT, "abort": {"http_status": 418, "percentage": {"numerator": 25, "denominator": "HUNDRED"}}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}, "typed_per_filter_config": {"fault": some}}

    found = simulated(request(), {"domains": ["*"], "routes": [route]})

    assert [(outcome.landing, outcome.share) for outcome in found.outcomes] == [
        (Answered(418), Fraction(1, 4)),
        (Answered(200), Fraction(3, 4)),
    ]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"abort": {"http_status": 418, "percentage": {"numerator": 0}}}, 200),
        ({"abort": {"http_status": 418, "percentage": {"numerator": 100}}, "headers": [{"name": "x-user", "present_match": True}]}, 200),
        ({"abort": {"http_status": 418, "percentage": {"numerator": 100}}, "upstream_cluster": "other"}, 200),
        ({"abort": {"grpc_status": 14, "percentage": {"numerator": 100}}}, 503),
        ({"abort": {"header_abort": {}, "percentage": {"numerator": 100}}}, 200),
    ],
)
def test_a_fault_asks_for_what_it_is_for(fault: Json, status: int) -> None:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}, "typed_per_filter_config": {"fault": {**FAULT, **fault}}}

    assert simulated(request(), {"domains": ["*"], "routes": [route]}).landings == {Answered(status)}


def test_the_most_specific_fault_counts() -> None:
    def fault(status: int) -> Json:
        return {"typed_per_filter_config": {"fault": {**FAULT, "abort": {"http_status": status, "percentage": {"numerator": 100}}}}}

    weighted = {"weighted_clusters": {"clusters": [{"name": "a", "weight": 1, **fault(401)}]}}
    routes = [{"match": {"path": "/1"}, "route": weighted, **fault(402)}, {"match": {"path": "/2"}, **TO_A, **fault(403)}]
    host = {"domains": ["*"], "routes": [*routes, {"match": {"path": "/3"}, **TO_A}], **fault(405)}

    statuses = [simulated(request(path=f"/{number}"), host, general=fault(406)).landings for number in (1, 2, 3)]

    assert statuses == [{Answered(401)}, {Answered(403)}, {Answered(405)}]


def test_a_host_for_tls_alone_redirects() -> None:
    host = {"domains": ["*"], "require_tls": "ALL", "routes": [{"match": {"prefix": "/"}, **TO_A}]}

    assert simulated(request(), host).landings == {Answered(301)}


def test_connect_is_refused_unless_it_is_enabled() -> None:
    routes = [{"match": {"connect_matcher": {}}, **TO_A}]
    enabled = {"upgrade_configs": [{"upgrade_type": "CONNECT"}]}

    assert simulated(request(method="CONNECT"), {"domains": ["*"], "routes": routes}).landings == {Answered(403)}
    assert simulated(request(method="CONNECT"), {"domains": ["*"], "routes": routes}, manager=enabled).landings == {
        Forwarded("a", frozenset(["1.1.1.1:1"]))
    }


def test_the_old_http_is_answered_with_426() -> None:
    old = replace(request(), connection=replace(request().connection, first_bytes=PlainHttp(HttpVersion.HTTP10)))

    assert simulated(old, {"domains": ["*"]}).landings == {Answered(426)}


def test_filters_that_may_refuse_are_named() -> None:
    rbac = {"name": "rbac"}

    [outcome] = simulated(request(), {"domains": ["*"]}, manager={"http_filters": [rbac]}).outcomes

    assert outcome.asks == ("rbac",)


def test_what_a_route_asks_beyond_the_simulation_is_undecided() -> None:
    route = {"match": {"prefix": "/", "tls_context": {}}, **TO_A}

    assert simulated(request(), {"domains": ["*"], "routes": [route]}).landings == {Undecided()}


def test_without_resources_nobody_listens() -> None:
    [outcome] = simulate(request(), Resources()).outcomes

    assert outcome.steps[0].reason == "no listener has the address 127.0.0.1:15001, or port 15001 of all addresses"
