"""Values of AuthorizationPolicies that no request or connection can have: they are kept, as Istio keeps them, and their author is told.

A value is the whole text, ``prefix*``, ``*suffix``, or ``*`` for anything: a star anywhere else stands for itself.
https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from controlplane.objects.security.authorization_policy import (
    AuthorizationCondition,
    AuthorizationOperation,
    AuthorizationRule,
    AuthorizationSource,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import METHODS, path_error
from controlplane.objects.types.validation_errors import for_message

NEVER_MATCHES = "NeverMatches"
_STAR = "*"
_PRINCIPAL = re.compile(r"[^/]+/ns/[^/]+/sa/[^/]+\Z")
_NAMESPACE = re.compile(r"[a-z0-9*-]+\Z")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 9.1
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()+,;=-]+)(:[0-9]+)?\Z")
Reason = Callable[[str], str]  # why no request has the value, empty: one may


def impossible_values(path: str, rule: AuthorizationRule) -> Iterator[Finding]:
    """Yield, as warnings, the values at ``path``, in ``rule``, that nothing has."""
    for index, origin in enumerate(rule.from_):
        if origin.source:
            yield from never_matching(f"{path}.from[{index}].source", _source_fields(origin.source))
    for index, target in enumerate(rule.to):
        if target.operation:
            yield from never_matching(f"{path}.to[{index}].operation", _operation_fields(target.operation))
    for index, condition in enumerate(rule.when):
        yield from never_matching(f"{path}.when[{index}]", _condition_fields(condition))


ValueFields = tuple[tuple[str, Sequence[str], Reason], ...]


def never_matching(path: str, fields: ValueFields) -> Iterator[Finding]:
    """Yield, as warnings, which values of ``fields`` of the object at ``path`` nothing has."""
    for name, values, reason_for in fields:
        effect = "it excludes nothing" if name.startswith("not") else "it fits nothing"
        for index, value in enumerate(values):
            if value and value != _STAR and (reason := reason_for(value)):
                yield rules.warning(f"{path}.{name}[{index}]", NEVER_MATCHES, f"{reason}, found {for_message(value)}: {effect}")


def _source_fields(source: AuthorizationSource) -> ValueFields:
    return (
        ("principals", source.principals, principal_reason),
        ("notPrincipals", source.not_principals, principal_reason),
        ("requestPrincipals", source.request_principals, _request_principal),
        ("notRequestPrincipals", source.not_request_principals, _request_principal),
        ("namespaces", source.namespaces, namespace_reason),
        ("notNamespaces", source.not_namespaces, namespace_reason),
        ("trustDomains", source.trust_domains, star_reason),
        ("notTrustDomains", source.not_trust_domains, star_reason),
    )


def _operation_fields(operation: AuthorizationOperation) -> ValueFields:
    return (
        ("hosts", operation.hosts, _host),
        ("notHosts", operation.not_hosts, _host),
        ("methods", operation.methods, method_reason),
        ("notMethods", operation.not_methods, method_reason),
        ("paths", operation.paths, path_reason),
        ("notPaths", operation.not_paths, path_reason),
    )


def _condition_fields(condition: AuthorizationCondition) -> ValueFields:
    reason_for = _OF_KEYS.get(condition.key, star_reason)
    return (("values", condition.values, reason_for), ("notValues", condition.not_values, reason_for))


def star_reason(value: str) -> str:
    """Return why nothing has ``value``, of whatever attribute; empty: something may."""
    inner = value[1:] if value.startswith(_STAR) else value.removesuffix(_STAR)
    return "expected a star at one end alone, as it stands for itself elsewhere" if _STAR in inner else ""


def _whole(value: str) -> bool:
    return _STAR not in value


def principal_reason(value: str) -> str:
    """Return why nothing has ``value`` as a principal; empty: something may."""
    if value.lower().startswith("spiffe:"):
        return "expected a principal without spiffe://, as cluster.local/ns/NAMESPACE/sa/ACCOUNT"
    if _whole(value) and not _PRINCIPAL.match(value):
        return "expected a principal in full, as cluster.local/ns/NAMESPACE/sa/ACCOUNT"
    return star_reason(value)


def _request_principal(value: str) -> str:
    return "expected ISSUER/SUBJECT" if _whole(value) and "/" not in value else star_reason(value)


def namespace_reason(value: str) -> str:
    """Return why nothing has ``value`` as a namespace; empty: something may."""
    if not _NAMESPACE.match(value):
        return "expected a namespace: lower-case letters, digits and '-'"
    return star_reason(value)


def _host(value: str) -> str:
    if "/" in value:
        return "expected a host, perhaps with a port, without scheme or path"
    if _whole(value) and not _HOST.match(value):
        return "expected a host, perhaps with a port"
    return star_reason(value.removesuffix(":*") if value.endswith(":*") else value)


def method_reason(value: str) -> str:
    """Return why nothing has ``value`` as a method; empty: something may."""
    if value.upper() in METHODS and value not in METHODS:
        return "expected a method in upper case: methods differ by case"
    return "expected a method such as GET" if not _METHOD.match(value) else star_reason(value)


def path_reason(value: str) -> str:
    """Return why nothing has ``value`` as a path, or a template of paths; empty: something may."""
    if not value.startswith(("/", _STAR, "{")):
        return "expected a path that begins with '/'"
    if error := path_error(value, whole=not value.endswith(_STAR)):
        return error
    if _STAR in value and "{*" in value:
        return ""  # a template: its stars are checked with it
    return f"{reason}; one segment is {{*}}, any number {{**}}" if (reason := star_reason(value)) else ""


def _server_name(value: str) -> str:
    return "expected the name of a server, without a port or path" if "/" in value or ":" in value else star_reason(value)


_OF_KEYS: Mapping[str, Reason] = {
    "source.principal": principal_reason,
    "source.namespace": namespace_reason,
    "request.auth.principal": _request_principal,
    "connection.sni": _server_name,
    "destination.port": lambda _: "",
    "source.ip": lambda _: "",
    "remote.ip": lambda _: "",
    "destination.ip": lambda _: "",
}
