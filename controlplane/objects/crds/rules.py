"""What the API server checks of objects beyond the types of their fields, in CEL: the cheap part of what our validator checks.

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CelRule:
    """A condition on an object in CEL, and the message where it does not hold."""

    cel: str
    message: str


@dataclass(frozen=True, slots=True)
class AtMostOne:
    """Not two of the fields are set: expressed without CEL, whose estimated costs multiply with the lists around it."""

    fields: tuple[str, ...]


def at_most_one(*fields: str) -> AtMostOne:
    """Return the rule that not two of ``fields`` are set."""
    return AtMostOne(fields)


_ATTACHED = at_most_one("selector", "targetRefs")
_ATTACHED_TO_ONE = at_most_one("selector", "targetRef", "targetRefs")
_NO_PORTS_WITH_A_SOCKET = CelRule(
    "!has(self.address) || !self.address.startsWith('unix://') || !has(self.ports)", "expected no ports with a socket"
)
_LABELS = CelRule(
    "!has(self.matchLabels) || self.matchLabels.all(key, size(key) != 0 && !key.contains('*') && !self.matchLabels[key].contains('*'))",
    "expected labels without wildcards",
)
_IS_PORT = CelRule("self.all(key, 0 < int(key) && int(key) <= 65535)", "expected ports from 1 to 65535 as keys")
_HTTP = CelRule("isURL(self) && url(self).getScheme() in ['http', 'https']", "expected an http or https URL")
_MODULE = CelRule(
    "isURL(self) ? url(self).getScheme() in ['http', 'https', 'oci', 'file'] : isURL('http://' + self)",
    "expected an oci, http, https or file URL, or the name of an image",
)
_PORT_NAMES = CelRule(
    "self.all(key, size(key) < 63 && key.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$'))", "expected names of letters, digits and '-'"
)
_SOCKET = CelRule(
    "!self.startsWith('unix://') || (!self.endsWith('/') && (self.startsWith('unix:///') || self.startsWith('unix://@')))",
    "expected the absolute path of a socket, or an abstract one, after unix://",
)
_LABEL_VALUE: Mapping[str, object] = {"type": "string", "maxLength": 63}
_BY_NAME: Mapping[str, object] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


def _with_cel(*rules: CelRule, **more: object) -> Mapping[str, object]:
    return {**more, "x-kubernetes-validations": [{"rule": rule.cel, "message": rule.message} for rule in rules]}


TOP_LEVEL = "whole "  # before the name of a model: where it is the spec itself, not a part of others in a list

# What the schema has of a field beyond its type, by model and field; bounds that its model has not make the rules cheap enough.
FIELDS: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("WorkloadSelector", "matchLabels"): {"maxProperties": 4096, "additionalProperties": _LABEL_VALUE},
    ("WorkloadLabelSelector", "labels"): {
        "maxProperties": 256,
        "additionalProperties": _with_cel(CelRule("!self.contains('*')", "expected labels without wildcards"), **_LABEL_VALUE),
    },
    ("PolicyTargetReference", "namespace"): _with_cel(CelRule("self == ''", "expected an object of the same namespace")),
    ("PeerAuthenticationSpec", "portLevelMtls"): _with_cel(_IS_PORT, minProperties=1, maxProperties=4096),
    ("JWTRule", "jwksUri"): _with_cel(_HTTP, maxLength=2048),
    ("JWTRule", "jwks_uri"): _with_cel(_HTTP, maxLength=2048),
    ("WasmPluginSpec", "url"): _with_cel(_MODULE, maxLength=4096),
    ("Wasm", "url"): _with_cel(_MODULE, maxLength=4096),
    ("VmConfig", "env"): _BY_NAME,
    ("RateLimitSpec", "rules"): {"minItems": 1},
    ("ServiceEntrySpec", "hosts"): _with_cel(
        CelRule("!self.exists(each, each == '*')", "expected hosts that are not a bare *"), items={"type": "string", "maxLength": 256}
    ),
    ("ServiceEntrySpec", "ports"): {
        **_with_cel(CelRule("self.all(one, self.exists_one(other, one.number == other.number))", "expected each port once")),
        **_BY_NAME,
    },
    ("WorkloadSpec", "address"): _with_cel(_SOCKET),
    ("WorkloadTemplate", "address"): _with_cel(_SOCKET),
    (TOP_LEVEL + "WorkloadSpec", "ports"): _with_cel(_PORT_NAMES, maxProperties=128),
    (TOP_LEVEL + "WorkloadTemplate", "ports"): _with_cel(_PORT_NAMES, maxProperties=128),
}

# By the name of the model.
RULES: Mapping[str, tuple[CelRule | AtMostOne, ...]] = {
    "ConsistentHashLB": (
        at_most_one("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        at_most_one("ringHash", "maglev"),
    ),
    "LoadBalancerSettings": (at_most_one("simple", "consistentHash"),),
    "LocalityLbSetting": (at_most_one("distribute", "failover", "failoverPriority"),),
    "ServiceEntrySpec": (
        at_most_one("workloadSelector", "endpoints"),
        CelRule(
            "!has(self.endpoints) || size(self.endpoints) == 0 || (has(self.resolution) && self.resolution != 'NONE')",
            "expected no endpoints where resolution is NONE",
        ),
        CelRule(
            "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || !has(self.endpoints) || size(self.endpoints) <= 1",
            "expected at most one endpoint where resolution is DNS_ROUND_ROBIN",
        ),
        CelRule(
            "!has(self.addresses) || !has(self.resolution) || self.resolution in ['NONE', 'STATIC']"
            " || !self.addresses.exists(each, each.contains('/'))",
            "expected addresses without a mask where resolution is DNS",
        ),
    ),
    "WorkloadSpec": (
        CelRule("has(self.address) || has(self.network)", "expected address, or a network"),
        _NO_PORTS_WITH_A_SOCKET,
    ),
    "WorkloadTemplate": (_NO_PORTS_WITH_A_SOCKET,),
    "AuthorizationSource": (
        at_most_one("serviceAccounts", "namespaces"),
        at_most_one("serviceAccounts", "principals"),
        at_most_one("notServiceAccounts", "notNamespaces"),
        at_most_one("notServiceAccounts", "notPrincipals"),
    ),
    "TagOverride": (
        CelRule(
            "!has(self.operation) || self.operation != 'UPSERT' || (has(self.value) && self.value != '')", "expected a value to UPSERT"
        ),
        CelRule("!has(self.operation) || self.operation != 'REMOVE' || !has(self.value)", "expected no value to REMOVE"),
    ),
    "ServerTLSSettings": (at_most_one("credentialNames", "tlsCertificates"), at_most_one("credentialName", "credentialNames")),
    "EnvoyFilterSpec": (at_most_one("workloadSelector", "targetRefs"),),
    "ObjectMatch": (
        at_most_one("listener", "routeConfiguration", "cluster", "waypoint"),
        CelRule(
            "(has(self.context) && self.context == 'WAYPOINT') == has(self.waypoint)",
            "expected waypoint with the context WAYPOINT only",
        ),
    ),
    "ReadinessProbe": (at_most_one("httpGet", "tcpSocket", "exec", "grpc"),),
    "CustomTag": (at_most_one("literal", "environment", "header", "formatter"),),
    "EnvVar": (
        CelRule("!has(self.valueFrom) || self.valueFrom != 'HOST' || !has(self.value)", "expected a value only where valueFrom is INLINE"),
    ),
    "PeerAuthenticationSpec": (
        CelRule(
            "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)",
            "expected a selector where portLevelMtls is set",
        ),
    ),
    "AuthorizationPolicySpec": (_ATTACHED_TO_ONE,),
    "RequestAuthenticationSpec": (_ATTACHED_TO_ONE,),
    "TelemetrySpec": (_ATTACHED_TO_ONE,),
    "WasmPluginSpec": (_ATTACHED_TO_ONE,),
    "TrafficExtensionSpec": (_ATTACHED, at_most_one("wasm", "lua")),
    "RateLimitSpec": (_ATTACHED, at_most_one("local", "global")),
    "PerValue": (CelRule("has(self.header) != has(self.source)", "expected one of header and source"),),
    "WorkloadSelector": (_LABELS,),
}
