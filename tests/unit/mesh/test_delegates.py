"""Delegates: how their routes are merged, by Istio's own tables and ours, and what a change of one makes anew."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from controlplane.ir.actions import Forward
from controlplane.ir.rules import HttpRule
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.routing import delegates, virtual_services
from controlplane.mesh.routing.egress_hosts import EVERYTHING
from controlplane.mesh.routing.istio_delegates import conflict, first_outside, merged_matches, merged_routes, resolved_names
from controlplane.model.keys import VIRTUAL_SERVICE
from controlplane.model.problems import Severity
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, HTTPRoute
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

TABLES = Path(__file__).parents[4] / "shared" / "cases" / "unit-tables"
Case = Mapping[str, object]


def table(name: str) -> list[dict[str, object]]:
    path = TABLES / "virtualservice-delegate-merge.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not here: Istio's tables were not run")
    cases: list[dict[str, object]] = json.loads(path.read_text())[name]
    print(f"{name}: {len(cases)} cases")
    return cases


def as_written(value: object) -> object:
    """Return ``value``, printed by Go, as users write it."""
    if isinstance(value, dict):
        if set(value) == {"MatchType"}:
            return as_written(value["MatchType"])
        if set(value) == {"Seconds"}:
            return f"{value['Seconds']}s"
        return {name[:1].lower() + name[1:]: as_written(each) for name, each in value.items() if each is not None}
    return [as_written(each) for each in value] if isinstance(value, list) else value


def match(value: object) -> HTTPMatchRequest:
    return HTTPMatchRequest.model_validate(as_written(value))


def matches(value: object) -> tuple[HTTPMatchRequest, ...]:
    assert value is None or isinstance(value, list)
    return tuple(match(each) for each in value or ())


def routes(value: object) -> tuple[HTTPRoute, ...]:
    assert value is None or isinstance(value, list)
    return tuple(HTTPRoute.model_validate(as_written(each)) for each in value or ())


def test_istios_table_of_conflicts() -> None:
    for case in table("TestHasConflict"):
        assert conflict(match(case["root"]), match(case["leaf"])) == case["expected"], case


def test_istios_table_of_merged_matches() -> None:
    for case in table("TestMergeHTTPMatchRequests"):
        root, delegated = HTTPRoute(match=matches(case["root"])), HTTPRoute(match=matches(case["delegate"]))
        kept = first_outside(root, delegated) is None

        assert (merged_matches(root.match, delegated.match) if kept else None) == (matches(case["expected"]) or None), case


def test_istios_table_of_merged_routes() -> None:
    for case in table("TestMergeHttpRoutes"):
        [root] = routes([case["root"]])

        assert merged_routes(root, routes(case["delegate"])) == routes(case["expected"]), case


@pytest.mark.parametrize(
    ("root", "delegated", "apart"),
    [
        ({"uri": {"regex": "/a"}}, {"uri": {"regex": "/a"}}, False),  # the same
        ({"headers": {"a": {}}}, {"headers": {"a": {"exact": "1"}}}, False),  # the root only asks that it is there
        ({"headers": {"a": {"exact": "1"}}}, {"headers": {"a": {}}}, True),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}, True),
        ({"uri": {"prefix": "/a"}, "ignoreUriCase": True}, {"uri": {"prefix": "/a/b"}}, True),
        ({"uri": {"prefix": "/a"}, "ignoreUriCase": True}, {"method": {"exact": "GET"}}, False),
        ({"queryParams": {"a": {"exact": "1"}}}, {"queryParams": {"a": {"exact": "2"}}}, True),
        ({"sourceNamespace": "a"}, {"sourceNamespace": "b"}, True),
        ({"sourceNamespace": "a"}, {}, False),
        ({"method": {"exact": "GET"}}, {"method": {"exact": "PUT"}}, True),
    ],
)
def test_a_condition_lies_within_another_where_all_of_it_does(root: object, delegated: object, *, apart: bool) -> None:
    assert conflict(match(root), match(delegated)) == apart


def test_a_merged_match_has_the_conditions_of_both() -> None:
    root = {"name": "r", "uri": {"prefix": "/a"}, "ignoreUriCase": True, "withoutHeaders": {"x": {"prefix": "b"}}, "sourceNamespace": "n"}
    delegated = {"name": "d", "queryParams": {"q": {"exact": "1"}}, "withoutHeaders": {"x": {"exact": "bot"}, "y": {}}, "port": 80}

    [merged] = merged_matches(matches([root]), matches([delegated]))

    assert merged == match({**root, **delegated, "name": "r-d", "withoutHeaders": {"x": {"prefix": "b"}, "y": {}}})


def test_names_mean_what_they_mean_where_they_are_written() -> None:
    written = {
        "route": [{"destination": {"host": "a"}}],
        "mirrors": [{"destination": {"host": "b"}}],
        "match": [{"gateways": ["g", "mesh"]}],
    }

    resolved = resolved_names(HTTPRoute.model_validate(written), "team")

    assert resolved.route[0].destination.host == "a.team.svc.cluster.local"
    assert resolved.mirrors[0].destination.host == "b.team.svc.cluster.local"
    assert resolved.match[0].gateways == ("team/g", "mesh")


SERVICE = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"name": "http", "port": 80}]}}
ROOT: dict[str, object] = {"hosts": ["a"], "http": [{"match": [{"uri": {"prefix": "/d"}}], "delegate": {"name": "d", "namespace": "team"}}]}
DELEGATE: dict[str, object] = {"http": [{"route": [{"destination": {"host": "b"}}]}]}
HOST = "a.default.svc.cluster.local"


def given(mesh: Mesh, name: str, namespace: str, spec: Mapping[str, object] | None = None) -> None:
    """Put the VirtualService ``name`` with ``spec`` into ``mesh``; without one, a Service."""
    kind = SERVICE if spec is None else {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": spec}
    parsed = parse({**kind, "metadata": {"name": name, "namespace": namespace}})
    assert parsed.key is not None
    assert parsed.object is not None, parsed.problems
    mesh.apply(split([Change(parsed.key, parsed.object)])[0])


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh()
    for name, namespace in (("a", "default"), ("b", "team"), ("c", "default")):
        given(made, name, namespace)
    given(made, "root", "default", ROOT)
    given(made, "plain", "default", {"hosts": ["c"], "http": [{"route": [{"destination": {"host": "c"}}]}]})
    given(made, "d", "team", DELEGATE)
    return made


def rules(mesh: Mesh, labels: tuple[tuple[str, str], ...] = ()) -> tuple[HttpRule, ...]:
    key = virtual_services.virtual_service_for(mesh.database, HOST, "default", EVERYTHING)
    context = virtual_services.RouteContext(80, "default", labels)
    return (virtual_services.rules_of_virtual_service(mesh.database, key, context) if key else None) or ()


def said(mesh: Mesh) -> list[tuple[str, str, str]]:
    """Return the names, fields and codes of what is wrong, all warnings."""
    problems = mesh.problems()
    assert {problem.severity for problem in problems} <= {Severity.WARNING}
    return [(problem.object.name, problem.field, problem.code) for problem in problems if problem.object]


def test_a_delegates_routes_are_its_roots(mesh: Mesh) -> None:
    [rule] = rules(mesh)

    assert isinstance(rule.action, Forward)
    assert [weighted.backend.cluster for weighted in rule.action.backends] == ["outbound|80||b.team.svc.cluster.local"]
    assert rule.origin.endswith("/namespaces/default/virtual-service/root")
    assert virtual_services.destinations(mesh.database, VIRTUAL_SERVICE.key("default", "root")) == ("b.team.svc.cluster.local",)
    assert said(mesh) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({**DELEGATE, "exportTo": ["."]}, [("root", "spec.http[0].delegate", "UnknownDelegate"), ("d", "spec.exportTo", "NotExported")]),
        ({**DELEGATE, "hosts": ["b"]}, [("root", "spec.http[0].delegate", "UnknownDelegate")]),
        (
            {"http": [{"match": [{"uri": {"prefix": "/e"}}], "directResponse": {"status": 200}}]},
            [("root", "spec.http[0].delegate", "Conflict"), ("d", "spec.http[0].match[0]", "Conflict")],
        ),
    ],
)
def test_a_route_that_does_not_fit_is_left_out_and_named(mesh: Mesh, spec: Mapping[str, object], expected: object) -> None:
    given(mesh, "d", "team", spec)

    assert rules(mesh) == ()
    assert said(mesh) == expected


def test_a_delegate_of_nobody_is_named(mesh: Mesh) -> None:
    given(mesh, "root", "default", {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]})

    assert said(mesh) == [("d", "spec.hosts", "Unused")]


def test_what_a_delegate_asks_of_clients_counts(mesh: Mesh) -> None:
    asked = {"match": [{"sourceLabels": {"tier": "gold"}}], "directResponse": {"status": 200}}
    given(mesh, "d", "team", {"http": [asked, *DELEGATE["http"]]})  # type: ignore[misc]

    assert virtual_services.route_audience(mesh.database, HOST).label_keys == {"tier"}
    assert (len(rules(mesh, (("tier", "gold"),))), len(rules(mesh))) == (2, 1)


def test_a_delegate_makes_its_roots_anew_and_nothing_else(mesh: Mesh) -> None:
    mesh.connect(proxy_from_node("sidecar~127.0.0.1~c.default~default.svc.cluster.local", {}), Variant.DELTA)
    mesh.refresh()
    before = Counter(mesh.database.runs)

    given(mesh, "d", "team", {"http": [{"directResponse": {"status": 418}}]})
    published = mesh.refresh()

    ran = Counter(mesh.database.runs) - before
    assert ran[virtual_services.rules_of_virtual_service.name] == 1
    assert ran[delegates.routes_with_delegates.name] == 1
    assert {name for _, change in published.changes for names in change.updated.values() for name in names} == {f"80/{HOST}:80"}
