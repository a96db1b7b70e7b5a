"""Certificates that users bring, as they keep them in Secrets."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import Authority, CertificateAndKey, authority, server_certificate

DAY = dt.timedelta(days=1)


def pair(name: str = "shop.example.com", *, at: dt.datetime | None = None) -> CertificateAndKey:
    """Return a certificate for ``name`` with its key, good for a day from ``at``, which is now."""
    now = at or dt.datetime.now(dt.UTC)
    issuer = authority("users", ec.generate_private_key(ec.SECP256R1()), now, DAY)
    return server_certificate(issuer, (name,), ec.generate_private_key(ec.SECP256R1()), now, DAY)


def revocations(issuer: Authority, now: dt.datetime) -> bytes:
    """Return a list, as PEM, by which ``issuer`` has revoked nothing."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject).last_update(now).next_update(now + DAY)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def gateway(credential: str = "shop", namespace: str = "edge", **tls: object) -> dict[str, object]:
    """Return a Gateway whose server has ``credential``."""
    server = {
        "port": {"number": 443, "protocol": "HTTPS", "name": "https"},
        "hosts": ["shop.example.com"],
        "tls": {"mode": "SIMPLE", "credentialName": credential, **tls},
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "front", "namespace": namespace},
        "spec": {"selector": {"app": "front"}, "servers": [server]},
    }


def secret(found: CertificateAndKey, name: str = "shop", namespace: str = "edge", **entries: str) -> dict[str, object]:
    """Return a Secret that holds ``found``, and more ``entries``."""
    content = {"tls.crt": found.certificate.decode(), "tls.key": found.key.decode(), **entries}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": content,
    }
