"""Conditions on who the peer is: the SPIFFE URI of the certificate that it has shown. Without mutual TLS none of them holds."""

from __future__ import annotations

from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.model.trust_domains import SCHEME
from controlplane.translate.rbac.text import ANY, matcher, regex, segment


def anybody() -> Principal:
    """Return that the peer is somebody: that it has an identity, whichever."""
    return _named(StringMatcher(prefix=SCHEME))


def principal(value: str) -> Principal:
    """Return that the peer is ``value``, written ``TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT``."""
    if value == ANY:
        return anybody()
    return _named(matcher(value) if value.startswith(ANY) else matcher(SCHEME + value))


def namespace(value: str) -> Principal:
    """Return that the peer runs in the namespace ``value``."""
    return _in(name=value)


def trust_domain(value: str) -> Principal:
    """Return that the peer is of the trust domain ``value``."""
    return _in(domain=value)


def account(value: str) -> Principal:
    """Return that the peer runs as the service account ``value``, written ``NAMESPACE/ACCOUNT``, which has no wildcards."""
    name, _, own = value.partition("/")
    return _in(name=name, own=own)


def _in(*, domain: str = ANY, name: str = ANY, own: str = ANY) -> Principal:
    return _named(regex(f"{SCHEME}{segment(domain)}/ns/{segment(name)}/sa/{segment(own)}"))


def _named(condition: StringMatcher) -> Principal:
    return Principal(authenticated={"principal_name": condition})
