"""What a route asks of path, headers and query, and whether a request fits it, rule by rule of Envoy's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.simulation.result import Answered, Forwarded
from controlplane.simulation.traffic import Request
from tests.support.simulation.messages import Json, request, simulated

TO_A = {"route": {"cluster": "a"}}


def fits(asked: Request, **match: object) -> bool:
    found = simulated(
        asked, {"domains": ["*"], "routes": [{"match": {"prefix": "/", **match} if "prefix" not in match else match, **TO_A}]}
    )
    return found.landings == {Forwarded("a", frozenset(["1.1.1.1:1"]))}


def path_fits(seen: str, match: Json) -> bool:
    found = simulated(request(path=seen), {"domains": ["*"], "routes": [{"match": match, **TO_A}]})
    return found.landings == {Forwarded("a", frozenset(["1.1.1.1:1"]))}


@pytest.mark.parametrize(
    ("match", "path", "holds"),
    [
        ({"prefix": "/api"}, "/apix?q", True),
        ({"prefix": "/api?q"}, "/api?q", False),
        ({"path": "/api"}, "/api?q", True),
        ({"path": "/api"}, "/api/", False),
        ({"path": "/api"}, "/API", False),
        ({"path": "/api", "case_sensitive": False}, "/API", True),
        ({"path_separated_prefix": "/api"}, "/api", True),
        ({"path_separated_prefix": "/api"}, "/api/v1", True),
        ({"path_separated_prefix": "/api"}, "/apix", False),
        ({"safe_regex": {"regex": "/a[pi]+"}}, "/api?q", True),
        ({"safe_regex": {"regex": "/a"}}, "/api", False),
        ({"safe_regex": {"regex": "/a|/api"}}, "/api", True),
        ({"connect_matcher": {}}, "/api", False),
    ],
)
def test_a_path_fits_without_its_query(match: Json, path: str, *, holds: bool) -> None:
    assert path_fits(path, match) is holds


def test_parameters_of_a_path_may_be_looked_past() -> None:
    routes = [{"match": {"path": "/api"}, **TO_A}]

    found = simulated(
        request(path="/api;v=1"), {"domains": ["*"], "routes": routes}, general={"ignore_path_parameters_in_path_matching": True}
    )

    assert found.landings == {Forwarded("a", frozenset(["1.1.1.1:1"]))}


@pytest.mark.parametrize(
    ("path", "manager", "seen"),
    [
        ("/api/../static", {"normalize_path": True}, "/static"),
        ("/api/%2e%2e/static", {"normalize_path": True}, "/static"),
        ("/../api", {"normalize_path": True}, "/api"),
        ("/api/./v1/.", {"normalize_path": True}, "/api/v1/"),
        ("/api/..", {"normalize_path": True}, "/"),
        ("/%61pi%2Fv1", {"normalize_path": True}, "/api%2Fv1"),
        ("/api\\v1", {"normalize_path": True}, "/api/v1"),
        ("/api/../static", {}, "/api/../static"),
        ("//api//v1/", {"merge_slashes": True}, "/api/v1/"),
        ("/api%2Fv1", {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}, "/api/v1"),
        ("/api%2F..%5Cv1", {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD", "normalize_path": True}, "/v1"),
    ],
)
def test_routes_see_the_normalized_path(path: str, manager: Json, seen: str) -> None:
    routes = [{"match": {"path": seen}, **TO_A}]

    found = simulated(request(path=path), {"domains": ["*"], "routes": routes}, manager=manager)

    assert found.landings == {Forwarded("a", frozenset(["1.1.1.1:1"]))}


@pytest.mark.parametrize(
    ("path", "manager", "status"),
    [
        ("/api%2Fv1", {"path_with_escaped_slashes_action": "REJECT_REQUEST"}, 400),
        ("/api%5cv1", {"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"}, 307),
        ("/api%00", {"normalize_path": True}, 400),
    ],
)
def test_some_paths_are_answered_at_once(path: str, manager: Json, status: int) -> None:
    assert simulated(request(path=path), {"domains": ["*"]}, manager=manager).landings == {Answered(status)}


@pytest.mark.parametrize(
    ("matcher", "holds"),
    [
        ({"string_match": {"exact": "jane"}}, True),
        ({"string_match": {"exact": "JANE"}}, False),
        ({"string_match": {"exact": "JANE", "ignore_case": True}}, True),
        ({"string_match": {"prefix": "ja"}}, True),
        ({"string_match": {"suffix": "ne"}}, True),
        ({"string_match": {"contains": "AN", "ignore_case": True}}, True),
        ({"string_match": {"safe_regex": {"regex": "j.n"}}}, False),
        ({"string_match": {"safe_regex": {"regex": "j.n."}}}, True),
        ({"exact_match": "jane"}, True),
        ({"prefix_match": "x"}, False),
        ({"suffix_match": "ne"}, True),
        ({"contains_match": "an"}, True),
        ({"safe_regex_match": {"regex": "[a-z]+"}}, True),
        ({"range_match": {"start": 1, "end": 9}}, False),
        ({"present_match": True}, True),
        ({"present_match": False}, False),
        ({}, True),
        ({"string_match": {"exact": "jane"}, "invert_match": True}, False),
        ({"present_match": True, "invert_match": True}, False),
    ],
)
def test_a_header_that_is_there_fits_by_its_value(matcher: Json, *, holds: bool) -> None:
    assert fits(request(x_user="jane"), headers=[{"name": "X-User", **matcher}]) is holds


@pytest.mark.parametrize(
    ("matcher", "holds"),
    [
        ({"string_match": {"exact": "jane"}}, False),
        ({"string_match": {"exact": "jane"}, "invert_match": True}, False),
        ({"string_match": {"exact": "jane"}, "invert_match": True, "treat_missing_header_as_empty": True}, True),
        ({"string_match": {"exact": ""}, "treat_missing_header_as_empty": True}, True),
        ({"present_match": True}, False),
        ({"present_match": False}, True),
        ({"present_match": True, "invert_match": True}, True),
        ({"invert_match": True}, True),
        ({}, False),
    ],
)
def test_a_header_that_is_missing_fits_no_value_and_no_inverted_one(matcher: Json, *, holds: bool) -> None:
    assert fits(request(), headers=[{"name": "x-user", **matcher}]) is holds


def test_values_of_one_header_are_joined_and_numbers_are_compared() -> None:
    twice = replace(request(), headers=(("x-user", "jane"), ("X-User", "joe")))

    assert fits(twice, headers=[{"name": "x-user", "string_match": {"exact": "jane,joe"}}])
    assert fits(request(x_n="8"), headers=[{"name": "x-n", "range_match": {"start": 1, "end": 9}}])
    assert not fits(request(x_n="9"), headers=[{"name": "x-n", "range_match": {"start": 1, "end": 9}}])


def test_method_authority_path_and_scheme_are_headers_too() -> None:
    asked = request("a.example", path="/x?q=1", method="PUT")
    wanted = {":method": "PUT", ":authority": "a.example", "host": "a.example", ":path": "/x?q=1", ":scheme": "http"}

    assert fits(asked, headers=[{"name": name, "string_match": {"exact": value}} for name, value in wanted.items()])


@pytest.mark.parametrize(
    ("matcher", "query", "holds"),
    [
        ({"string_match": {"exact": "1"}}, "?q=1&q=2", True),
        ({"string_match": {"exact": "2"}}, "?q=1&q=2", False),
        ({"string_match": {"exact": "a b"}}, "?q=a%20b", False),
        ({"present_match": True}, "?q", True),
        ({"present_match": False}, "?r=1", True),
        ({}, "?q=", True),
        ({}, "", False),
    ],
)
def test_the_first_query_parameter_of_a_name_fits_as_it_is_written(matcher: Json, query: str, *, holds: bool) -> None:
    assert fits(request(path=f"/{query}"), query_parameters=[{"name": "q", **matcher}]) is holds


def test_grpc_is_known_by_its_content_type() -> None:
    assert fits(request(content_type="application/grpc+proto"), grpc={})
    assert not fits(request(content_type="application/grpc-web"), grpc={})
