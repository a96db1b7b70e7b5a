"""Secrets as Envoy asks for them: a certificate with its key, and the roots to trust."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

IDENTITY = "default"  # Istio's names
ROOTS = "ROOTCA"


def certificate(name: str, chain: bytes, key: bytes) -> Secret:
    """Return the secret ``name`` that holds the certificates ``chain`` and the ``key`` of their first, as PEM."""
    return Secret(name=name, tls_certificate={"certificate_chain": {"inline_bytes": chain}, "private_key": {"inline_bytes": key}})


def roots(name: str, bundle: bytes, revoked: bytes = b"") -> Secret:
    """Return the secret ``name`` that holds the roots ``bundle``, and lists of what they have ``revoked``, as PEM."""
    secret = Secret(name=name, validation_context={"trusted_ca": {"inline_bytes": bundle}})
    if revoked:
        secret.validation_context.crl.inline_bytes = revoked
    return secret
