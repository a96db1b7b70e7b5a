"""All mistakes of an object in one round, kinds that are misspelt, and lines that only the version has that is written now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.locations import LocatedProblem, Location, located_problems
from controlplane.objects.parse import ParsedObject, parse

Json = dict[str, object]
TO: Json = {"destination": {"host": "b"}}
KEY = Key("VirtualService", "a", "x", "networking.istio.io")
OTHER = Key("VirtualService", "a", "y", "networking.istio.io")


def read(kind: str, spec: object, group: str = "networking.istio.io") -> ParsedObject:
    return parse({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})


def errors(kind: str, spec: object) -> list[str]:
    return [each.field.removeprefix("spec.") for each in read(kind, spec).problems if each.severity is Severity.ERROR]


def test_what_types_refuse_does_not_hide_what_rules_refuse() -> None:
    routes: list[Json] = [
        {"route": [TO], "timeout": 5},
        {"match": [{"uri": {"exact": 1}, "port": 70000}], "route": [{"weight": 1}]},
        {"route": [TO], "redirect": {"uri": "/"}, "retries": {"attempts": 2, "retryOn": "never"}},
    ]

    assert errors("VirtualService", {"hosts": ["a", "bad_host"], "http": routes}) == [
        "http[0].timeout",
        "http[1].match[0].uri.exact",
        "http[1].route[0].destination",
        "hosts[1]",
        "http[1].match[0].port",
        "http[2]",
        "http[2].retries.retryOn",
    ]


def test_what_was_left_out_is_not_told_to_be_missing() -> None:
    assert errors("VirtualService", {"hosts": ["a"], "http": 5}) == ["http"]
    assert errors("VirtualService", {"hosts": ["a"], "http": [{"route": 1}]}) == ["http[0].route"]
    assert errors("Gateway", {"servers": [{"port": {"number": "x"}, "hosts": ["a.b"]}]}) == [
        "servers[0].port.number",
        "servers[0].port.protocol",
        "servers[0].port.name",
    ]
    assert errors("VirtualService", 5) == ["spec"]


@pytest.mark.parametrize(
    ("group", "written", "meant"),
    [
        ("networking.istio.io", "virtualservice", "VirtualService?"),
        ("networking.istio.io", "VirtualServices", "VirtualService?"),
        ("networking.istio.io", "DestinatonRule", "DestinationRule?"),
        ("networking.istio.io", "AuthorizationPolicy", "AuthorizationPolicy of security.istio.io?"),
        ("networking.isto.io", "VirtualService", "VirtualService of networking.istio.io?"),
        ("networking.istio.io", "Service", "Service of core?"),
        ("security.istio.io", "authorizationPolicy", "AuthorizationPolicy?"),
    ],
)
def test_a_kind_that_is_misspelt_is_an_error(group: str, written: str, meant: str) -> None:
    parsed = read(written, {}, group)

    [problem] = parsed.problems
    assert parsed.object is None
    assert (problem.severity, problem.field, problem.code) == (Severity.ERROR, "kind", "UnknownKind")
    assert problem.message.endswith(meant)


def test_a_kind_like_none_of_ours_is_passed_over() -> None:
    parsed = parse({"apiVersion": "v1", "kind": "Serviceaccounting", "metadata": {"name": "x"}})

    assert [each.code for each in parsed.problems] == ["KindIgnored"]
    assert [each.code for each in read("Gateway", {}, "gateway.networking.k8s.io").problems] == ["KindNotTranslated"]


@dataclass
class OneFile:
    """A source whose object KEY is refused as it is written now."""

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        yield (LocatedProblem(Problem(KEY, "spec", Severity.ERROR, "Required", "expected hosts"), Location("a.yaml", 3)),)

    def location(self, key: Key, path: str) -> Location | None:
        del path
        return Location("a.yaml" if key == KEY else "b.yaml", 7)


def test_what_is_wrong_with_the_last_good_version_is_at_no_line_of_the_new_one() -> None:
    found = [Problem(key, "spec.hosts[0]", Severity.WARNING, "Conflict", "a is routed by another") for key in (KEY, OTHER)]

    located = located_problems(found, [OneFile()])

    assert [(str(each.location or ""), each.problem.message) for each in located] == [
        ("", "in its last good version: a is routed by another"),
        ("a.yaml:3", "expected hosts"),
        ("b.yaml:7", "a is routed by another"),
    ]
