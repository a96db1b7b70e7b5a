"""Routes and conditions that nothing comes to: which are told, and what is not, as something is left for it."""

from __future__ import annotations

import time

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
TO: Json = {"destination": {"host": "a"}}


def told(**routes: object) -> dict[str, str]:
    """Return the fields that are told in a VirtualService with ``routes``, and with which code."""
    spec = {"hosts": ["*.b.c", "a"], **routes}
    parsed = parse({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "x"}, "spec": spec})
    assert parsed.object is not None, parsed.problems
    assert {each.severity for each in parsed.problems} <= {Severity.WARNING}
    return {each.field.removeprefix("spec."): each.code for each in parsed.problems}


def http(*matches: list[Json], **first: object) -> dict[str, str]:
    routes: list[Json] = [{"match": match, "route": [TO]} if match else {"route": [TO]} for match in matches]
    return told(http=[{**routes[0], **first}, *routes[1:]])


PREFIX: Json = {"uri": {"prefix": "/a"}}
GET: Json = {"method": {"exact": "GET"}}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, PREFIX),
        (PREFIX, PREFIX),
        (PREFIX, {"uri": {"exact": "/ab"}}),
        (PREFIX, {"uri": {"prefix": "/a/b"}, **GET}),
        (GET, {**PREFIX, **GET, "headers": {"x": {"exact": "y"}}}),
        ({"uri": {"prefix": "/"}}, {"uri": {"regex": ".*"}}),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, {"uri": {"exact": "/aB"}}),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, {"uri": {"exact": "/aB"}, "ignoreUriCase": True}),
        ({"headers": {"X-A": {}}}, {"headers": {"x-a": {}}}),
        ({"gateways": ["mesh"], **PREFIX}, {"gateways": ["mesh"], **PREFIX}),
    ],
)
def test_a_route_behind_one_that_takes_all_of_it_is_told(earlier: Json, later: Json) -> None:
    assert http([earlier] if earlier else [], [later]) == {"http[1]": "Unreachable"}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"uri": {"exact": "/a"}}, PREFIX),
        ({**PREFIX, **GET}, PREFIX),
        (PREFIX, {"uri": {"exact": "/Ab"}}),
        (PREFIX, {"uri": {"exact": "/ab"}, "ignoreUriCase": True}),
        ({"queryParams": {"X": {"exact": "1"}}}, {"queryParams": {"x": {"exact": "1"}}}),
        ({"withoutHeaders": {"x": {}}}, {"headers": {"x": {}}}),
        ({"uri": {"regex": "/a.*"}}, PREFIX),
        ({"gateways": ["mesh"], **PREFIX}, PREFIX),
    ],
)
def test_one_that_something_is_left_for_is_not(earlier: Json, later: Json) -> None:
    assert http([earlier], [later]) == {}


def test_of_several_conditions_those_are_told_that_add_nothing() -> None:
    assert http([PREFIX, {"uri": {"exact": "/ab"}}], [GET, PREFIX]) == {
        "http[0].match[1]": "Ineffective",
        "http[1].match[1]": "Ineffective",
    }


def test_nothing_is_hidden_behind_what_a_delegate_may_leave() -> None:
    route: Json = {"match": [PREFIX], "route": [TO]}
    delegating: Json = {"match": [PREFIX], "delegate": {"name": "d"}}

    assert told(http=[delegating, route]) == {}
    assert told(http=[route, delegating]) == {"http[1]": "Unreachable"}


def test_routes_for_connections() -> None:
    def tls(*names: str, **more: object) -> Json:
        return {"match": [{"sniHosts": list(names), **more}], "route": [TO]}

    assert told(tls=[tls("x.b.c"), tls("x.b.c", port=443)]) == {"tls[1]": "Unreachable"}
    assert told(tls=[tls("x.b.c"), tls("x.b.c", "y.b.c"), tls("*.b.c")]) == {}  # the narrower name wins, wherever it stands
    assert told(tcp=[{"route": [TO]}, {"match": [{"port": 1}], "route": [TO]}]) == {"tcp[1]": "Unreachable"}
    assert told(tcp=[{"match": [{"port": 1}], "route": [TO]}, {"match": [{"port": 2}], "route": [TO]}]) == {}


def test_very_many_conditions_are_looked_at_once() -> None:
    matches: list[Json] = [{"uri": {"prefix": f"/{number}/"}, "headers": {"x": {"exact": str(number)}}} for number in range(4000)]
    routes: list[Json] = [{"match": [match], "route": [TO]} for match in matches]

    began = time.process_time()
    assert told(http=routes) == {}

    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("match", "field"),
    [
        ({"uri": {"exact": "/a/*"}}, "uri.exact"),
        ({"uri": {"prefix": "/a/*"}}, "uri.prefix"),
        ({"uri": {"prefix": "/*/b"}}, "uri.prefix"),
        ({"uri": {"prefix": "api"}}, "uri.prefix"),
        ({"uri": {"regex": "api/.*"}}, "uri.regex"),
        ({"uri": {"exact": "/a?b=c"}}, "uri.exact"),
        ({"uri": {"exact": "/a b"}}, "uri.exact"),
        ({"uri": {"prefix": "/ä"}}, "uri.prefix"),
        ({"uri": {"exact": "/a/.."}}, "uri.exact"),
        ({"uri": {"prefix": "/a/./b"}}, "uri.prefix"),
        ({"method": {"exact": "get"}}, "method.exact"),
        ({"method": {"regex": "get"}}, "method.regex"),
        ({"authority": {"exact": "a b"}}, "authority.exact"),
        ({"headers": {"x": {"exact": "a\nb"}}}, "headers.x.exact"),
        ({"headers": {"x": {"exact": " a"}}}, "headers.x.exact"),
        ({"scheme": {"exact": "HTTPS"}}, "scheme.exact"),
        ({"authority": {"exact": "*.b.c"}}, "authority.exact"),
        ({"authority": {"prefix": "https://a"}}, "authority.prefix"),
        ({"headers": {"x": {"exact": "a*"}}}, "headers.x.exact"),
        ({"queryParams": {"x": {"prefix": "a*"}}}, "queryParams.x.prefix"),
    ],
)
def test_a_condition_that_no_request_fulfils_is_told(match: Json, field: str) -> None:
    assert http([match]) == {f"http[0].match[0].{field}": "NeverMatches"}


@pytest.mark.parametrize(
    "match",
    [
        {"uri": {"exact": "*"}, **GET},
        {"uri": {"regex": "a?/b"}},
        {"uri": {"regex": "a|/b"}},
        {"uri": {"regex": "[/]a"}},
        {"headers": {"accept": {"exact": "*/*"}}},
        {"method": {"exact": "PURGE"}},
        {"authority": {"prefix": "a."}},
    ],
)
def test_one_that_some_request_fulfils_is_not(match: Json) -> None:
    assert http([match]) == {}
