"""What an object may say though it comes to nothing: it is kept, and its user is told."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
ROUTE: Json = {"route": [{"destination": {"host": "b"}}]}
TCP: Json = {"number": 81, "name": "tcp", "protocol": "TCP"}


def policy(**settings: object) -> Json:
    return {"host": "a", "trafficPolicy": settings}


@pytest.mark.parametrize(
    ("kind", "spec", "field", "code"),
    [
        ("VirtualService", {"hosts": ["a"], "http": [ROUTE, ROUTE]}, "http[1]", "Unreachable"),
        ("Gateway", {"servers": [{"port": {**TCP, "targetPort": 1}, "hosts": ["*"]}]}, "servers[0].port.targetPort", "NoEffect"),
        (
            "Gateway",
            {"servers": [{"port": {**TCP, "protocol": "TLS"}, "hosts": ["*"], "tls": {"mode": "AUTO_PASSTHROUGH"}}]},
            "servers[0].tls.mode",
            "NotTranslated",
        ),
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
    ],
)
def test_what_comes_to_nothing_is_said_and_kept(kind: str, spec: Json, field: str, code: str) -> None:
    parsed = parse({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})

    assert parsed.object is not None
    assert (Severity.WARNING, f"spec.{field}", code) in [(each.severity, each.field, each.code) for each in parsed.problems]
