"""What policies of security, telemetry and extensions must keep to, rule by rule: the fields that errors name."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.extensions.wasm_plugin import WasmPlugin
from controlplane.objects.kinds import KINDS
from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.security.authorization_policy import AuthorizationPolicy

Json = dict[str, object]
GROUPS = {kind: f"{group}/{each.versions[0]}" for (group, kind), each in KINDS.items()}
NO_RULE: Json = {}
JWT: Json = {"issuer": "a"}


def read(kind: str, spec: object, **metadata: object) -> ParsedObject:
    return parse({"apiVersion": GROUPS[kind], "kind": kind, "metadata": {"name": "x", **metadata}, "spec": spec})


def errors(kind: str, spec: object, **metadata: object) -> list[str]:
    problems = read(kind, spec, **metadata).problems
    return [each.field.removeprefix("spec.") for each in problems if each.severity is Severity.ERROR]


def peer(**spec: object) -> list[str]:
    return errors("PeerAuthentication", spec)


def jwt(**rule: object) -> list[str]:
    return [each.removeprefix("jwtRules[0].") for each in errors("RequestAuthentication", {"jwtRules": [{**JWT, **rule}]})]


def authorization(**spec: object) -> list[str]:
    return errors("AuthorizationPolicy", spec)


def rule(**fields: object) -> list[str]:
    return [each.removeprefix("rules[0].") for each in authorization(rules=[fields])]


def source(**fields: object) -> list[str]:
    return [each.removeprefix("from[0].source.") for each in rule(**{"from": [{"source": fields}]})]


def operation(**fields: object) -> list[str]:
    return [each.removeprefix("to[0].operation.") for each in rule(to=[{"operation": fields}])]


def when(key: str, **fields: object) -> list[str]:
    return [each.removeprefix("when[0].") for each in rule(when=[{"key": key, **fields}])]


def telemetry(**spec: object) -> list[str]:
    return errors("Telemetry", spec)


def wasm(**spec: object) -> list[str]:
    return errors("WasmPlugin", {"url": "oci://a/b", **spec})


def test_a_field_that_nobody_knows_is_told_in_a_policy_too() -> None:
    parsed = read("AuthorizationPolicy", {"rules": [{"form": []}]})

    assert isinstance(parsed.object, AuthorizationPolicy)
    assert [(each.field, each.code) for each in parsed.problems] == [("spec.rules[0].form", "UnknownField")]


def test_a_policy_that_is_refused_is_not_said_to_have_no_effect_as_well() -> None:
    assert [each.code for each in read("PeerAuthentication", {"mtls": {"mode": "SOFT"}}).problems] == ["OutOfRange"]


def test_the_settings_of_a_plugin_are_kept_whatever_they_are_and_in_whatever_order() -> None:
    one = read("WasmPlugin", {"url": "a", "pluginConfig": {"a": 1, "b": [None, {"c": True}]}})
    same = read("WasmPlugin", {"url": "a", "pluginConfig": {"b": [None, {"c": True}], "a": 1}})

    assert isinstance(one.object, WasmPlugin)
    assert one.object == same.object
    assert one.object.spec.plugin_config == '{"a":1,"b":[null,{"c":true}]}'
    assert wasm(pluginConfig=[1]) == ["pluginConfig"]


@pytest.mark.parametrize("kind", ["RequestAuthentication", "AuthorizationPolicy", "Telemetry"])
def test_what_a_policy_is_for(kind: str) -> None:
    labels: Json = {"matchLabels": {"app": "a"}}
    service: Json = {"kind": "Service", "name": "a"}

    assert errors(kind, {"selector": labels}) == []
    assert errors(kind, {"targetRefs": [service, {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "b"}]}) == []
    assert errors(kind, {"selector": labels, "targetRefs": []}) == ["spec"]
    assert errors(kind, {"targetRef": service, "targetRefs": [service]}) == ["spec"]
    assert errors(kind, {"targetRef": {**service, "namespace": "b"}}) == ["targetRef.namespace"]
    assert errors(kind, {"targetRefs": [{**service, "kind": "Pod"}]}) == ["targetRefs[0].kind"]
    assert errors(kind, {"targetRefs": [{**service, "group": "_"}]}) == ["targetRefs[0].group"]
    assert errors(kind, {"targetRefs": [service] * 17}) == ["targetRefs"]
    assert errors(kind, {"selector": {"matchLabels": {"": "a"}}}) == ["selector.matchLabels"]
    assert errors(kind, {"selector": {"matchLabels": {"a": "b" * 64}}}) == ["selector.matchLabels.a"]


def test_ports_of_peers() -> None:
    selector: Json = {"matchLabels": {"app": "a"}}
    strict: Json = {"mode": "STRICT"}

    assert peer(selector=selector, portLevelMtls={"80": strict, "65535": {}}) == []
    assert peer(selector={}, portLevelMtls={"80": strict}) == ["selector.matchLabels"]
    assert peer(selector=selector, portLevelMtls={"80": strict, "080": strict}) == ["portLevelMtls.080"]
    for port in ("", "0", "-1", "65536", "8_0", " 80", "٣", "9" * 300):
        assert peer(selector=selector, portLevelMtls={port: strict})[0].startswith("portLevelMtls."), port


@pytest.mark.parametrize(
    "uri", ["https://a", "http://a.b:80/c?d=e", "HTTPS://a", "https://[::1]:443/", "https://1.2.3.4/a%20b", "https://u:p@a/"]
)
def test_where_keys_may_be(uri: str) -> None:
    assert jwt(jwksUri=uri) == []
    assert jwt(jwks_uri=uri) == []


@pytest.mark.parametrize(
    "uri", ["", "a.b", "ftp://a", "https:a", "https://", "https:///a", "https://a:x", "https://a:65536", "https://a b", "https://a/%zz"]
)
def test_where_keys_cannot_be(uri: str) -> None:
    assert jwt(jwksUri=uri) == ["jwksUri"]


def test_tokens() -> None:
    keys = '{"keys": [{"kty": "RSA", "n": "a", "e": "AQAB"}]}'

    assert jwt(jwks=keys) == []
    assert jwt(jwks='{"kty": "oct"}') == []
    for text in ("[]", "{}", '{"keys": {}}', '{"keys": [1]}', '{"keys": [{}]}', "[" * 100_000, '{"keys": NaN}', '{"keys": [], "keys": []}'):
        assert jwt(jwks=text) == ["jwks"], text[:20]
    assert jwt(jwks=keys, jwksUri="https://a") == ["jwtRules[0]"]
    assert jwt(issuer="") == ["issuer"]
    assert jwt(fromHeaders=[{"name": "a b"}]) == ["fromHeaders[0].name"]
    assert jwt(fromHeaders=[{"name": "a", "prefix": "b\nc"}]) == ["fromHeaders[0].prefix"]
    assert jwt(timeout="0s") == ["timeout"]
    assert jwt(outputPayloadToHeader="a\n") == ["outputPayloadToHeader"]
    assert jwt(spaceDelimitedClaims=["a"] * 65) == ["spaceDelimitedClaims"]
    assert errors("RequestAuthentication", {}, annotations={"istio.io/dry-run": "true"}) == ["metadata.annotations.istio.io/dry-run"]


@pytest.mark.parametrize("name", [":path", "a b", "x:", "é"])
def test_what_a_token_says_goes_on_in_a_header_that_is_none_of_envoy_s(name: str) -> None:
    assert jwt(outputPayloadToHeader=name) == ["outputPayloadToHeader"]
    assert jwt(outputPayloadToHeader="x-payload") == jwt(outputPayloadToHeader="") == []


def test_what_becomes_of_requests_that_fit() -> None:
    dry = {"annotations": {"istio.io/dry-run": "true"}}

    assert authorization(action="DENY") == ["rules"]
    assert authorization(action="CUSTOM", rules=[NO_RULE]) == ["provider.name"]
    assert authorization(action="AUDIT", provider={"name": "a"}) == ["provider"]
    assert errors("AuthorizationPolicy", {}, **dry) == []
    assert errors("AuthorizationPolicy", {"action": "AUDIT"}, **dry) == ["metadata.annotations.istio.io/dry-run"]
    assert errors("AuthorizationPolicy", {}, annotations={"istio.io/dry-run": "yes"}) == ["metadata.annotations.istio.io/dry-run"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"from": None}, "from"),
        ({"to": None}, "to"),
        ({"when": None}, "when"),
        ({"from": [{"source": None}]}, "from[0].source"),
        ({"from": [{"source": {}}]}, "from[0].source"),
        ({"from": [{"source": {"namespaces": None, "principals": ["a"]}}]}, "from[0].source.namespaces"),
        ({"from": [{"source": {"namespaces": []}}]}, "from[0].source"),
        ({"to": [{"operation": {"methods": None, "ports": ["1"]}}]}, "to[0].operation.methods"),
        ({"when": [{"key": "source.namespace", "values": ["a"], "notValues": None}]}, "when[0].notValues"),
    ],
)
def test_a_condition_that_was_lost_on_the_way_does_not_widen_a_policy(fields: Json, field: str) -> None:
    assert rule(**fields) == [field]


def test_a_label_or_a_mode_that_was_lost_on_the_way_is_an_error() -> None:
    selector: Json = {"matchLabels": {"app": "a"}}

    assert authorization(selector={"matchLabels": {"app": None}}) == ["selector.matchLabels.app"]
    assert peer(mtls={"mode": None}) == ["mtls.mode"]
    assert peer(selector=selector, portLevelMtls={"80": None}) == ["portLevelMtls.80"]
    assert jwt(audiences=None) == ["audiences"]


def test_where_requests_are_from() -> None:
    assert source(serviceAccounts=["a", "ns/a"]) == []
    assert source(serviceAccounts=["a/b/c", "/a", "a/", "", "*", "a/b*"]) == [f"serviceAccounts[{at}]" for at in range(6)]
    assert source(notServiceAccounts=["a"], notPrincipals=["b"]) == ["serviceAccounts"]
    assert source(serviceAccounts=["a"] * 17) == ["serviceAccounts"]
    assert source(ipBlocks=["::1", "10.0.0.0/8"], notRemoteIpBlocks=["10.0.0.0/255.0.0.0"]) == ["notRemoteIpBlocks[0]"]
    assert source(requestPrincipals=["*"], notTrustDomains=[""]) == ["notTrustDomains[0]"]


def test_what_requests_are_for() -> None:
    assert operation(ports=["1", "65535"]) == []
    assert operation(ports=["0", "65536", "http", "٣"]) == [f"ports[{at}]" for at in range(4)]
    assert operation(paths=["/a/{*}/b", "/a/{*}/{**}", "/{**}/a", "*/a", "/a*"]) == []
    assert operation(paths=["/{**}/{*}", "/{**}/{**}", "/a{*}", "/{a}", "/{*}/*"]) == [f"paths[{at}]" for at in range(5)]


@pytest.mark.parametrize(
    "key", ["request.headers[a]", "request.auth.claims[a][b]", "experimental.envoy.filters.a.b[c]", "source.namespace"]
)
def test_attributes(key: str) -> None:
    assert when(key, values=["a", "*"]) == []


@pytest.mark.parametrize(
    "key",
    [
        *("", "source.user", "request.headers", "request.headers[]", "request.headers[a", "request.headers[a b]", "request.auth.claims"),
        *("experimental.envoy.filters.a", "experimental.envoy.filters.a[]", "experimental.envoy.filters.a[b]c"),
    ],
)
def test_attributes_that_no_request_has(key: str) -> None:
    assert when(key, notValues=["a"]) == ["key"]


def test_values_of_attributes() -> None:
    assert when("destination.port", values=["80", "x"]) == ["values[1]"]
    assert when("remote.ip", notValues=["10.0.0.0/8", "10.0.0.0/33"]) == ["notValues[1]"]
    assert when("source.ip") == ["when[0]"]


def test_metrics_traces_and_access_logs() -> None:
    assert telemetry(tracing=[{"customTags": {"a": None}}]) == ["tracing[0].customTags.a"]
    assert telemetry(tracing=[{"customTags": {"a": {"literal": {"value": "x"}, "header": {"name": "y"}}}}]) == ["tracing[0].customTags.a"]
    assert telemetry(tracing=[{"randomSamplingPercentage": 100.5}]) == ["tracing[0].randomSamplingPercentage"]
    both = {"metric": "REQUEST_COUNT", "customMetric": "a"}
    assert telemetry(metrics=[{"overrides": [{"match": both}]}]) == ["metrics[0].overrides[0].match"]
    tags = {"a": {"operation": "REMOVE", "value": ""}, "b": {}}
    assert telemetry(metrics=[{"overrides": [{"tagOverrides": tags}]}]) == [
        f"metrics[0].overrides[0].tagOverrides.{name}.value" for name in "ab"
    ]
    assert telemetry(metrics=[{"reportingInterval": "0s"}]) == ["metrics[0].reportingInterval"]
    assert telemetry(accessLogging=[{"filter": {}}]) == ["accessLogging[0].filter.expression"]
    assert telemetry(accessLogging=[{"filter": {"expression": "response.code >="}}]) == ["accessLogging[0].filter.expression"]
    assert telemetry(accessLogging=[{"filter": {"expression": "path.matches('(')"}}]) == ["accessLogging[0].filter.expression"]
    assert telemetry(accessLogging=[{"filter": {"expression": "path.matches('a{1000}')"}}]) == ["accessLogging[0].filter.expression"]
    assert telemetry(tracing=[{"customTags": {"a": {"formatter": {"value": "%NOPE%"}}}}]) == ["tracing[0].customTags.a.formatter.value"]
    assert telemetry(tracing=[{"customTags": {"a": {"header": {"name": "a b"}}}}]) == ["tracing[0].customTags.a.header.name"]


@pytest.mark.parametrize(
    "url",
    ["a", "a.b/c:v1", "a.b/c@sha256:0", "1.2.3.4:80/a", "oci://a.b:80/c:v1", "file:///a.wasm", "/a.wasm", "HTTP://a", "https://a?b=c"],
)
def test_where_modules_may_be(url: str) -> None:
    assert wasm(url=url) == []


@pytest.mark.parametrize("url", ["", "ftp://a", "a:v1", "a b", "http://", "http://a:x", "#a", "a/%", "\x7f", "http://[::1"])
def test_where_modules_cannot_be(url: str) -> None:
    assert wasm(url=url) == ["url"]


def test_modules_and_the_traffic_that_goes_through_them() -> None:
    twice = [{"number": 80}, {"number": 80}]

    assert wasm(vmConfig={"env": [{"name": "a", "value": "b"}, {"name": "c", "valueFrom": "HOST"}]}) == []
    assert wasm(vmConfig={"env": [{"name": "a", "valueFrom": "HOST", "value": ""}]}) == ["vmConfig.env[0].value"]
    assert wasm(match=[{"ports": twice}]) == ["match[0].ports[1].number"]
    assert wasm(match=[None]) == ["match[0]"]
    assert wasm(priority=2**31) == ["priority"]
    assert wasm(phase="UNSPECIFIED") == ["phase"]
    assert wasm(selector={}, targetRefs=[]) == ["spec"]


def test_an_extension_is_wasm_or_lua() -> None:
    lua, module = {"inlineCode": "x = 1"}, {"url": "a"}

    assert errors("TrafficExtension", {}) == errors("TrafficExtension", {"wasm": module, "lua": lua}) == ["spec"]
    assert errors("TrafficExtension", {"wasm": {"url": "ftp://a"}}) == ["wasm.url"]
    assert errors("TrafficExtension", {"lua": {"inlineCode": "x" * 65537}}) == ["lua.inlineCode"]
    assert errors("TrafficExtension", {"lua": lua, "match": [{"ports": [{"number": 0}]}]}) == ["match[0].ports[0].number"]
