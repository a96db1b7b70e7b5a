"""The settings of the mesh: what is read of them, and what becomes of those that make no sense."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.objects.networking.proxy_config import GatewayTopology
from controlplane.objects.parse import ParsedObject, parse


def said(parsed: ParsedObject) -> list[tuple[Severity, str, str]]:
    return [(problem.severity, problem.field, problem.code) for problem in parsed.problems]


def mesh_config(text: object, *, name: str = "istio") -> ParsedObject:
    return parse({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "istio-system"}, "data": {"mesh": text}})


def test_the_settings_of_the_mesh() -> None:
    parsed = mesh_config("proxyHttpPort: 15080\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\ningressClass: other\n")

    assert isinstance(parsed.object, MeshConfig)
    assert (parsed.object.spec.proxy_http_port, parsed.object.spec.outbound_traffic_policy.mode) == (15080, "REGISTRY_ONLY")
    assert said(parsed) == [(Severity.WARNING, "data.mesh.ingressClass", "NotTranslated")]
    assert isinstance(mesh_config("").object, MeshConfig)
    assert said(mesh_config("a: 1", name="other")) == [(Severity.INFO, "kind", "KindIgnored")]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("trustDomain: 'spiffe://x'", "data.mesh.trustDomain"),
        ("rootNamespace: a/b", "data.mesh.rootNamespace"),
        ('accessLogFormat: "%NOPE%"', "data.mesh.accessLogFormat"),
        ('{accessLogEncoding: JSON, accessLogFormat: "%PROTOCOL%"}', "data.mesh.accessLogFormat"),
        ("accessLogFile: relative.log", "data.mesh.accessLogFile"),
        ("defaultConfig: {tracing: {zipkin: {address: nowhere}}}", "data.mesh.defaultConfig.tracing.zipkin.address"),
        ('defaultConfig: {tracing: {zipkin: {address: "nowhere:99999"}}}', "data.mesh.defaultConfig.tracing.zipkin.address"),
        (
            'defaultConfig: {tracing: {customTags: {a: {formatter: {value: "%"}}}}}',
            "data.mesh.defaultConfig.tracing.customTags.a.formatter.value",
        ),
        ('extensionProviders: [{name: a, zipkin: {service: "not a host", port: 1}}]', "data.mesh.extensionProviders[0].zipkin.service"),
        ("extensionProviders: [{name: a, zipkin: {service: a.b, port: 1, path: x}}]", "data.mesh.extensionProviders[0].zipkin.path"),
        ("extensionProviders: [{name: a, zipkin: {service: a.b, port: 1}, prometheus: {}}]", "data.mesh.extensionProviders[0]"),
        (
            "extensionProviders: [{name: a, opentelemetry: {service: a.b, port: 1, http: {}, grpc: {}}}]",
            "data.mesh.extensionProviders[0].opentelemetry",
        ),
        (
            'extensionProviders: [{name: a, opentelemetry: {service: a.b, port: 1, http: {headers: [{name: "a b"}]}}}]',
            "data.mesh.extensionProviders[0].opentelemetry.http.headers[0].name",
        ),
        ("extensionProviders: [{name: a, envoyFileAccessLog: {path: x}}]", "data.mesh.extensionProviders[0].envoyFileAccessLog.path"),
        (
            'extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {text: "100%"}}}]',
            "data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.text",
        ),
        (
            'extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {labels: {a: {b: "%CEL(x.)%"}}}}}]',
            "data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.labels",
        ),
        (
            'extensionProviders: [{name: a, envoyOtelAls: {service: a.b, port: 1, logFormat: {labels: {a: "%X%"}}}}]',
            "data.mesh.extensionProviders[0].envoyOtelAls.logFormat.labels.a",
        ),
        (
            'extensionProviders: [{name: a, envoyHttpAls: {service: a.b, port: 1, additionalRequestHeadersToLog: ["a b"]}}]',
            "data.mesh.extensionProviders[0].envoyHttpAls.additionalRequestHeadersToLog[0]",
        ),
        ("proxyHttpPort: 70000", "data.mesh.proxyHttpPort"),
        ("outboundTrafficPolicy: {mode: ALLOW}", "data.mesh.outboundTrafficPolicy.mode"),
        ("protocolDetectionTimeout: soon", "data.mesh.protocolDetectionTimeout"),
        ("- a", "data.mesh"),
        ("a: [", "data.mesh"),
        (7, "data.mesh"),
    ],
)
def test_wrong_settings_of_the_mesh_are_errors(text: object, field: str) -> None:
    parsed = mesh_config(text)

    assert parsed.object is None
    assert (Severity.ERROR, field) in [each[:2] for each in said(parsed)]


def test_a_wrong_setting_of_the_mesh_takes_no_other_away() -> None:
    before = mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\ntrustDomain: a.example\nproxyHttpPort: 15080").object
    parsed = mesh_config("outboundTrafficPolicy: {mode: ALLOW}\ntrustDomain: b.example\ntrustDomainAliases: ['a/b']\nrootNamespace: root")
    changed, begun = parsed.usable(before), parsed.usable(None)

    assert isinstance(changed, MeshConfig)
    assert isinstance(begun, MeshConfig)
    assert (changed.spec.outbound_traffic_policy.mode, begun.spec.outbound_traffic_policy.mode) == ("REGISTRY_ONLY", "ALLOW_ANY")
    for usable in (changed, begun):
        spec = usable.spec
        assert (spec.trust_domain, spec.trust_domain_aliases, spec.root_namespace, spec.proxy_http_port) == ("b.example", (), "root", 0)
    assert [(field, code) for _, field, code in said(parsed)] == [
        ("data.mesh.outboundTrafficPolicy.mode", "OutOfRange"),
        ("data.mesh.trustDomainAliases[0]", "OutOfRange"),
    ]


def test_unknown_hosts_by_their_names_are_taken_for_any() -> None:
    mesh = mesh_config("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\ntrustDomain: a.example")

    assert isinstance(mesh.object, MeshConfig)
    assert said(mesh) == [(Severity.WARNING, "data.mesh.outboundTrafficPolicy.mode", "NotTranslated")]


def test_a_wrong_setting_within_others_takes_no_other_away() -> None:
    topology = "gatewayTopology: {numTrustedProxies: %s, forwardClientCertDetails: %s}"
    before = mesh_config(f"defaultConfig: {{concurrency: 1, statusPort: 1, {topology % (1, 'SANITIZE')}}}").object
    parsed = mesh_config(f"defaultConfig: {{concurrency: -1, statusPort: 2, {topology % (2, 'SOME')}}}")
    changed, begun = parsed.usable(before), parsed.usable(None)

    assert isinstance(changed, MeshConfig)
    assert isinstance(begun, MeshConfig)
    found = [
        (each.concurrency, each.status_port, each.gateway_topology) for each in (changed.spec.default_config, begun.spec.default_config)
    ]
    assert found == [
        (1, 2, GatewayTopology.model_validate({"numTrustedProxies": 2, "forwardClientCertDetails": "SANITIZE"})),
        (None, 2, GatewayTopology.model_validate({"numTrustedProxies": 2})),
    ]


@pytest.mark.parametrize(
    "settings", ["defaultConfig: 5", "defaultConfig: {gatewayTopology: []}", "extensionProviders: [{name: a}, 7]", "trustDomain: 5"]
)
def test_whatever_is_wrong_the_others_count(settings: str) -> None:
    usable = mesh_config(f"{settings}\nproxyHttpPort: 15080").usable(None)

    assert isinstance(usable, MeshConfig)
    assert usable.spec.proxy_http_port == 15080
