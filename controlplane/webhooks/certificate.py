"""The certificate of the webhooks, as a Secret holds it that all replicas share.

Its authority stays, with its key, while certificates come and go: whoever believed the old one believes the new one, so that no call of the
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
from controlplane.kube.json import Json, section, text

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
        """Return whether another should take its place ``now``."""
        return expires_at(self.pair.certificate) - now < _RENEW


def certificate_from_secret(secret: Json) -> WebhookCertificate | None:
    """Return what the Secret ``secret`` holds, None where that is of no use."""
    issuer, certificate, key = _issuer(secret), _entry(secret, "tls.crt"), _entry(secret, "tls.key")
    return WebhookCertificate(CertificateAndKey(certificate, key), issuer) if issuer and certificate and key else None


def renewed_certificate(home: str, secret: Json, now: dt.datetime) -> WebhookCertificate:
    """Return a new certificate for the namespace ``home``, by the authority that ``secret`` holds if that is good for long enough."""
    issuer = _issuer(secret)
    if issuer is None or issuer.certificate.not_valid_after_utc - now < _LIFETIME:
        issuer = authority("webhook", ec.generate_private_key(ec.SECP256R1()), now, _AUTHORITY)
    names = (f"navarch.{home}.svc", f"navarch.{home}.svc.cluster.local", "localhost")
    return WebhookCertificate(server_certificate(issuer, names, ec.generate_private_key(ec.SECP256R1()), now, _LIFETIME), issuer)


def certificate_secret(home: str, value: WebhookCertificate, before: Json) -> Json:
    """Return the Secret that holds ``value`` in the namespace ``home``, in the place of ``before``."""
    content = {
        "tls.crt": value.pair.certificate,
        "tls.key": value.pair.key,
        "ca.crt": value.issuer.pem,
        "ca.key": key_pem(value.issuer.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET_NAME, "namespace": home, **section(before, "metadata")},
        "data": {name: base64.b64encode(each).decode() for name, each in content.items()},
    }


def _issuer(secret: Json) -> Authority | None:
    try:
        [certificate] = read_certificates(_entry(secret, "ca.crt"))
        key = read_key(_entry(secret, "ca.key"))
    except (BadCertificate, ValueError):
        return None
    return Authority(certificate, key) if certificate.public_key() == key.public_key() else None


def _entry(secret: Json, name: str) -> bytes:
    try:
        return base64.b64decode(text(section(secret, "data"), name), validate=True)
    except ValueError:
        return b""
