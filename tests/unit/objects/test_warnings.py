"""What an object may say though it comes to nothing: it is kept, and its user is told."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
ROUTE: Json = {"route": [{"destination": {"host": "b"}}]}
CREDENTIAL: Json = {"mode": "SIMPLE", "credentialName": "a"}
CERTIFICATE: Json = {"serverCertificate": "/a", "privateKey": "/b", "caCertificates": "/c"}
TCP: Json = {"number": 81, "name": "tcp", "protocol": "TCP"}


def policy(**settings: object) -> Json:
    return {"host": "a", "trafficPolicy": settings}


@pytest.mark.parametrize(
    ("kind", "spec", "field", "code"),
    [
        ("VirtualService", {"hosts": ["a"], "http": [ROUTE, ROUTE]}, "http[1]", "Unreachable"),
        ("Gateway", {"servers": [{"port": {**TCP, "targetPort": 1}, "hosts": ["*"]}]}, "servers[0].port.targetPort", "NoEffect"),
        (
            "VirtualService",
            {"hosts": ["a"], "http": [{"redirect": {"uri": "/", "redirectCode": 304}}]},
            "http[0].redirect.redirectCode",
            "NotTranslated",
        ),
        (
            "DestinationRule",
            policy(outlierDetection={"consecutiveErrors": 5}),
            "trafficPolicy.outlierDetection.consecutiveErrors",
            "Deprecated",
        ),
        (
            "DestinationRule",
            policy(connectionPool={"tcp": {"tcpKeepalive": {"time": "1500ms"}}}),
            "trafficPolicy.connectionPool.tcp.tcpKeepalive.time",
            "Rounded",
        ),
        ("DestinationRule", policy(loadBalancer={"consistentHash": {}}), "trafficPolicy.loadBalancer.consistentHash", "NoEffect"),
        (
            "DestinationRule",
            policy(loadBalancer={"consistentHash": {"useSourceIp": False}}),
            "trafficPolicy.loadBalancer.consistentHash",
            "NoEffect",
        ),
        (
            "DestinationRule",
            policy(loadBalancer={"consistentHash": {"useSourceIp": True, "minimumRingSize": 1024}}),
            "trafficPolicy.loadBalancer.consistentHash.minimumRingSize",
            "Deprecated",
        ),
        (
            "DestinationRule",
            policy(loadBalancer={"localityLbSetting": {"failoverPriority": ["x"]}}),
            "trafficPolicy.loadBalancer.localityLbSetting",
            "NoEffect",
        ),
        (
            "DestinationRule",
            policy(portLevelSettings=[{"port": {"number": 1}, "loadBalancer": {"simple": "RANDOM"}}] * 2),
            "trafficPolicy.portLevelSettings[1].port.number",
            "Conflict",
        ),
        ("ServiceEntry", {"hosts": ["*a.b"]}, "hosts[0]", "Ineffective"),
        ("ServiceEntry", {"hosts": ["a.b"], "ports": [TCP]}, "addresses", "Ambiguous"),
        ("ServiceEntry", {"hosts": ["a.b"], "ports": [{**TCP, "targetPort": 1}]}, "ports[0].targetPort", "NoEffect"),
        ("Sidecar", {"ingress": [{"port": {**TCP, "targetPort": 1}}]}, "ingress[0].port.targetPort", "NoEffect"),
        (
            "Sidecar",
            {"inboundConnectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}},
            "inboundConnectionPool.http.h2UpgradePolicy",
            "NoEffect",
        ),
        (
            "Gateway",
            {"servers": [{"port": {**TCP, "protocol": "HTTPS"}, "hosts": ["*"], "tls": {**CREDENTIAL, "serverCertificate": "/a"}}]},
            "servers[0].tls.serverCertificate",
            "NoEffect",
        ),
        ("WorkloadEntry", {"address": "10.0.0.1", "network": "n"}, "network", "NotTranslated"),
        (
            "WorkloadGroup",
            {"template": {}, "probe": {"tcpSocket": {"port": 1}, "initialDelaySeconds": 5}},
            "probe.initialDelaySeconds",
            "NoEffect",
        ),
        (
            "Gateway",
            {
                "servers": [
                    {"port": {**TCP, "protocol": "HTTPS"}, "hosts": ["*"], "tls": {"mode": "SIMPLE", "tlsCertificates": [CERTIFICATE]}}
                ]
            },
            "servers[0].tls.tlsCertificates[0].caCertificates",
            "NoEffect",
        ),
    ],
)
def test_what_comes_to_nothing_is_said_and_kept(kind: str, spec: Json, field: str, code: str) -> None:
    parsed = parse({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})

    assert parsed.object is not None
    assert (Severity.WARNING, f"spec.{field}", code) in [(each.severity, each.field, each.code) for each in parsed.problems]


@pytest.mark.parametrize(
    ("kind", "place", "name", "value", "harmless"),
    [
        ("Service", "labels", "istio.io/persistent-session", "a", ""),
        ("Service", "annotations", "traffic.istio.io/nodeSelector", "{}", ""),
        ("Service", "annotations", "alpha.istio.io/canonical-serviceaccounts", "spiffe://a/b", ""),
        ("Namespace", "annotations", "networking.istio.io/traffic-distribution", "PreferClose", "Any"),
        ("Pod", "labels", "topology.istio.io/network", "n", ""),
        ("Pod", "labels", "istio.io/use-waypoint", "w", "none"),
    ],
)
def test_metadata_that_means_something_to_istio_alone_is_told(kind: str, place: str, name: str, value: str, harmless: str) -> None:
    written, asking_for_nothing = (
        parse({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", place: {name: text}}}) for text in (value, harmless)
    )

    assert written.object is not None
    assert [(each.severity, each.field, each.code) for each in written.problems] == [
        (Severity.WARNING, f"metadata.{place}.{name}", "NotTranslated")
    ]
    assert asking_for_nothing.problems == ()


def test_what_a_service_says_of_which_endpoints_are_preferred_is_told() -> None:
    spec = {"internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}

    local, cluster = (
        parse({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": each})
        for each in (spec, {"internalTrafficPolicy": "Cluster"})
    )

    assert [each.field for each in local.problems] == ["spec.internalTrafficPolicy", "spec.trafficDistribution"]
    assert cluster.problems == ()


def test_a_timeout_that_would_keep_other_issuers_waiting_is_limited() -> None:
    rule = {"issuer": "https://a.example", "timeout": "5m"}

    parsed = parse(
        {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": {"name": "x"}, "spec": {"jwtRules": [rule]}}
    )

    assert parsed.object is not None
    assert [(each.field, each.code) for each in parsed.problems] == [("spec.jwtRules[0].timeout", "Limited")]
