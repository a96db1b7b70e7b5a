"""What DestinationRules, ServiceEntries and WorkloadEntries must keep to, rule by rule: the fields that errors name."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
PORT: Json = {"number": 80, "name": "http", "protocol": "HTTP"}
TCP: Json = {"number": 81, "name": "tcp", "protocol": "TCP"}


def errors(kind: str, spec: Json) -> list[str]:
    data = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "ns"}, "spec": spec}
    return [each.field.removeprefix("spec.") for each in parse(data).problems if each.severity is Severity.ERROR]


def rule(**spec: object) -> list[str]:
    return errors("DestinationRule", {"host": "a", **spec})


def policy(**settings: object) -> list[str]:
    return [each.removeprefix("trafficPolicy.") for each in rule(trafficPolicy=settings)]


def balancer(**settings: object) -> list[str]:
    return [each.removeprefix("loadBalancer.") for each in policy(loadBalancer=settings)]


def entry(**spec: object) -> list[str]:
    return errors("ServiceEntry", {"hosts": ["a.b"], "ports": [PORT], **spec})


def sidecar(**spec: object) -> list[str]:
    return errors("Sidecar", spec)


def test_hosts_and_subsets_of_rules() -> None:
    assert rule() == []
    assert rule(host="") == ["host"]
    assert rule(host="*.a.b") == []
    assert rule(host="a_b") == ["host"]
    assert rule(subsets=[{"name": "v1"}, {"name": "V-2"}]) == []
    assert rule(subsets=[{"name": ""}, {"name": "v.1"}, {"name": "a|b"}]) == ["subsets[0].name", "subsets[1].name", "subsets[2].name"]
    assert rule(subsets=[{"name": "a"}, {"name": "a"}]) == ["subsets[1].name"]
    assert rule(subsets=[{"name": "a", "labels": {"-x": "y"}}]) == ["subsets[0].labels.-x"]
    assert rule(subsets=[{"name": "a", "trafficPolicy": {}}]) == ["subsets[0].trafficPolicy"]


def test_a_rule_for_workloads_stays_in_its_namespace() -> None:
    chosen = {"matchLabels": {"app": "a"}}

    assert rule(workloadSelector=chosen, exportTo=["."]) == []
    assert rule(workloadSelector=chosen, exportTo=["ns"]) == []
    assert rule(workloadSelector=chosen, exportTo=["*"]) == ["exportTo"]
    assert rule(workloadSelector={"matchLabels": {"app": "a*"}}) == ["workloadSelector.matchLabels.app"]
    assert rule(exportTo=["~"]) == ["exportTo[0]"]


def test_policies_of_ports() -> None:
    assert policy() == ["trafficPolicy"]
    assert policy(portLevelSettings=[{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}]) == []
    assert policy(portLevelSettings=[{"port": {"number": 80}}]) == ["portLevelSettings[0]"]
    assert policy(portLevelSettings=[{"port": {"number": 80}, "connectionPool": {}}]) == ["portLevelSettings[0].connectionPool"]
    assert policy(portLevelSettings=[{"loadBalancer": {"simple": "RANDOM"}}]) == ["portLevelSettings[0].port"]
    assert policy(portLevelSettings=[{"port": {"number": 0}, "tls": {}}]) == ["portLevelSettings[0].port.number"]


@pytest.mark.parametrize(
    ("pool", "field"),
    [
        ({}, ""),
        ({"tcp": {"maxConnections": -1}}, ".tcp.maxConnections"),
        ({"tcp": {"connectTimeout": "0s"}}, ".tcp.connectTimeout"),
        ({"tcp": {"maxConnectionDuration": "1us"}}, ".tcp.maxConnectionDuration"),
        ({"tcp": {"tcpKeepalive": {"time": "32768s"}}}, ".tcp.tcpKeepalive.time"),
        ({"tcp": {"tcpKeepalive": {"probes": 128}}}, ".tcp.tcpKeepalive.probes"),
        ({"http": {"maxRetries": -1}}, ".http.maxRetries"),
        ({"http": {"maxRetries": 2**31}}, ".http.maxRetries"),
        ({"http": {"idleTimeout": "0s"}}, ".http.idleTimeout"),
        ({"http": {"maxConcurrentStreams": -1}}, ".http.maxConcurrentStreams"),
        ({"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": True}}, ".http.useClientProtocol"),
        ({"http": {"h2UpgradePolicy": "ALWAYS"}}, ".http.h2UpgradePolicy"),
        ({"http": {"http2KeepAlive": {"timeout": "1s"}}}, ".http.http2KeepAlive.interval"),
    ],
)
def test_connection_pools(pool: Json, field: str) -> None:
    assert policy(connectionPool={"tcp": {"idleTimeout": "0s"}}) == []
    assert policy(connectionPool=pool) == [f"connectionPool{field}"]
    assert sidecar(inboundConnectionPool=pool) == [f"inboundConnectionPool{field}"]


@pytest.mark.parametrize(
    ("outliers", "field"),
    [
        ({"maxEjectionPercent": 101}, "maxEjectionPercent"),
        ({"minHealthPercent": -1}, "minHealthPercent"),
        ({"interval": "0s"}, "interval"),
        ({"consecutive5xxErrors": -1}, "consecutive5xxErrors"),
        ({"consecutiveLocalOriginFailures": 1}, "consecutiveLocalOriginFailures"),
        ({"outlierDetectionHttpErrorCodes": [99]}, "outlierDetectionHttpErrorCodes[0]"),
    ],
)
def test_outlier_detection(outliers: Json, field: str) -> None:
    assert policy(outlierDetection=outliers) == [f"outlierDetection.{field}"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"simple": "RANDOM", "consistentHash": {"useSourceIp": True}}, "loadBalancer"),
        ({"simple": "FASTEST"}, "simple"),
        ({"consistentHash": {"useSourceIp": True, "httpHeaderName": "x"}}, "consistentHash"),
        ({"consistentHash": {"httpHeaderName": ""}}, "consistentHash.httpHeaderName"),
        ({"consistentHash": {"httpCookie": {"name": ""}}}, "consistentHash.httpCookie.name"),
        ({"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 65536}}}, "consistentHash.maglev.tableSize"),
        ({"consistentHash": {"useSourceIp": True, "maglev": {}, "ringHash": {}}}, "consistentHash"),
        ({"consistentHash": {"useSourceIp": True, "ringHash": {"minimumRingSize": 8388609}}}, "consistentHash.ringHash.minimumRingSize"),
        ({"consistentHash": {"useSourceIp": True, "minimumRingSize": 8388609}}, "consistentHash.minimumRingSize"),
        ({"consistentHash": {"httpQueryParameterName": ""}}, "consistentHash.httpQueryParameterName"),
        ({"zoneAwareLbSetting": {"failover": [{"from": "a", "to": "a"}]}}, "zoneAwareLbSetting.failover[0]"),
        ({"warmup": {"duration": "0s"}}, "warmup.duration"),
        ({"warmup": {"duration": "1s", "minimumPercent": 101}}, "warmup.minimumPercent"),
        ({"localityLbSetting": {}, "zoneAwareLbSetting": {}}, "loadBalancer"),
    ],
)
def test_load_balancers(settings: Json, field: str) -> None:
    assert balancer(consistentHash={"useSourceIp": True, "maglev": {"tableSize": 65537}}) == []
    assert balancer(**settings) == [field]


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ({"distribute": [{"from": "a/b", "to": {"a/b": 60, "a/c": 40}}]}, None),
        ({"distribute": [{"from": "a", "to": {"a": 60, "b": 30}}]}, "distribute[0].to"),
        ({"distribute": [{"from": "a", "to": {"a": 0, "b": 100}}]}, "distribute[0].to.a"),
        ({"distribute": [{"from": "a", "to": {"a/*": 50, "a/b": 50}}]}, "distribute[0].to"),
        ({"distribute": [{"from": "a//c", "to": {"a": 100}}]}, "distribute"),
        ({"distribute": [{"from": "*/b", "to": {"a": 100}}]}, "distribute"),
        ({"distribute": [{"from": "*", "to": {"a": 100}}, {"from": "b", "to": {"a": 100}}]}, "distribute"),
        ({"distribute": [{"from": "a", "to": {"a": 100}}], "failover": [{"from": "a", "to": "b"}]}, ""),
        ({"failover": [{"from": "a", "to": "b"}], "failoverPriority": ["x"]}, None),
        ({"failover": [{"from": "a", "to": "a"}]}, "failover[0]"),
        ({"failover": [{"from": "a/b", "to": "c"}]}, "failover[0].from"),
        ({"failover": [{"from": "a", "to": "*"}]}, "failover[0].to"),
    ],
)
def test_localities(setting: Json, field: str | None) -> None:
    wanted = [] if field is None else [f"localityLbSetting.{field}".removesuffix(".")]

    assert balancer(localityLbSetting=setting) == wanted


@pytest.mark.parametrize(
    ("tls", "field"),
    [
        ({"mode": "MUTUAL", "privateKey": "k"}, "tls.clientCertificate"),
        ({"mode": "MUTUAL", "clientCertificate": "c"}, "tls.privateKey"),
        ({"mode": "SIMPLE", "credentialName": "x", "caCertificates": "c"}, "tls"),
        ({"mode": "MUTUAL", "credentialName": "x", "privateKey": "k"}, "tls"),
        ({"mode": "SIMPLE", "insecureSkipVerify": True, "subjectAltNames": ["a"]}, "tls.subjectAltNames"),
        ({"mode": "ISTIO_MUTUAL", "privateKey": "k"}, "tls"),
        ({"mode": "NONE"}, "tls.mode"),
    ],
)
def test_tls_to_a_service(tls: Json, field: str) -> None:
    assert policy(tls=tls) == [field]


def test_tunnels_and_budgets() -> None:
    good = {"protocol": "POST", "targetHost": "a.b", "targetPort": 1}

    assert policy(tunnel=good) == []
    assert policy(tunnel={**good, "protocol": "GET"}) == ["tunnel.protocol"]
    assert policy(tunnel={**good, "targetHost": "*.b"}) == ["tunnel.targetHost"]
    assert policy(tunnel={**good, "targetPort": 0}) == ["tunnel.targetPort"]
    assert policy(retryBudget={"percent": 101}) == ["retryBudget.percent"]
    assert policy(proxyProtocol={"version": "V3"}) == ["proxyProtocol.version"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": ["*"]}, "hosts[0]"),
        ({"hosts": ["1.2.3.4"]}, "hosts[0]"),
        ({"addresses": ["1.2.3.400"]}, "addresses[0]"),
        ({"addresses": ["10.0.0.0/255.0.0.0"]}, "addresses[0]"),
        ({"addresses": ["fe80::1%eth0"]}, "addresses[0]"),
        ({"addresses": ["10.0.0.0/8"], "resolution": "DNS"}, "addresses[0]"),
        ({"ports": [{**PORT, "number": 0}]}, "ports[0].number"),
        ({"ports": [{**PORT, "targetPort": 0}]}, "ports[0].targetPort"),
        ({"ports": [{**PORT, "protocol": "SPDY"}]}, "ports[0].protocol"),
        ({"ports": [{**PORT, "name": "a_b"}]}, "ports[0].name"),
        ({"ports": [PORT, {**TCP, "number": 80}]}, "ports[1].number"),
        ({"ports": [PORT, {**TCP, "name": "http"}]}, "ports[1].name"),
        ({"location": "MESH_ELSEWHERE"}, "location"),
        ({"endpoints": [{"address": "1.1.1.1"}]}, "endpoints"),
        ({"endpoints": [{"address": "a.b"}], "resolution": "STATIC"}, "endpoints[0].address"),
        ({"endpoints": [{"address": "1.1.1.1", "ports": {"x": 1}}], "resolution": "STATIC"}, "endpoints[0].ports"),
        ({"endpoints": [{"address": "unix:///a"}], "ports": [PORT, TCP], "resolution": "STATIC"}, "ports"),
        ({"endpoints": [{"address": "unix:///a"}], "resolution": "DNS"}, "endpoints[0].address"),
        ({"endpoints": [{"address": f"unix:///{'a' * 107}"}], "resolution": "STATIC"}, "endpoints[0].address"),
        ({"endpoints": [{"address": "1.1.1.1"}, {"address": "1.1.1.2"}], "resolution": "DNS_ROUND_ROBIN"}, "endpoints"),
        ({"hosts": ["*.a.b"], "resolution": "DNS"}, "hosts[0]"),
        ({"hosts": ["a.b", "c.d"], "ports": [TCP], "resolution": "DNS"}, "hosts"),
        ({"hosts": ["a.b", "a.c"], "ports": [TCP], "resolution": "STATIC"}, "hosts"),
        ({"resolution": "DYNAMIC_DNS"}, "hosts[0]"),
        ({"resolution": "DYNAMIC_DNS", "addresses": ["1.1.1.1"]}, "addresses"),
        ({"workloadSelector": {"labels": {"a": "b"}}, "endpoints": [{"address": "1.1.1.1"}], "resolution": "STATIC"}, "endpoints"),
        ({"workloadSelector": {"labels": {"a": "*"}}}, "workloadSelector.labels.a"),
        ({"workloadSelector": {"labels": {"": "a"}}}, "workloadSelector.labels"),
        ({"exportTo": ["~", "ns"]}, "exportTo"),
    ],
)
def test_service_entries(spec: Json, field: str) -> None:
    assert field in entry(**spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"hosts": ["a.b", "*.c"], "ports": [TCP]},
        {"hosts": ["a.b", "c.d"], "ports": [PORT, {**TCP, "protocol": "TLS"}], "resolution": "DNS"},
        {"endpoints": [{"address": "unix:///a"}], "resolution": "STATIC"},
        {"addresses": ["2001:db8::/32", "10.0.0.0/8"], "resolution": "STATIC"},
        {"exportTo": ["~"]},
    ],
)
def test_service_entries_that_are_right(spec: Json) -> None:
    assert entry(**spec) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "address"),
        ({"address": "a_b"}, "address"),
        ({"address": "1.1.1.1.1"}, "address"),
        ({"address": "unix://a"}, "address"),
        ({"address": "unix:///a/"}, "address"),
        ({"address": "unix://@a", "ports": {}}, "ports"),
        ({"address": "1.1.1.1", "ports": {"a" * 63: 1}}, "ports"),
        ({"address": "1.1.1.1", "ports": {"http": 0}}, "ports.http"),
        ({"address": "1.1.1.1", "labels": {"a": "b c"}}, "labels.a"),
    ],
)
def test_workload_entries(spec: Json, field: str) -> None:
    assert errors("WorkloadEntry", spec) == [field]
