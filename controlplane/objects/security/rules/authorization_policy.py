"""What AuthorizationPolicies must keep to.

A rule without a condition fits every request, so a condition that was left empty is an error and not a condition less.
https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from controlplane.objects.security.authorization_policy import (
    AuthorizationCondition,
    AuthorizationOperation,
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    AuthorizationRule,
    AuthorizationSource,
)
from controlplane.objects.security.rules.values import impossible_values
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header
from controlplane.objects.types.scalars import MAX_PORT
from controlplane.objects.types.selector_rules import check_attachment

DRY_RUN = "istio.io/dry-run"
TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_PORT = re.compile(r"[0-9]{1,5}\Z", re.ASCII)
_ONE, _ANY = "{*}", "{**}"  # segments of a path: one of any text, and any number of them
_HEADER = re.compile(r"request\.headers\[([^\[\]]+)\]\Z")
_IN_BRACKETS = re.compile(r"(request\.auth\.claims|experimental\.envoy\.filters\.[^\[\]]+)(\[[^\[\]]+\])+\Z")
_IP_KEYS = ("source.ip", "remote.ip", "destination.ip")
_KEYS = (
    *("source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "connection.sni"),
    *("request.auth.principal", "request.auth.audiences", "request.auth.presenter"),
)
_ACCOUNTS = frozenset(("service_accounts", "not_service_accounts"))
_IDENTITIES = frozenset(("principals", "not_principals", "namespaces", "not_namespaces"))
Check = Callable[[str, str], Iterator[Finding]]


def check(policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Yield what is wrong with ``policy``."""
    spec = policy.spec
    yield from check_attachment(spec)
    yield from _action(spec)
    if (dry_run := policy.meta.annotations.get(DRY_RUN)) is not None:
        path = f"metadata.annotations.{DRY_RUN}"
        if dry_run not in (*TRUE, *_FALSE):
            yield rules.out_of_range(path, "true or false", dry_run)
        if spec.action not in ("ALLOW", "DENY"):
            yield rules.conflict(path, f"expected an action of ALLOW or DENY with this, found {spec.action}")
    for index, rule in enumerate(spec.rules):
        yield from _rule(f"spec.rules[{index}]", rule)
        yield from impossible_values(f"spec.rules[{index}]", rule)


def is_dry_run(policy: AuthorizationPolicy) -> bool:
    """Return whether ``policy`` is not to be enforced, only to count what it would do."""
    return policy.meta.annotations.get(DRY_RUN) in TRUE


def _action(spec: AuthorizationPolicySpec) -> Iterator[Finding]:
    if spec.action == "CUSTOM" and not (spec.provider and spec.provider.name):
        yield rules.required("spec.provider.name", "the name of a provider with an action of CUSTOM")
    if spec.action != "CUSTOM" and spec.provider is not None:
        yield rules.conflict("spec.provider", f"expected no provider with an action of {spec.action}")
    if spec.action in ("DENY", "CUSTOM") and not spec.rules:
        yield rules.required("spec.rules", f"rules with an action of {spec.action}; {{}} is one that fits every request")


def _rule(path: str, rule: AuthorizationRule) -> Iterator[Finding]:
    for field, name, items in (("from_", "from", rule.from_), ("to", "to", rule.to)):
        if field in rule.model_fields_set and not items:
            yield rules.required(f"{path}.{name}", "at least one item")
    for index, origin in enumerate(rule.from_):
        yield from _source(f"{path}.from[{index}].source", origin.source)
    for index, target in enumerate(rule.to):
        yield from _operation(f"{path}.to[{index}].operation", target.operation)
    for index, condition in enumerate(rule.when):
        yield from _condition(f"{path}.when[{index}]", condition)


def _source(path: str, source: AuthorizationSource | None) -> Iterator[Finding]:
    if source is None or _has_no_condition(source):
        yield rules.required(path, "a condition on where requests are from")
        return
    if _ACCOUNTS & source.model_fields_set and _IDENTITIES & source.model_fields_set:
        yield rules.conflict(f"{path}.serviceAccounts", "expected no principals and no namespaces where service accounts are given")
    yield from _values(f"{path}.serviceAccounts", source.service_accounts, _account)
    yield from _values(f"{path}.notServiceAccounts", source.not_service_accounts, _account)
    yield from _values(f"{path}.ipBlocks", source.ip_blocks, rules.subnet)
    yield from _values(f"{path}.notIpBlocks", source.not_ip_blocks, rules.subnet)
    yield from _values(f"{path}.remoteIpBlocks", source.remote_ip_blocks, rules.subnet)
    yield from _values(f"{path}.notRemoteIpBlocks", source.not_remote_ip_blocks, rules.subnet)
    for name, values in (
        ("principals", source.principals),
        ("notPrincipals", source.not_principals),
        ("requestPrincipals", source.request_principals),
        ("notRequestPrincipals", source.not_request_principals),
        ("namespaces", source.namespaces),
        ("notNamespaces", source.not_namespaces),
        ("trustDomains", source.trust_domains),
        ("notTrustDomains", source.not_trust_domains),
    ):
        yield from _values(f"{path}.{name}", values, _not_empty)


def _has_no_condition(part: AuthorizationSource | AuthorizationOperation) -> bool:
    """Return whether no field of ``part`` that is known asks for anything."""
    return not any(getattr(part, name) for name in type(part).model_fields)


def _operation(path: str, operation: AuthorizationOperation | None) -> Iterator[Finding]:
    if operation is None or _has_no_condition(operation):
        yield rules.required(path, "a condition on what requests are for")
        return
    yield from _values(f"{path}.hosts", operation.hosts, _not_empty)
    yield from _values(f"{path}.notHosts", operation.not_hosts, _not_empty)
    yield from _values(f"{path}.methods", operation.methods, _not_empty)
    yield from _values(f"{path}.notMethods", operation.not_methods, _not_empty)
    yield from _values(f"{path}.ports", operation.ports, _port)
    yield from _values(f"{path}.notPorts", operation.not_ports, _port)
    yield from _values(f"{path}.paths", operation.paths, _url_path)
    yield from _values(f"{path}.notPaths", operation.not_paths, _url_path)


def _condition(path: str, condition: AuthorizationCondition) -> Iterator[Finding]:
    if not condition.values and not condition.not_values:
        yield rules.required(path, "at least one of values and notValues")
    check_value = _not_empty
    if condition.key in _IP_KEYS:
        check_value = rules.subnet
    elif condition.key == "destination.port":
        check_value = _port
    elif header := _HEADER.match(condition.key):
        if not is_header(header[1]):
            yield rules.out_of_range(f"{path}.key", "the name of a header", header[1])
    elif condition.key not in _KEYS and not _IN_BRACKETS.match(condition.key):
        yield rules.out_of_range(f"{path}.key", "an attribute such as source.ip or request.headers[x]", condition.key)
    yield from _values(f"{path}.values", condition.values, check_value)
    yield from _values(f"{path}.notValues", condition.not_values, check_value)


def _values(path: str, values: Sequence[str], check_value: Check) -> Iterator[Finding]:
    for index, value in enumerate(values):
        yield from check_value(f"{path}[{index}]", value)


def _not_empty(path: str, text: str) -> Iterator[Finding]:
    if not text:
        yield rules.required(path, "a value that is not empty")


def _port(path: str, text: str) -> Iterator[Finding]:
    if not _PORT.match(text) or not 0 < int(text) <= MAX_PORT:
        yield rules.out_of_range(path, f"a port from 1 to {MAX_PORT}", text)


def _account(path: str, text: str) -> Iterator[Finding]:
    namespace, slash, name = text.partition("/")
    if not (namespace and name if slash else namespace) or "/" in name or "*" in text:
        yield rules.out_of_range(path, "the name of a service account, or namespace/name, without a star", text)


def _url_path(path: str, text: str) -> Iterator[Finding]:
    yield from _not_empty(path, text)
    parts = text.strip("/").split("/")
    is_template = _ONE in text or _ANY in text
    any_before = False
    for part in parts:
        if part in (_ONE, _ANY):
            if any_before:
                yield rules.out_of_range(path, f"{_ANY} as the last of the templates of a path", text)
                return
            any_before = part == _ANY
        elif "{" in part or "}" in part or (is_template and "*" in part):
            yield rules.out_of_range(path, f"whole segments where there are {_ONE} or {_ANY}, and no other braces or stars", text)
            return
