"""Regular expressions are measured by the strictest of the proxies that get them; without any, by what an Envoy takes by default."""

from __future__ import annotations

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import BadNode, proxy_from_node
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

Json = dict[str, object]
LONG = "/(aaaa|bbbb|cccc){1,30}"
FIELD = "spec.http[0].match[0].uri.regex"


def route(name: str = "web", **spec: object) -> Json:
    http = [{"match": [{"uri": {"regex": LONG}}], "directResponse": {"status": 200}}]
    metadata = {"name": name, "namespace": "shop"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {"hosts": ["web"], "http": http, **spec},
    }


def gateway() -> Json:
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    metadata = {"name": "front", "namespace": "shop"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": metadata,
        "spec": {"selector": {"app": "front"}, "servers": servers},
    }


class World:
    """A mesh of some objects, whose proxies come and go."""

    def __init__(self, *objects: Json) -> None:
        self.mesh = Mesh()
        self.mesh.apply([change(each) for each in objects])

    def connect(self, namespace: str, limit: object, kind: str = "sidecar") -> Session:
        metadata = {"LABELS": {"app": "front"}, **({} if limit is None else {"RE2_MAX_PROGRAM_SIZE": limit})}
        proxy = proxy_from_node(f"{kind}~10.0.0.1~p.{namespace}~{namespace}.svc.cluster.local", metadata)
        return self.mesh.connect(proxy, Variant.DELTA)

    def told(self) -> list[str]:
        found = [each for each in self.mesh.problems() if each.code == "LargeExpression"]
        assert {each.severity for each in found} <= {"warning"}
        return [each.field for each in found]


def test_without_proxies_the_default_counts() -> None:
    assert World(route()).told() == [FIELD]


def test_all_expressions_of_a_rule_are_measured() -> None:
    match = {"headers": {"x": {"regex": LONG}}, "withoutHeaders": {"y": {"regex": LONG}}, "queryParams": {"q": {"regex": LONG}}}
    rewrite = {"uriRegexRewrite": {"match": LONG, "rewrite": "/"}}
    to = [{"destination": {"host": "web"}}]
    http = [{"match": [match], "route": to, "corsPolicy": {"allowOrigins": [{"exact": "a"}, {"regex": LONG}]}, "rewrite": rewrite}]

    assert World(route(http=http)).told() == [
        "spec.http[0].corsPolicy.allowOrigins[1].regex",
        "spec.http[0].match[0].headers.x.regex",
        "spec.http[0].match[0].queryParams.q.regex",
        "spec.http[0].match[0].withoutHeaders.y.regex",
        "spec.http[0].rewrite.uriRegexRewrite.match",
    ]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [([32768], []), ([32768.0], []), (["32768"], []), ([None], [FIELD]), ([32768, 100], [FIELD]), ([32768, None], [FIELD])],
)
def test_the_strictest_of_those_that_get_it_counts(limits: list[object], expected: list[str]) -> None:
    world = World(route())
    for limit in limits:
        world.connect("shop", limit)

    assert world.told() == expected


def test_who_does_not_get_it_does_not_count() -> None:
    private, bound = World(route(exportTo=["."])), World(route(gateways=["front"], hosts=["web.example"]), gateway())
    for world, kind in ((private, "sidecar"), (bound, "router")):
        world.connect("shop", 32768, kind)
    private.connect("other", 100)
    bound.connect("shop", 100)

    assert (private.told(), bound.told()) == ([], [])


def test_who_has_gone_does_not_count() -> None:
    world = World(route())
    world.connect("shop", 32768)
    session = world.connect("shop", 100)
    assert world.told() == [FIELD]

    world.mesh.disconnect(session)

    assert world.told() == []


def test_values_of_policies_that_become_expressions_are_measured_too() -> None:
    path = "/{*}/" + "long/" * 30
    rules = [{"to": [{"operation": {"paths": ["/short/{*}"]}}]}, {"to": [{"operation": {"paths": [path]}}]}]
    metadata = {"name": "p", "namespace": "shop"}
    policy: Json = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": {"rules": rules}}
    world = World(policy)
    before = world.told()

    world.connect("shop", 32768)

    assert (before, world.told()) == (["spec.rules[1]"], [])


@pytest.mark.parametrize("limit", ["many", -1, 1.5, True, "1" * 11])
def test_a_limit_that_is_none_is_told(limit: object) -> None:
    with pytest.raises(BadNode, match="RE2_MAX_PROGRAM_SIZE: expected a whole number"):
        World().connect("shop", limit)
