"""By which names services are known, and where each name leads."""

from __future__ import annotations

import pytest

from controlplane.untyped import items, section
from tests.support.sidecar_view import (
    CHAIN,
    HTTP_80,
    HTTP_81,
    NICK,
    REAL,
    TCP_90,
    clusters_by_domain,
    endpoints,
    entry,
    names,
    problems,
    route,
    world,
)


def test_another_name_of_a_service_leads_where_the_service_does() -> None:
    seen = world(REAL + NICK + CHAIN)

    domains = clusters_by_domain(seen, "80")
    for name in ("nick", "nick.default", "nick.default.svc", "nick.default.svc.cluster.local", "far", "real.shop", "10.40.0.9"):
        assert domains[name] == "outbound|80||real.shop.svc.cluster.local"
    assert names(seen, "clusters") == {
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "outbound|80||real.shop.svc.cluster.local",
        "outbound|90||real.shop.svc.cluster.local",
    }
    assert not any("4242" in name for name in names(seen, "listeners"))
    assert "nick" not in clusters_by_domain(world(REAL + NICK + CHAIN, "elsewhere"), "80")
    assert not problems(seen)


def test_a_destination_that_is_another_name_is_the_service_and_its_rules_are_those_of_the_service() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: nick}
spec: {host: nick, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}}}}
---
"""
    seen = world(REAL + NICK + route("front", "[front.example]", "{host: nick, port: {number: 80}}") + rule)

    assert clusters_by_domain(seen, "80")["front.example"] == "outbound|80||real.shop.svc.cluster.local"
    assert problems(seen) == [("DestinationRule/default/nick", "spec.host", "Ineffective")]


def test_routes_for_the_other_name_are_for_that_name_alone() -> None:
    seen = world(REAL + NICK + route("nick", "[nick]", "{host: nick, port: {number: 90}}"))

    domains = clusters_by_domain(seen, "80")
    assert domains["nick"] == domains["nick.default.svc.cluster.local"] == "outbound|90||real.shop.svc.cluster.local"
    assert domains["real.shop"] == "outbound|80||real.shop.svc.cluster.local"


@pytest.mark.parametrize("ports", ["[{name: http, port: 80}]", "[]"])
def test_names_that_lead_round_in_a_circle_are_nowhere_and_told(ports: str) -> None:
    circle = "".join(
        f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: ExternalName, externalName: {other}.default.svc.cluster.local, ports: {ports}}}
---
"""
        for name, other in (("a", "b"), ("b", "a"), ("self", "self"))
    )

    seen = world(REAL + circle)

    assert not any(name in clusters_by_domain(seen, "80") for name in ("a", "b", "self"))
    assert not any("default.svc" in name for name in names(seen, "clusters"))
    assert problems(seen) == [(f"Service/default/{name}", "spec.externalName", "Circle") for name in ("a", "b", "self")]


def test_another_name_for_something_outside_asks_dns_where_it_has_ports_and_claims_nothing_where_it_has_none() -> None:
    outside = """
apiVersion: v1
kind: Service
metadata: {name: out, namespace: default}
spec: {type: ExternalName, externalName: api.bank.example%s}
---
"""
    with_ports = world(REAL + outside % ", ports: [{name: http, port: 80}]")
    without = world(REAL + outside % "")

    assert clusters_by_domain(with_ports, "80")["out"] == "outbound|80||out.default.svc.cluster.local"
    assert endpoints(with_ports, "outbound|80||out.default.svc.cluster.local") == ["api.bank.example:80"]
    assert "out" not in clusters_by_domain(without, "80")
    assert not any("out.default" in name for name in names(without, "clusters"))
    entry_beside = world(REAL + outside % "" + entry("bank", "api.bank.example", HTTP_80))
    assert clusters_by_domain(entry_beside, "80")["out"] == "outbound|80||api.bank.example"


def test_another_name_for_something_outside_claims_no_connections_but_those_that_a_route_names() -> None:
    outside = """
apiVersion: v1
kind: Service
metadata: {name: out, namespace: default}
spec: {type: ExternalName, externalName: db.bank.example, ports: [{name: http, port: 80}, {name: tcp-db, port: 7000}]}
---
"""
    routed = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: out, namespace: default}
spec: {hosts: [out], tcp: [{match: [{destinationSubnets: [10.7.0.0/24]}], route: [{destination: {host: out, port: {number: 7000}}}]}]}
"""
    alone, ruled = world(outside), world(outside + routed)
    [listener] = [each for each in ruled.resources["listeners"] if each["name"] == "0.0.0.0_7000"]

    assert names(alone, "listeners") == {"0.0.0.0_80", "virtualInbound", "virtualOutbound"}
    assert problems(alone) == [("Service/default/out", "spec.ports[1]", "Ineffective")]
    assert [section(each, "filterChainMatch") for each in items(listener, "filterChains")] == [
        {"prefixRanges": [{"addressPrefix": "10.7.0.0", "prefixLen": 24}]}
    ]
    rest = items(section(listener, "defaultFilterChain"), "filters")
    assert [section(each, "typedConfig")["cluster"] for each in rest] == ["PassthroughCluster"]
    assert not problems(ruled)
    assert problems(world(outside + routed.replace("match: [{destinationSubnets: [10.7.0.0/24]}], ", ""))) == problems(alone)


def test_hosts_mean_the_same_in_any_case() -> None:
    seen = world(
        entry("bank", "Api.Bank.example", HTTP_80)
        + route(
            "one",
            "[api.BANK.example]",
            "{host: REAL.shop.svc.cluster.local, port: {number: 80}}",
            creationTimestamp='"2026-01-01T00:00:00Z"',
        )
        + route("two", "[API.bank.example]", "{host: api.bank.example}", creationTimestamp='"2026-02-01T00:00:00Z"')
        + REAL
    )

    assert clusters_by_domain(seen, "80")["api.bank.example"] == "outbound|80||real.shop.svc.cluster.local"
    assert ("VirtualService/default/two", "spec.hosts[0]", "Conflict") in problems(seen)


def test_entries_of_one_host_add_up_and_of_one_port_the_oldest_counts() -> None:
    first = entry("first", "api.bank.example", HTTP_80, creationTimestamp='"2026-01-01T00:00:00Z"')
    later = entry("later", "api.bank.example", f"{HTTP_81}, {TCP_90}", creationTimestamp='"2026-02-01T00:00:00Z"')
    last = entry(
        "last",
        "api.bank.example",
        f"{HTTP_80}, {{number: 82, name: http-c, protocol: HTTP}}",
        "resolution: STATIC, endpoints: [{address: 10.1.1.1}]",
        creationTimestamp='"2026-03-01T00:00:00Z"',
    )

    seen = world(later + last + first)

    assert {name for name in names(seen, "clusters") if "bank" in name} == {
        f"outbound|{port}||api.bank.example" for port in (80, 81, 82, 90)
    }
    assert endpoints(seen, "outbound|80||api.bank.example") == ["api.bank.example:80"]
    assert endpoints(seen, "outbound|82||api.bank.example") == ["10.1.1.1:82"]
    for port in ("80", "81", "82"):
        assert clusters_by_domain(seen, port)["api.bank.example"] == f"outbound|{port}||api.bank.example"
    assert problems(seen) == [
        ("ServiceEntry/default/first", "", "Conflict"),
        ("ServiceEntry/default/last", "spec.ports[0]", "Conflict"),
    ]


def test_an_entry_adds_a_port_to_a_service_and_takes_none_away() -> None:
    seen = world(
        REAL + entry("more", "real.shop.svc.cluster.local", f"{HTTP_80}, {HTTP_81}", creationTimestamp='"2020-01-01T00:00:00Z"'), "shop"
    )

    assert clusters_by_domain(seen, "81")["real.shop.svc.cluster.local"] == "outbound|81||real.shop.svc.cluster.local"
    assert endpoints(seen, "outbound|80||real.shop.svc.cluster.local") == []
    assert endpoints(seen, "outbound|81||real.shop.svc.cluster.local") == ["real.shop.svc.cluster.local:81"]


def test_an_authorizer_may_be_another_name_and_have_its_port_from_a_later_object() -> None:
    asked = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: asked, envoyExtAuthzHttp: {service: Nick.default.svc.cluster.local, port: 80}}
    - {name: other, envoyExtAuthzHttp: {service: api.bank.example, port: 81}}
---
"""
    policies = "".join(
        f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: default}}
spec: {{action: CUSTOM, provider: {{name: {name}}}, rules: [{{}}]}}
---
"""
        for name in ("asked", "other")
    )
    entries = entry("first", "api.bank.example", HTTP_80) + entry("later", "api.bank.example", HTTP_81)

    seen = world(REAL + NICK + entries + asked + policies)

    assert {"authorizer|80||real.shop.svc.cluster.local", "authorizer|81||api.bank.example"} <= names(seen, "clusters")
