"""The certificate of the webhooks, as a Secret holds it that all replicas share.

Its authority stays, with its key, while certificates come and go: whoever trusted the old one trusts the new one, so that no call of the
API server fails while replicas change over, one after the other, and its configuration need not change at all.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import (
    Authority,
    BadCertificate,
    CertificateAndKey,
    authority,
    expires_at,
    key_pem,
    read_certificates,
    server_certificate,
)
from controlplane.ca.rotation import read_key
from controlplane.untyped import Json, section, text

SECRET_NAME = "navarch-webhook-cert"  # noqa: S105 - the name of a Secret
_AUTHORITY = dt.timedelta(days=3650)
_LIFETIME = dt.timedelta(days=90)
_RENEW = dt.timedelta(days=30)  # before the end


@dataclass(frozen=True, slots=True)
class WebhookCertificate:
    """A certificate of the webhooks, and who has issued it."""

    pair: CertificateAndKey
    issuer: Authority

    def is_due(self, now: dt.datetime) -> bool:
        """Return whether it is to be renewed ``now``."""
        return expires_at(self.pair.certificate) - now < _RENEW


def certificate_from_secret(secret: Json) -> WebhookCertificate | None:
    """Return what the Secret ``secret`` holds, None where that is of no use."""
    issuer, certificate, key = _issuer(secret), _decoded_entry(secret, "tls.crt"), _decoded_entry(secret, "tls.key")
    return WebhookCertificate(CertificateAndKey(certificate, key), issuer) if issuer and certificate and key else None


def renewed_certificate(home: str, secret: Json, now: dt.datetime) -> WebhookCertificate:
    """Return a new certificate for the namespace ``home``, by the authority that ``secret`` holds if that is good for long enough."""
    issuer = _issuer(secret)
    if issuer is None or issuer.certificate.not_valid_after_utc - now < _LIFETIME:
        issuer = authority("webhook", ec.generate_private_key(ec.SECP256R1()), now, _AUTHORITY)
    names = (f"navarch.{home}.svc", f"navarch.{home}.svc.cluster.local", "localhost")
    return WebhookCertificate(server_certificate(issuer, names, ec.generate_private_key(ec.SECP256R1()), now, _LIFETIME), issuer)


def certificate_secret(home: str, certificate: WebhookCertificate, current: Json) -> Json:
    """Return the Secret that holds ``certificate`` in the namespace ``home``, in the place of ``current``."""
    content = {
        "tls.crt": certificate.pair.certificate,
        "tls.key": certificate.pair.key,
        "ca.crt": certificate.issuer.pem,
        "ca.key": key_pem(certificate.issuer.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET_NAME, "namespace": home, **section(current, "metadata")},
        "data": {name: base64.b64encode(entry).decode() for name, entry in content.items()},
    }


def _issuer(secret: Json) -> Authority | None:
    try:
        [certificate] = read_certificates(_decoded_entry(secret, "ca.crt"))
        key = read_key(_decoded_entry(secret, "ca.key"))
    except (BadCertificate, ValueError):
        return None
    return Authority(certificate, key) if certificate.public_key() == key.public_key() else None


def _decoded_entry(secret: Json, name: str) -> bytes:
    try:
        return base64.b64decode(text(section(secret, "data"), name), validate=True)
    except ValueError:
        return b""
