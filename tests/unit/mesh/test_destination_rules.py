"""Which DestinationRules are for whom, and how far proxies share what is made of them."""

from __future__ import annotations

import pytest

from controlplane.envoy.type_urls import CDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.snapshot import snapshot
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import Change
from controlplane.objects.parse import parse
from controlplane.untyped import items, number, section
from controlplane.xds.stream import Variant
from tests.bench.recompute import change

Json = dict[str, object]
CLUSTER = "outbound|80||web.shop.svc.cluster.local"
NO_LIMIT = 2**32 - 1
WEB: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
}


def rule(limit: int, namespace: str = "shop", *, created: int = 1, chosen: Json | None = None, **spec: object) -> Json:
    """Return the rule that allows ``limit`` connections, and is called so; ``chosen``: to clients with these labels."""
    selected: Json = {"workloadSelector": {"matchLabels": chosen}, "exportTo": ["."]} if chosen is not None else {}
    policy = {"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": limit}}}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": f"rule-{limit}", "namespace": namespace, "creationTimestamp": f"2026-01-{created:02}T00:00:00Z"},
        "spec": {"host": "web.shop.svc.cluster.local", **policy, **selected, **spec},
    }


def client(namespace: str = "shop", suffix: int = 1, **labels: str) -> Proxy:
    node = f"sidecar~10.0.0.{suffix}~client-{suffix}.{namespace}~{namespace}.svc.cluster.local"
    return proxy_from_node(node, {"LABELS": labels})


def limit_for(proxy: Proxy, *rules: Json) -> int:
    """Return how many connections ``proxy`` may have to the service by ``rules``."""
    parsed = [parse(value) for value in (WEB, *rules)]
    changes = [Change(each.key, each.object) for each in parsed if each.key]
    [cluster] = [each for each in snapshot(changes, proxy).resources["clusters"] if each["name"] == CLUSTER]
    [thresholds] = items(section(cluster, "circuitBreakers"), "thresholds")
    assert isinstance(thresholds, dict)
    return number(thresholds, "maxConnections")


MINE: Json = {"app": "client"}


@pytest.mark.parametrize(
    ("proxy", "rules", "expected"),
    [
        (client(app="client"), [rule(1), rule(2, chosen=MINE)], 2),  # the one that selects, however young
        (client(app="client"), [rule(2, chosen=MINE, created=3), rule(3, chosen={"v": "1"}, created=2)], 2),
        (client(app="client", v="1"), [rule(2, chosen=MINE, created=3), rule(3, chosen={"v": "1"}, created=2)], 3),  # of two the older
        (client(app="other"), [rule(1), rule(2, chosen=MINE)], 1),
        (client(app="other"), [rule(2, chosen=MINE)], NO_LIMIT),
        (client("far", app="client"), [rule(2, chosen=MINE)], NO_LIMIT),  # it selects in its own namespace alone
        (client("far", app="client"), [rule(1), rule(2, "far", chosen=MINE)], 2),
        (client("far", app="other"), [rule(1), rule(2, "far", chosen=MINE)], 1),  # as if it were not there
        (client("far", app="client"), [rule(1, "far"), rule(2, chosen=MINE)], 1),
        (client(app="client"), [rule(2, chosen={}), rule(1)], 2),  # all workloads of its namespace
        (client("far", app="client"), [rule(2, chosen={}), rule(1)], 1),
        (
            client("far"),
            [rule(1, exportTo=["far"], created=2), rule(2, created=1)],
            2,
        ),  # not one with the other: who sees both gets the older
        (client("far"), [rule(1, exportTo=["far"], created=1), rule(2, created=2)], 1),
        (client("else"), [rule(1, exportTo=["far"], created=1), rule(2, created=2)], 2),
    ],
)
def test_a_client_goes_by_the_rule_that_is_for_it(proxy: Proxy, rules: list[Json], expected: int) -> None:
    assert limit_for(proxy, *rules) == expected


def test_proxies_that_no_selector_tells_apart_share_everything() -> None:
    mesh = Mesh()
    mesh.apply([change(WEB), change(rule(1)), change(rule(2, chosen={"app": "p3"}))])
    sessions = [mesh.connect(client(suffix=suffix, app=f"p{suffix}", pod=str(suffix)), Variant.DELTA) for suffix in range(1, 9)]

    mesh.refresh()

    tables = {session.proxy.name: session.roots[0] for session in sessions}
    assert len(set(tables.values())) == 2
    assert [name for name, table in tables.items() if list(tables.values()).count(table) == 1] == ["client-3"]


def test_a_rule_that_selects_others_from_now_on_changes_both() -> None:
    mesh = Mesh()
    mesh.apply([change(WEB), change(rule(2, chosen={"app": "one"}))])
    sessions = {name: mesh.connect(client(suffix=suffix, app=name), Variant.DELTA) for suffix, name in enumerate(("one", "two"), 1)}
    mesh.refresh()

    def limits() -> dict[str, bool]:
        found = {name: next(each for each in session.view.resources(CDS) if each.name == CLUSTER) for name, session in sessions.items()}
        return {name: b"rule-2" in resource.value for name, resource in found.items()}

    before = limits()
    mesh.apply([change(rule(2, chosen={"app": "two"}))])
    mesh.refresh()

    assert (before, limits()) == ({"one": True, "two": False}, {"one": False, "two": True})
