"""What a request is counted by: for each rule that fits it a descriptor, in the same form for proxies and for the rate limit service.

A descriptor has an entry for the rule, and, where each value is counted by itself, one for the value. Conditions are expressions in CEL:
where one does not hold, the expression is an error, and Envoy makes no descriptor.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
"""

from __future__ import annotations

import json
from typing import assert_never

from envoy.config.route.v3.route_components_pb2 import RateLimit
from envoy.extensions.rate_limit_descriptors.expr.v3.expr_pb2 import Descriptor

from controlplane.envoy.packing import pack
from controlplane.ir.access import AccessAttribute, AccessTerm, NamedAttribute, RequestHeader
from controlplane.ir.limits.rate_limits import AddressValue, CountedValue, HeaderValue, LimitRule, PrincipalValue
from controlplane.model.trust_domains import SPIFFE_SCHEME

RULE = "rule"
_VALUE, _ADDRESS = "value", "remote_address"  # the second is Envoy's
_NO_VALUE = "-"  # of a request without the header, or without a certificate: all of them are counted together
_EXPRESSION = "envoy.rate_limit_descriptors.expr"
_NONE = 'request.headers["no header"]'  # an error: no request has a header with a space
_PEER = "connection.uri_san_peer_certificate"
_ANY = "*"


def actions_of(rule: LimitRule) -> RateLimit:
    """Return what makes the descriptor of ``rule`` from a request."""
    message = RateLimit()
    if rule.terms:
        _add_expression(message, RULE, f"{_condition(rule)} ? {_text(rule.name)} : {_NONE}")
    else:
        message.actions.add().generic_key.CopyFrom(RateLimit.Action.GenericKey(descriptor_key=RULE, descriptor_value=rule.name))
    match rule.by:
        case HeaderValue(name):
            header = f"request.headers[{_text(name)}]"
            given = f'{_text(name)} in request.headers && {header} != ""'
            _add_expression(message, _VALUE, f"{given} ? {header} : {_text(_NO_VALUE)}")
        case PrincipalValue():
            _add_expression(message, _VALUE, f"connection.mtls ? {_PEER} : {_text(_NO_VALUE)}")
        case AddressValue():
            message.actions.add().remote_address.SetInParent()
        case None:
            pass
        case _:
            assert_never(rule.by)
    return message


def condition_size(rule: LimitRule) -> int:
    """Return how many characters the condition of ``rule`` has."""
    return len(_condition(rule))


def value_key(by: CountedValue) -> str:
    """Return the key of the entry that has the value of ``by``."""
    return _ADDRESS if isinstance(by, AddressValue) else _VALUE


def value_of(by: CountedValue, written: str) -> str:
    """Return what stands in the entry of ``by`` for the value ``written``."""
    return SPIFFE_SCHEME + written if isinstance(by, PrincipalValue) else written


def _add_expression(message: RateLimit, key: str, text: str) -> None:
    extension = message.actions.add().extension
    extension.name = _EXPRESSION
    extension.typed_config.CopyFrom(pack(Descriptor(descriptor_key=key, text=text)))


def _condition(rule: LimitRule) -> str:
    return " && ".join(_term(term) for term in rule.terms)


def _term(term: AccessTerm) -> str:
    """Return the condition ``term``."""
    parts = []
    if term.values or not term.others:
        parts.append(f"({_any_of(term.attribute, term.values or (_ANY,))})")
    if term.others:
        parts.append(f"!({_any_of(term.attribute, term.others)})")
    return " && ".join(parts)


def _any_of(attribute: AccessAttribute, values: tuple[str, ...]) -> str:
    subject, given, scheme = _attribute(attribute)
    alternatives = " || ".join(_fits(subject, value, scheme) for value in values)
    return f"{given} && ({alternatives})" if given else alternatives


def _attribute(attribute: AccessAttribute) -> tuple[str, str, str]:
    """Return ``attribute``, the condition that it is there, and how all its values begin."""
    match attribute:
        case NamedAttribute.PATH:
            return "request.url_path", "", ""
        case NamedAttribute.METHOD:
            return "request.method", "", ""
        case NamedAttribute.PRINCIPAL:
            return _PEER, "connection.mtls", SPIFFE_SCHEME
        case RequestHeader(name):
            return f"request.headers[{_text(name)}]", f"{_text(name)} in request.headers", ""
        case _:
            raise ValueError(f"no limit is by {attribute}")


def _fits(subject: str, value: str, scheme: str) -> str:
    if value == _ANY:
        return f"{subject}.startsWith({_text(scheme)})"
    if value.startswith(_ANY):
        return f"{subject}.endsWith({_text(value[1:])})"
    if value.endswith(_ANY):
        return f"{subject}.startsWith({_text(scheme + value[:-1])})"
    return f"{subject} == {_text(scheme + value)}"


def _text(value: str) -> str:
    """Return ``value`` as a text in CEL, whose escapes are among those of JSON."""
    return json.dumps(value, ensure_ascii=False)
