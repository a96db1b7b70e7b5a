"""Istio's own tables for its small pure functions, read from ``../shared/cases``; absent, the tests say so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf import json_format

from controlplane.model import cluster_names, hosts, protocols, trust_domains, virtual_host_domains
from controlplane.translate.rbac.text import matcher

TABLES = Path(__file__).parents[4] / "shared" / "cases" / "unit-tables"
Case = Mapping[str, object]
DIRECTIONS = {"TrafficDirectionOutbound": "outbound", "TrafficDirectionInbound": "inbound", "": ""}


def table(file: str, name: str) -> list[dict[str, object]]:
    path = TABLES / f"{file}.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not here: Istio's tables were not run")
    cases: list[dict[str, object]] = json.loads(path.read_text())[name]
    print(f"{name}: {len(cases)} cases")
    return cases


def text(case: Case, key: str) -> str:
    return str(case.get(key) or "")


def number(case: Case, key: str) -> int:
    value = case.get(key, 0)
    assert isinstance(value, int)
    return value


def mapping(case: Case, key: str) -> dict[str, object]:
    value = case.get(key) or {}
    assert isinstance(value, dict)
    return value


def strings(value: object) -> tuple[str, ...]:
    found = value.get("$pos", ()) if isinstance(value, dict) else value or ()
    assert isinstance(found, list | tuple)
    return tuple(str(each) for each in found)


def test_host_matching() -> None:
    for case in table("host-matching", "TestNameMatches"):
        assert hosts.hosts_overlap(text(case, "a"), text(case, "b")) == case["out"], case


def test_host_subsets() -> None:
    for case in table("host-matching", "TestNameSubsetOf"):
        assert hosts.is_covered_by(text(case, "a"), text(case, "b")) == case["out"], case


def test_intersections_of_hosts() -> None:
    for case in table("host-names", "TestNamesIntersection"):
        assert hosts.common_hosts(strings(case["a"]), strings(case["b"])) == strings(case["intersection"]), case


def test_hosts_for_a_namespace() -> None:
    for case in table("host-names", "TestNamesForNamespace"):
        assert hosts.hosts_for_namespace(strings(case["hosts"]), text(case, "namespace")) == strings(case["want"]), case


def test_short_names() -> None:
    for case in table("sidecar-host-select", "TestResolveShortnameToFQDN"):
        meta = mapping(case, "meta")
        assert hosts.resolve_short_name(text(case, "name"), text(meta, "Namespace"), text(meta, "Domain")) == case["out"], case


def test_most_specific_hosts() -> None:
    for case in table("sidecar-host-select", "TestMostSpecificHostMatch"):
        assert (hosts.most_specific(strings(case["in"]), text(case, "needle")) or "") == case["want"], case


def test_protocols_of_ports() -> None:
    for case in table("protocol-from-port-name", "TestConvertProtocol"):
        app_protocol = text(case, "appProto") or None
        found = protocols.protocol_of(number(case, "port"), text(case, "portName"), app_protocol, text(case, "proto") or "TCP")
        assert found == case["expectedProto"], case


def test_cluster_names() -> None:
    for case in table("subset-key", "TestParseSubsetKey"):
        wanted = (DIRECTIONS[text(case, "direction")], case["port"], case["subsetName"], case["hostname"])
        assert cluster_names.parse_cluster_name(text(case, "input")) == wanted, case
    for case in table("subset-key", "TestIsValidSubsetKey"):
        assert cluster_names.is_cluster_name(text(case, "subsetkey")) is not case["expectErr"], case


def test_domains_of_virtual_hosts() -> None:
    for case in table("virtual-host-domains", "TestGenerateVirtualHostDomains"):
        service, node = mapping(case, "service"), mapping(case, "node")
        aliases = mapping(service, "Attributes").get("Aliases") or []
        assert isinstance(aliases, list)
        found = virtual_host_domains.virtual_host_domains(
            text(service, "Hostname"),
            dns_domain=text(node, "DNSDomain"),
            vips=_vips(service, node),
            aliases=[text(each, "Hostname") for each in aliases],
            wildcard=text(service, "Resolution") == "Passthrough",
        )
        assert found == strings(case["want"]), case


def _vips(service: Case, node: Case) -> list[str]:
    """Return the addresses of the families that the proxy has: where it does not say, IPv4."""
    cluster = text(mapping(node, "Metadata"), "ClusterID")
    addresses = strings(mapping(mapping(service, "ClusterVIPs"), "Addresses").get(cluster))
    own = strings(node.get("IPAddresses"))
    ipv6 = bool(own) and ":" in own[0]
    return [each for each in addresses if (":" in each) == ipv6]


def test_principals_under_each_name_of_the_mesh() -> None:
    for case in table("trust-domain-bundle", "TestReplaceTrustDomainAliases"):
        bundle = mapping(case, "trustDomainBundle")
        known = (text(bundle, "trustDomain"), *strings(bundle.get("aliases")))
        assert trust_domains.principals_with_aliases(strings(case["principals"]), known) == strings(case["expect"]), case


def test_forms_of_values() -> None:
    for case in table("authz-matchers", "TestStringMatcherWithPrefix"):
        wanted = mapping(mapping(case, "want"), "MatchPattern")
        prefix, value = text(case, "prefix"), text(case, "v")
        found = matcher(value if value.startswith("*") else prefix + value)
        assert json_format.MessageToDict(found) == {name.lower(): said for name, said in wanted.items()}, case


def test_identities_under_each_name_of_the_mesh() -> None:
    for case in table("spiffe", "TestExpandWithTrustDomains"):
        found = trust_domains.uris_with_aliases(strings(case["spiffeURI"]), strings(case["trustDomains"]))
        assert set(found) == set(mapping(case, "want")), case
