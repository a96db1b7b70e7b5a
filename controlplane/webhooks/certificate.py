"""The certificate of the webhooks, as a Secret holds it that all replicas share.

Its authority stays, with its key, while certificates come and go: whoever trusted the old one trusts the new one, so that no call of the
API server fails while replicas change over, one after the other, and its configuration need not change at all.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
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


def certificate_from_secret(home: str, secret: Json, now: dt.datetime) -> WebhookCertificate | None:
    """Return what ``secret`` holds for the namespace ``home``, None where that is of no use: no API server would accept it ``now``."""
    issuer, pem = _issuer(secret), CertificateAndKey(_decoded_entry(secret, "tls.crt"), _decoded_entry(secret, "tls.key"))
    if issuer is None:
        return None
    try:
        certificate, *_ = read_certificates(pem.certificate)
        certificate.verify_directly_issued_by(issuer.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fits = certificate.public_key() == read_key(pem.key).public_key()
    except (BadCertificate, InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    is_valid = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
    is_for_us = set(_names(home)) <= set(names.get_values_for_type(x509.DNSName))
    return WebhookCertificate(pem, issuer) if fits and is_valid and is_for_us else None


def renewed_certificate(home: str, secret: Json, now: dt.datetime) -> WebhookCertificate:
    """Return a new certificate for the namespace ``home``, by the authority that ``secret`` holds if that is good for long enough."""
    issuer = _issuer(secret)
    if issuer is None or issuer.certificate.not_valid_after_utc - now < _LIFETIME:
        issuer = authority("webhook", ec.generate_private_key(ec.SECP256R1()), now, _AUTHORITY)
    return WebhookCertificate(server_certificate(issuer, _names(home), ec.generate_private_key(ec.SECP256R1()), now, _LIFETIME), issuer)


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


def _names(home: str) -> tuple[str, ...]:
    return (f"navarch.{home}.svc", f"navarch.{home}.svc.cluster.local", "localhost")


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
