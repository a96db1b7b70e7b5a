"""What the API server checks of objects beyond the types of their fields, in CEL: the cheap part of what our validator checks.

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on an object in CEL, and what is said where it does not hold; only where there is the property ``about``, if one is named."""

    cel: str
    message: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class AtMostOne:
    """Not two of the fields are set: said without CEL, whose estimated costs multiply with the lists around it."""

    fields: tuple[str, ...]


def at_most_one(*fields: str) -> AtMostOne:
    """Return the rule that not two of ``fields`` are set."""
    return AtMostOne(fields)


_ATTACHED = at_most_one("selector", "targetRefs")
_ATTACHED_TO_ONE = at_most_one("selector", "targetRef", "targetRefs")
_LABELS = Rule(
    "!has(self.matchLabels) || self.matchLabels.all(key, size(key) != 0 && !key.contains('*') && !self.matchLabels[key].contains('*'))",
    "expected labels without wildcards",
    "matchLabels",
)
# Bounds that make the rules cheap enough, by model and field.
BOUNDS: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("WorkloadSelector", "matchLabels"): {"maxProperties": 4096, "additionalProperties": {"type": "string", "maxLength": 63}},
    ("ServiceEntrySpec", "addresses"): {"maxItems": 256, "items": {"type": "string", "maxLength": 64}},
}

# By the name of the model.
RULES: Mapping[str, tuple[Rule | AtMostOne, ...]] = {
    "ConsistentHashLB": (
        at_most_one("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        at_most_one("ringHash", "maglev"),
    ),
    "LoadBalancerSettings": (at_most_one("simple", "consistentHash"),),
    "LocalityLbSetting": (at_most_one("distribute", "failover", "failoverPriority"),),
    "ServiceEntrySpec": (
        at_most_one("workloadSelector", "endpoints"),
        Rule(
            "!has(self.addresses) || !has(self.resolution) || self.resolution in ['NONE', 'STATIC']"
            " || !self.addresses.exists(each, each.contains('/'))",
            "expected addresses without a mask where resolution is DNS",
        ),
    ),
    "WorkloadSpec": (Rule("has(self.address) || has(self.network)", "expected address, or a network"),),
    "PeerAuthenticationSpec": (
        Rule(
            "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)",
            "expected a selector where portLevelMtls is set",
        ),
    ),
    "AuthorizationPolicySpec": (_ATTACHED_TO_ONE,),
    "RequestAuthenticationSpec": (_ATTACHED_TO_ONE,),
    "TelemetrySpec": (_ATTACHED_TO_ONE,),
    "WasmPluginSpec": (_ATTACHED_TO_ONE,),
    "TrafficExtensionSpec": (_ATTACHED, at_most_one("wasm", "lua")),
    "WorkloadSelector": (_LABELS,),
}
