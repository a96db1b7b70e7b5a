"""What a Sidecar must keep to, rule by rule: the fields that errors name."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
PORT: Json = {"number": 80, "name": "http", "protocol": "HTTP"}
TCP: Json = {"number": 81, "name": "tcp", "protocol": "TCP"}


def sidecar(**spec: object) -> list[str]:
    metadata = {"name": "x", "namespace": "ns"}
    data = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": metadata, "spec": spec}
    return [each.field.removeprefix("spec.") for each in parse(data).problems if each.severity is Severity.ERROR]


def egress(**listener: object) -> list[str]:
    return [each.removeprefix("egress[0].") for each in sidecar(egress=[{"hosts": ["*/*"], **listener}])]


def ingress(**listener: object) -> list[str]:
    return [each.removeprefix("ingress[0].") for each in sidecar(ingress=[{"port": PORT, **listener}])]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "[::]:80", "unix:///a", "unix://@a", ""])
def test_default_endpoints(endpoint: str) -> None:
    assert ingress(defaultEndpoint=endpoint) == []


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.2:80", "::1:80", "localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "unix:///", ":80", "127.0.0.1:٣"]
)
def test_default_endpoints_that_are_none(endpoint: str) -> None:
    assert ingress(defaultEndpoint=endpoint) == ["defaultEndpoint"]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:15000", "0.0.0.0:15000", "[::1]:15090"])
def test_t44_a_default_endpoint_is_no_port_of_the_proxy_itself(endpoint: str) -> None:
    assert ingress(defaultEndpoint=endpoint) == ["defaultEndpoint"]


def test_listeners_for_connections_to_the_workload() -> None:
    tls = {"mode": "SIMPLE", "serverCertificate": "c", "privateKey": "k"}
    https = {**PORT, "protocol": "HTTPS"}

    assert sidecar() == ["spec"]
    assert sidecar(ingress=[{"port": PORT}, {"port": {**TCP, "number": 80}}]) == ["ingress[1].port.number"]
    assert ingress(bind="unix:///a") == ["bind"]
    assert ingress(connectionPool={}) == ["connectionPool"]
    assert ingress(port=https, tls={**tls, "mode": "PASSTHROUGH", "caCertificates": "a"}) == ["tls.mode"]
    assert ingress(port={**PORT, "protocol": "SPDY"}) == ["port.protocol"]
    assert ingress(port={"number": 80}) == []  # it is detected
    assert egress(port={"number": 80, "name": "a"}) == []  # it is that of the services behind it
    assert ingress(port=https, tls=tls) == []
    assert ingress(tls=tls) == ["tls"]
    assert ingress(port=https, tls={**tls, "mode": "MUTUAL"}) == ["tls.caCertificates"]
    assert ingress(port=https, tls={"mode": "SIMPLE", "credentialName": "x"}) == [
        "tls.credentialName",
        "tls.serverCertificate",
        "tls.privateKey",
    ]
    assert ingress(port=https, tls={**tls, "minProtocolVersion": "SSL3"}) == ["tls.minProtocolVersion"]


@pytest.mark.parametrize("host", ["*/*", "./*", "~/*", "ns/a.b", "*/*.a.b", "./a.b."])
def test_hosts_that_are_seen(host: str) -> None:
    assert egress(hosts=[host]) == []


@pytest.mark.parametrize("host", ["", "*", "a.b", "ns/", "/a.b", "a.b/c.d", "ns/a", "ns/a/b", "ns/*a.b", "*ns/a.b", "ns/1.2.3.4"])
def test_hosts_that_cannot_be_seen(host: str) -> None:
    assert egress(hosts=[host])[0] == "hosts[0]"


def test_listeners_for_connections_from_the_workload() -> None:
    alone = {"hosts": ["*/*"]}
    on_80 = {"hosts": ["*/*"], "port": PORT}

    assert sidecar(egress=[on_80, alone]) == []
    assert sidecar(egress=[alone, on_80]) == ["egress[0]"]
    assert sidecar(egress=[alone, alone]) == ["egress[0]"]
    assert sidecar(egress=[on_80, on_80]) == ["egress[1].port.number"]
    assert sidecar(egress=[on_80, {**on_80, "bind": "127.0.0.9"}]) == ["egress[1].port.number"]
    assert egress(bind="127.0.0.1") == ["bind"]
    assert egress(port={**PORT, "number": 65536}) == ["port.number"]
    assert egress(port={**PORT, "name": "a_b"}) == ["port.name"]
    assert egress(port={**PORT, "number": 0}, bind="unix:///a/") == ["bind"]
    assert egress(port=PORT, bind="unix:///a") == ["bind"]
    assert egress(port={**PORT, "number": 0}) == ["port.number"]
    assert egress(port={**PORT, "number": 0}, bind="unix:///a", captureMode="IPTABLES") == ["captureMode"]
    assert egress(captureMode="SOMETIMES") == ["captureMode"]


def test_what_becomes_of_traffic_to_unknown_hosts() -> None:
    proxy = {"host": "a.b", "port": {"number": 80}}

    assert sidecar(outboundTrafficPolicy={"mode": "ALLOW_ANY", "egressProxy": proxy}) == []
    assert sidecar(outboundTrafficPolicy={"egressProxy": proxy}) == ["outboundTrafficPolicy.egressProxy"]
    wild = {**proxy, "host": "*.a.b"}
    assert sidecar(outboundTrafficPolicy={"mode": "ALLOW_ANY", "egressProxy": wild}) == ["outboundTrafficPolicy.egressProxy.host"]
    assert sidecar(outboundTrafficPolicy={"mode": "ALLOW_ANY", "egressProxy": {"host": "a.b"}}) == [
        "outboundTrafficPolicy.egressProxy.port"
    ]
    assert sidecar(workloadSelector={"labels": {"*": "a"}}, outboundTrafficPolicy={}) == ["workloadSelector.labels.*"]
