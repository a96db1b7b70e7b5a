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
            yield from _of_fields(f"{path}.from[{index}].source", _source_fields(origin.source))
    for index, target in enumerate(rule.to):
        if target.operation:
            yield from _of_fields(f"{path}.to[{index}].operation", _operation_fields(target.operation))
    for index, condition in enumerate(rule.when):
        yield from _of_fields(f"{path}.when[{index}]", _condition_fields(condition))


_Fields = tuple[tuple[str, Sequence[str], Reason], ...]


def _of_fields(path: str, fields: _Fields) -> Iterator[Finding]:
    for name, values, reason_for in fields:
        effect = "it excludes nothing" if name.startswith("not") else "it fits nothing"
        for index, value in enumerate(values):
            if value and value != _STAR and (reason := reason_for(value)):
                yield rules.warning(f"{path}.{name}[{index}]", NEVER_MATCHES, f"{reason}, found {for_message(value)}: {effect}")


def _source_fields(source: AuthorizationSource) -> _Fields:
    return (
        ("principals", source.principals, _principal),
        ("notPrincipals", source.not_principals, _principal),
        ("requestPrincipals", source.request_principals, _request_principal),
        ("notRequestPrincipals", source.not_request_principals, _request_principal),
        ("namespaces", source.namespaces, _namespace),
        ("notNamespaces", source.not_namespaces, _namespace),
        ("trustDomains", source.trust_domains, _star),
        ("notTrustDomains", source.not_trust_domains, _star),
    )


def _operation_fields(operation: AuthorizationOperation) -> _Fields:
    return (
        ("hosts", operation.hosts, _host),
        ("notHosts", operation.not_hosts, _host),
        ("methods", operation.methods, _method),
        ("notMethods", operation.not_methods, _method),
        ("paths", operation.paths, _url_path),
        ("notPaths", operation.not_paths, _url_path),
    )


def _condition_fields(condition: AuthorizationCondition) -> _Fields:
    reason_for = _OF_KEYS.get(condition.key, _star)
    return (("values", condition.values, reason_for), ("notValues", condition.not_values, reason_for))


def _star(value: str) -> str:
    inner = value[1:] if value.startswith(_STAR) else value.removesuffix(_STAR)
    return "expected a star at one end alone, as it stands for itself elsewhere" if _STAR in inner else ""


def _whole(value: str) -> bool:
    return _STAR not in value


def _principal(value: str) -> str:
    if value.lower().startswith("spiffe:"):
        return "expected a principal without spiffe://, as cluster.local/ns/NAMESPACE/sa/ACCOUNT"
    if _whole(value) and not _PRINCIPAL.match(value):
        return "expected a principal in full, as cluster.local/ns/NAMESPACE/sa/ACCOUNT"
    return _star(value)


def _request_principal(value: str) -> str:
    return "expected ISSUER/SUBJECT" if _whole(value) and "/" not in value else _star(value)


def _namespace(value: str) -> str:
    if not _NAMESPACE.match(value):
        return "expected a namespace: lower-case letters, digits and '-'"
    return _star(value)


def _host(value: str) -> str:
    if "/" in value:
        return "expected a host, perhaps with a port, without scheme or path"
    if _whole(value) and not _HOST.match(value):
        return "expected a host, perhaps with a port"
    return _star(value.removesuffix(":*") if value.endswith(":*") else value)


def _method(value: str) -> str:
    if value.upper() in METHODS and value not in METHODS:
        return "expected a method in upper case: methods differ by case"
    return "expected a method such as GET" if not _METHOD.match(value) else _star(value)


def _url_path(value: str) -> str:
    if not value.startswith(("/", _STAR, "{")):
        return "expected a path that begins with '/'"
    if error := path_error(value, whole=not value.endswith(_STAR)):
        return error
    if _STAR in value and "{*" in value:
        return ""  # a template: its stars are checked with it
    return f"{reason}; one segment is {{*}}, any number {{**}}" if (reason := _star(value)) else ""


def _server_name(value: str) -> str:
    return "expected the name of a server, without a port or path" if "/" in value or ":" in value else _star(value)


_OF_KEYS: Mapping[str, Reason] = {
    "source.principal": _principal,
    "source.namespace": _namespace,
    "request.auth.principal": _request_principal,
    "connection.sni": _server_name,
    "destination.port": lambda _: "",
    "source.ip": lambda _: "",
    "remote.ip": lambda _: "",
    "destination.ip": lambda _: "",
}
