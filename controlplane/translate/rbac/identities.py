"""Conditions on who the peer is: the SPIFFE URI of the certificate that it has shown. Without mutual TLS none of them holds.

An expression is used for ``*suffix`` within a URI alone, and a short one: by default Envoy refuses a listener over one of more than 100
instructions, about as many as it has characters. A namespace, and an account in it, is one of this mesh: that of another trust domain only
shares the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.model.trust_domains import SPIFFE_SCHEME, principals_with_aliases
from controlplane.translate.rbac.text import ANY, literal, matcher, regex


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a policy: its namespace, and the trust domains of the mesh."""

    namespace: str
    trust_domains: tuple[str, ...]


def anybody() -> Principal:
    """Return that the peer is somebody: that it has an identity, whichever."""
    return _named(StringMatcher(prefix=SPIFFE_SCHEME))


def principal(value: str, around: Around) -> list[Principal]:
    """Return what a peer can be that is ``value``, written ``TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT``."""
    return [_like(pattern) for pattern in principals_with_aliases((value,), around.trust_domains)]


def namespace(value: str, around: Around) -> list[Principal]:
    """Return what a peer can be that runs in the namespace ``value``."""
    if value == ANY or not value.startswith(ANY):
        name = value if value.endswith(ANY) else f"{value}/sa/{ANY}"
        return [_like(f"{domain}/ns/{name}") for domain in around.trust_domains]
    ends = _named(regex(f"{SPIFFE_SCHEME}[^/]+/ns/[^/]*{literal(value[1:])}/sa/.*"))
    return [Principal(and_ids={"ids": [_like(f"{domain}/{ANY}"), ends]}) for domain in around.trust_domains]


def account(value: str, around: Around) -> list[Principal]:
    """Return what a peer can be that runs as the service account ``value``, ``NAMESPACE/ACCOUNT`` or of the policy's; without wildcards."""
    name, slash, account_name = value.rpartition("/")
    uris = (f"{SPIFFE_SCHEME}{domain}/ns/{name if slash else around.namespace}/sa/{account_name}" for domain in around.trust_domains)
    return [_named(StringMatcher(exact=uri)) for uri in uris]


def trust_domain(value: str, around: Around) -> list[Principal]:
    """Return what a peer can be that is of the trust domain ``value``."""
    del around
    if value == ANY or not value.startswith(ANY):
        return [_like(value if value.endswith(ANY) else f"{value}/{ANY}")]
    return [_named(regex(f"{SPIFFE_SCHEME}[^/]*{literal(value[1:])}/.*"))]


def _like(pattern: str) -> Principal:
    """Return that the peer's URI, less its scheme, fits ``pattern``."""
    if pattern == ANY:
        return anybody()
    return _named(matcher(pattern) if pattern.startswith(ANY) else matcher(SPIFFE_SCHEME + pattern))


def _named(condition: StringMatcher) -> Principal:
    return Principal(authenticated={"principal_name": condition})
