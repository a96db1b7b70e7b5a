"""Which hosts stand in the tables of a sidecar, and what its egress hosts import."""

from __future__ import annotations

import pytest

from tests.support.sidecar_view import HTTP_80, HTTP_81, NICK, REAL, clusters_by_domain, entry, names, route, world


def test_hosts_that_only_a_virtual_service_knows_are_in_every_table_and_wildcards_too() -> None:
    seen = world(
        REAL
        + entry("bank", "api.bank.example", HTTP_81)
        + route("all", '["*.bank.example", only.example]', "{host: real.shop.svc.cluster.local, port: {number: 80}}")
    )

    for table, hosts in (("80", ("*.bank.example", "only.example")), ("81", ("*.bank.example", "only.example", "api.bank.example"))):
        domains = clusters_by_domain(seen, table)
        assert {domains[host] for host in hosts} == {"outbound|80||real.shop.svc.cluster.local"}


def test_routes_for_a_service_without_that_port_are_on_the_port_of_http_as_well() -> None:
    seen = world(
        REAL
        + entry("bank", "api.bank.example", "{number: 443, name: tls, protocol: TLS}")
        + entry("other", "other.example", HTTP_81)
        + route("bank", "[api.bank.example]", "{host: real.shop.svc.cluster.local, port: {number: 80}}")
    )

    assert clusters_by_domain(seen, "80")["api.bank.example"] == "outbound|80||real.shop.svc.cluster.local"
    assert "api.bank.example" not in clusters_by_domain(seen, "81")


def sidecar(*hosts: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: default}}
spec: {{egress: [{{hosts: [{", ".join(f'"{host}"' for host in hosts)}]}}]}}
---
"""


def test_a_virtual_service_of_a_namespace_outside_the_egress_does_not_apply() -> None:
    routed = route("real", "[real.shop.svc.cluster.local]", "{host: real.shop.svc.cluster.local, port: {number: 90}}", namespace="other")

    outside = world(REAL + routed + sidecar("shop/*"))
    inside = world(REAL + routed + sidecar("shop/*", "other/*"))

    assert clusters_by_domain(outside, "80")["real.shop"] == "outbound|80||real.shop.svc.cluster.local"
    assert clusters_by_domain(inside, "80")["real.shop"] == "outbound|90||real.shop.svc.cluster.local"


OWN = REAL.replace("name: real, namespace: shop", "name: own, namespace: default").replace("10.40.0.9", "10.40.0.8")


@pytest.mark.parametrize(
    ("hosts", "seen_hosts"),
    [
        (["*/*"], {"own.default", "real.shop", "a.wild"}),
        (["./*"], {"own.default"}),
        (["shop/*"], {"real.shop"}),
        (["*/real.shop.svc.cluster.local"], {"real.shop"}),
        (["*/*.wild"], {"a.wild"}),
        (["*/A.wild", "./*"], {"a.wild", "own.default"}),
        (["~/*"], set()),
        (["~/*", "./*"], {"own.default"}),
        (["*/*", "~/real.shop.svc.cluster.local"], {"own.default", "a.wild"}),
        (["*/*", "~/*.svc.cluster.local"], {"a.wild"}),
    ],
)
def test_the_hosts_of_an_egress_listener_import_what_they_name(hosts: list[str], seen_hosts: set[str]) -> None:
    seen = world(REAL + OWN + entry("wild", "a.wild", HTTP_80, namespace="other") + sidecar(*hosts))

    found = {
        name.rpartition("|")[2].removesuffix(".svc.cluster.local") for name in names(seen, "clusters") if name.startswith("outbound|80")
    }
    assert found == seen_hosts
    assert found == {
        host.removesuffix(".svc.cluster.local") for host in clusters_by_domain(seen, "80") if host.endswith(("local", ".wild"))
    }


def test_a_wildcard_virtual_service_is_imported_by_a_host_below_it_and_brings_its_destinations() -> None:
    seen = world(REAL + route("wild", '["*.wild"]', "{host: real.shop.svc.cluster.local, port: {number: 80}}") + sidecar("./a.wild"))

    assert clusters_by_domain(seen, "80")["*.wild"] == "outbound|80||real.shop.svc.cluster.local"


def test_importing_another_name_imports_the_service() -> None:
    seen = world(REAL + NICK + sidecar("./*"))

    assert clusters_by_domain(seen, "80")["nick"] == "outbound|80||real.shop.svc.cluster.local"
    assert "outbound|80||real.shop.svc.cluster.local" in names(seen, "clusters")
